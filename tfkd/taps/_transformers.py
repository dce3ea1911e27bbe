"""Finds the blocks of a transformer and the taps between them."""

from typing import NamedTuple

import keras
from keras.layers import InputLayer

from tfkd._core.flow import Flow
from tfkd._core.graphs import has_graph
from tfkd._core.keras_internals import call_of, flatten_layers, is_attention
from tfkd.taps._paths import INPUT, attention_layers, children

_DENSE = keras.layers.Dense, keras.layers.EinsumDense


class TransformerTaps(NamedTuple):
    """The taps of a transformer, in order.

    Args:
        embeddings: the input of the first block.
        hidden: each block's output.
        attention: each block's attention layer; append a suffix such as `:scores`. In a block with two, it
            is the first, which is the self-attention.
    """

    embeddings: str
    hidden: list[str]
    attention: list[str]


def transformer(model: keras.Model) -> TransformerTaps:
    """The taps of a transformer's embeddings, of its blocks' outputs and of their attention layers.

    A block is a layer that contains attention. If attention layers are in the model's own graph, a block is
    the part between two points that every path passes through: its output is the input of the next block,
    before that block's normalization if it comes first. A block that is used several times, as in ALBERT,
    is named once; its calls are in `Record.calls`. In an encoder-decoder, the encoder's blocks come first.

    Args:
        model: a backbone, or a model with one inside it: from keras-hub, or your own with
            `keras.layers.MultiHeadAttention`, functional or subclassed.

    Returns:
        The taps.

    Raises:
        ValueError: if the model has no attention layer, several backbones, or attention layers whose blocks
            cannot be identified.

    Example:
        >>> found = tfkd.taps.transformer(teacher)
        >>> found.hidden
        ['transformer_layer_0', 'transformer_layer_1', ...]
        >>> [f"{layer}:scores" for layer in found.attention]
    """
    container, path, holders = _blocks(model, "")
    prefix = f"{path}/" if path else ""
    attention = {name: next(iter(attention_layers(each, prefix + name))) for name, each in holders.items()}
    if isinstance(container, keras.Model) and has_graph(container):
        graph = _Graph(container, prefix)
        calls = graph.calls_of(holders)
        if calls:
            names = [call.operation.name for call in calls]
            return TransformerTaps(*graph.between(calls), [attention[name] for name in names])
    bare = [attention[name] for name, each in holders.items() if is_attention(each)]
    if bare:
        raise ValueError(
            f"The blocks of {container.name!r} cannot be identified: it has no graph, and its attention "
            f"layers {bare} are not inside other layers. Put each block into a layer, or name the taps "
            "yourself."
        )
    hidden = [prefix + name for name in holders]
    return TransformerTaps(hidden[0] + INPUT, hidden, list(attention.values()))


def _blocks(layer, path):
    """The layer whose children are a transformer's blocks, its path, and those children by name."""
    holders = _holders(layer)
    if not holders:
        raise ValueError(
            f"Model {layer.name!r} has no attention layer that can be read, that is, a layer like "
            "keras.layers.MultiHeadAttention with a method `_compute_attention(query, key, value, ...)`."
        )
    prefix = f"{path}/" if path else ""
    if len(holders) == 1:
        ((name, child),) = holders.items()
        inside = isinstance(child, keras.Model) or _has_blocks(child)
        return _blocks(child, prefix + name) if inside else (layer, path, holders)
    backbones = [
        prefix + name
        for name, child in holders.items()
        if isinstance(child, keras.Model) and len(attention_layers(child)) > 1
    ]
    if backbones:
        raise ValueError(
            f"Model {layer.name!r} contains several backbones with attention: {backbones}. Pass one of "
            "them, and put its path in front of the taps."
        )
    return layer, path, holders


def _holders(layer):
    """The direct sublayers that are or contain attention layers, by name."""
    return {name: child for name, child in children(layer).items() if attention_layers(child)}


def _has_blocks(layer):
    """Whether a layer with attention consists of blocks, rather than being one."""
    holders = _holders(layer)
    blocks = [child for child in holders.values() if not is_attention(child)]
    return len(blocks) > 1 or (len(blocks) == len(holders) == 1 and _feeds_forward(blocks[0]))


def _feeds_forward(layer):
    """Whether there are two dense layers besides the attention's own projections."""
    of_attention = [
        id(each) for found in attention_layers(layer).values() for each in flatten_layers(found)
    ]
    dense = [each for each in flatten_layers(layer) if isinstance(each, _DENSE)]
    return sum(id(each) not in of_attention for each in dense) > 1


class _Graph:
    """The graph of a transformer, with its blocks.

    Args:
        model: the model with the graph.
        prefix: prefix of its layers' paths.
    """

    def __init__(self, model, prefix):
        self._flow = Flow(model)
        self._prefix = prefix

    def calls_of(self, holders):
        """The first call of each layer that contains attention, in the graph's order.

        Cross-attention next to self-attention is left out: it is part of the same block.
        """
        known, first = {id(layer) for layer in holders.values()}, {}
        for call in self._flow.calls:
            if id(call.operation) in known:
                first.setdefault(id(call.operation), call)
        calls = list(first.values())
        own = [call for call in calls if not _crosses(call)]
        return own or calls

    def between(self, calls):
        """The taps of the input of the first of several blocks, and of the output of each."""
        streams = [self._stream(call) for call in calls]
        hidden, steps = [], self._steps_alone(calls[0], streams[0])
        for call, following in zip(calls, [*streams[1:], None], strict=True):
            passed = self._flow.passed(call)
            if following is not None and self._flow.leads(call, call_of(following)):
                leaving = following
                if call_of(following) in passed:
                    steps = passed.index(call_of(following))
            else:
                # Nothing follows to mark the end of the last block: it ends like those before it.
                leaving = passed[min(steps, len(passed) - 1)].output_tensors[0]
            hidden.append(self._tap(leaving))
        # An embedding may be called again for the output if weights are tied.
        return self._tap(streams[0], by_taker=True), hidden

    def _stream(self, call):
        """The input of a block: for an attention layer in the graph, the input that also bypasses it."""
        query = entering = call.input_tensors[0]
        if not is_attention(call.operation):
            return query
        while self._flow.passes(call_of(entering), call):
            before = [
                tensor for tensor in call_of(entering).input_tensors if tensor.shape[1:] == query.shape[1:]
            ]
            if not before or is_attention(call_of(entering).operation):
                return query
            entering = before[0]
        return entering

    def _steps_alone(self, call, stream):
        """For a single block: the number of calls on every path between its attention and its end.

        It ends where its last bypass does, or at the normalization after that for post-normalization.
        """
        if not is_attention(call.operation):
            return 0
        passed = self._flow.passed(call)
        alike = [
            step for step, each in enumerate(passed) if each.output_tensors[0].shape[1:] == stream.shape[1:]
        ]
        joins = [step for step in alike if len(passed[step].input_tensors) > 1 and step]
        if not joins:
            return alike[-1] if alike else 0
        normalizes_after = call.input_tensors[0] is stream
        return joins[-1] + 1 if normalizes_after and joins[-1] + 1 in alike else joins[-1]

    def _tap(self, tensor, by_taker=False):
        """The tap of a tensor in the graph: of the layer that produces it or, if set, of a consumer.

        Layers called once come first, since taps record the last call.
        """
        call = call_of(tensor)
        takers = [taker.operation for taker in self._flow.takers(tensor)]
        of_takers = [(taker, INPUT) for taker in takers if isinstance(taker, keras.Layer)]
        # An input layer is never called.
        called = isinstance(call.operation, keras.Layer) and not isinstance(call.operation, InputLayer)
        of_maker = [(call.operation, "")] if called and len(call.output_tensors) == 1 else []
        taps = [*of_takers, *of_maker] if by_taker else [*of_maker, *of_takers]
        if not taps:
            raise ValueError(
                f"The output of {call.operation.name!r} cannot be tapped: it is not a layer with one "
                "output, and no layer has it as its first input. Use a layer, such as keras.layers.Add "
                "for a sum."
            )
        layer, of = min(taps, key=lambda tap: self._flow.times_called(tap[0]) > 1)
        return self._prefix + layer.name + of


def _crosses(call):
    """Whether a call of an attention layer is cross-attention."""
    query, *others = call.input_tensors
    return is_attention(call.operation) and bool(others) and others[0] is not query
