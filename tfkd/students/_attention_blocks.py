"""The blocks of a transformer in a functional graph, with their entry and exit."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from tfkd._core.copies import cloned_model
from tfkd._core.graphs import nodes, operation_of, times_used
from tfkd._core.keras_internals import flatten_layers


@dataclasses.dataclass(frozen=True)
class AttentionBlock:
    """A part of a graph with one attention layer that preserves the shape of hidden states.

    Attributes:
        entry: the operation that receives the block's input: a layer that is the whole block, or an Add.
        place: index of that input among the operation's inputs.
        exit: the operation with the block's output; None for a single block, whose end is unknown.
    """

    entry: keras.Operation
    place: int
    exit: keras.Operation | None

    @property
    def layer(self) -> keras.Operation | None:
        """The layer that is the whole block; None for a block of several."""
        return self.entry if self.entry is self.exit else None


def attention_blocks(model: keras.Model) -> list[AttentionBlock]:
    """The blocks of a functional model in the order of its graph; nested models are not searched.

    A block is a layer that contains attention, such as keras-hub's TransformerEncoder, or an attention
    layer with an Add around it and everything up to the start of the next block.
    """
    whole = [
        AttentionBlock(node.operation, 0, node.operation)
        for node in nodes(model)
        if _holds_attention(node.operation) and node.input_tensors[0].shape == node.outputs[0].shape
    ]
    return whole or _of_layers(model)


def check_can_be_left_out(model: keras.Model, blocks: list[AttentionBlock]) -> None:
    """Rejects blocks with a layer that is used more than once, which cannot be removed in one place.

    Raises:
        ValueError: naming the layer.
    """
    for block in blocks:
        for operation in (block.entry, block.exit):
            if operation is not None and times_used(model, operation) > 1:
                raise ValueError(
                    f"`teacher`: {operation.name!r} of {model.name!r} is used "
                    f"{times_used(model, operation)} times, so its layers share weights and none can be "
                    "removed. Build a student with fewer repetitions by hand."
                )


def without_blocks(
    model: keras.Model,
    blocks: list[AttentionBlock],
    kept: list[int],
    made_like: Callable[[keras.Operation], keras.Operation],
) -> tuple[keras.Model, list[tuple[keras.Operation, keras.Operation]]]:
    """A clone of a model in which removed blocks pass their input on.

    Args:
        model: a functional model.
        blocks: all of its blocks, in order.
        kept: the indices of the blocks that stay.
        made_like: makes a new operation like a given one of the model.

    Returns:
        The clone, and the pairs of operations in the model and in the clone. Blocks with numbered names are
        renumbered without gaps.
    """
    named = all(
        block.layer is not None and block.layer.name.endswith(f"_{i}") for i, block in enumerate(blocks)
    )
    numbers = {id(blocks[old].layer): new for new, old in enumerate(kept)} if named else {}
    entries = {id(block.entry): i for i, block in enumerate(blocks)}
    leaving = {id(block.exit): i for i, block in enumerate(blocks) if i not in kept}
    clones, begins = {}, {}

    def cloned(operation):
        clone = made_like(operation)
        if (number := numbers.get(id(operation))) is not None:
            clone.name = f"{operation.name.rpartition('_')[0]}_{number}"
        clones[id(clone)] = operation, clone
        return clone

    def called(clone, *args, **kwargs):
        key = id(clones[id(clone)][0])
        if (number := entries.get(key)) is not None:
            begins[number] = keras.tree.flatten((args, kwargs))[blocks[number].place]
        return begins[leaving[key]] if key in leaving else clone(*args, **kwargs)

    clone = cloned_model(model, clone_function=cloned, call_function=called)
    inside = {id(operation) for operation in clone.operations}
    return clone, [pair for pair in clones.values() if id(pair[1]) in inside]


def _is_attention(layer):
    name = type(layer).__name__
    # DeBERTa's blocks are called DisentangledAttentionEncoder.
    return "Attention" in name and not name.endswith(("Encoder", "Decoder", "Block"))


def _holds_attention(operation):
    if (
        not isinstance(operation, keras.Layer)
        or isinstance(operation, keras.Model)
        or _is_attention(operation)
    ):
        return False
    return any(_is_attention(inner) for inner in flatten_layers(operation, include_self=False))


def _of_layers(model):
    """Blocks that consist of an attention layer, an Add and further layers."""
    graph = _Graph(model)
    adds = [
        found
        for node in graph.nodes
        if _is_attention(node.operation) and (found := graph.add_behind(node)) is not None
    ]
    if not adds:
        return []
    begins = [node.input_tensors[place] for node, place in adds]
    ends = [*begins[1:], graph.same_end(begins) if len(begins) > 1 else None]
    return [
        AttentionBlock(add.operation, place, None if end is None else operation_of(end)[0])
        for (add, place), end in zip(adds, ends, strict=True)
    ]


class _Graph:
    """Consumers of each tensor."""

    def __init__(self, model):
        self.nodes = nodes(model)
        self._readers: dict[int, list[Any]] = {}
        for node in self.nodes:
            for tensor in {id(each): each for each in node.input_tensors}.values():
                self._readers.setdefault(id(tensor), []).append(node)

    def add_behind(self, node):
        """The Add that joins an attention layer's output to the block's input, and the input's index."""
        while len(readers := self._readers.get(id(node.outputs[0]), [])) == 1:
            (reader,) = readers
            if type(reader.operation).__name__ == "Add" and len(reader.input_tensors) == 2:
                made = [each is node.outputs[0] for each in reader.input_tensors]
                return reader, made.index(False) if False in made else 0
            node = reader
        return None

    def same_end(self, begins):
        """The end of the last block, which has the same kinds of operations as the previous one."""
        kinds = self._kinds_between(begins[-2], begins[-1])
        for node in self._behind(begins[-1]):
            end = node.outputs[0]
            if end.shape == begins[-1].shape and self._kinds_between(begins[-1], end) == kinds:
                return end
        return None

    def _kinds_between(self, begin, end):
        before = self._in_front(end)
        return [type(node.operation).__name__ for node in self._behind(begin) if id(node) in before]

    def _behind(self, tensor):
        """The nodes that depend on a tensor, in the order of the graph."""
        made, found = {id(tensor)}, []
        for node in self.nodes:
            if any(id(each) in made for each in node.input_tensors):
                found.append(node)
                made |= {id(each) for each in node.outputs}
        return found

    def _in_front(self, tensor):
        """The identities of the nodes that a tensor depends on."""
        needed, found = {id(tensor)}, set()
        for node in reversed(self.nodes):
            if any(id(each) in needed for each in node.outputs):
                found.add(id(node))
                needed |= {id(each) for each in node.input_tensors}
        return found
