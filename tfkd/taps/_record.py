"""Records inputs and outputs of inner layers during an ordinary forward pass.

No second model is built: during a recorded pass, the `call` of each tapped layer is wrapped to record its
input and output. This works for functional, Sequential, subclassed and nested models, eagerly and while a
`tf.function` is traced.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import keras

from tfkd._core.interposing import around
from tfkd._core.token_maps import as_map
from tfkd.taps._attention import reading
from tfkd.taps._paths import INPUT, OF_ATTENTION, parts, resolve


class Record(dict):
    """The values recorded in one forward pass: `record[tap]` is the value of the layer's last call.

    `record.calls[tap]` lists the values of all calls, for layers used more than once.
    """

    def __init__(self, taps: Iterable[str]) -> None:
        super().__init__()
        self.calls: dict[str, list] = {tap: [] for tap in taps}

    def __missing__(self, tap):
        known = tap in self.calls
        reason = "its layer was not called in the recorded pass" if known else "it was not tapped"
        raise KeyError(f"Nothing recorded for tap {tap!r}: {reason}.")

    def note(self, tap: str, value) -> None:
        self.calls[tap].append(value)
        self[tap] = value


@contextlib.contextmanager
def record(model: keras.Model, taps: Iterable[str]) -> Iterator[Record]:
    """Records the named taps in every call of `model` inside the `with` block.

    For an attention layer, or a layer that contains exactly one, the suffixes `:queries`, `:keys` and
    `:values` give the inputs of the dot products, `(batch, tokens, heads, width)`: after any rotary
    embedding, and with one key and value for each query head (repeated for grouped heads). `:scores` and
    `:probabilities` are `(batch, heads, queries, keys)`: the input of the softmax, in float32 with masked
    entries at -1e9, and its output, before dropout. While they are recorded, the layer computes its scores
    explicitly, even if it would otherwise use a fused operation. All five carry a Keras mask `(batch,
    tokens)` of the tokens that any query may see, if the layer's mask provides it; in cross-attention, only
    keys and values do.

    Args:
        model: any Keras model.
        taps: paths of layers, with `:input` for inputs, or an attention suffix. With `:map` appended, the
            tokens of a transformer are returned as the square map of their patches, without a leading
            token.

    Returns:
        A context manager that yields a `Record`, filled while the model runs in this thread.

    Raises:
        ValueError: if a path is not in the model, or an attention suffix is on a layer that contains no
            attention layer, or several.

    Example:
        >>> with tfkd.taps.record(model, ["block1/relu", "dense:input"]) as seen:
        ...     logits = model(images)
        >>> seen["block1/relu"].shape
    """
    with recording({tap: resolve(model, tap) for tap in taps}) as seen:
        yield seen


@contextlib.contextmanager
def recording(tapped: Mapping[str, keras.Layer]) -> Iterator[Record]:
    """Records taps whose layers are already resolved.

    Args:
        tapped: the layers, by tap.

    Returns:
        The same as `record`.
    """
    seen = Record(tapped)
    layers: dict[int, tuple[keras.Layer, list[str]]] = {}
    for tap, layer in tapped.items():
        layers.setdefault(id(layer), (layer, []))[1].append(tap)
    with contextlib.ExitStack() as stack:
        for layer, taps in layers.values():
            of_attention = [tap for tap in taps if parts(tap).of in OF_ATTENTION]
            if of_attention:
                stack.enter_context(around(layer, "call", reading(layer, of_attention, seen.note)))
            stack.enter_context(around(layer, "call", _listening(taps, seen)))
        yield seen


def _listening(taps, seen):
    """Records input and output of a layer's calls."""
    taps = [tap for tap in taps if parts(tap).of not in OF_ATTENTION]

    def listen(call, *args, **kwargs):
        outputs = call(*args, **kwargs)
        for tap in taps:
            _, of, is_map = parts(tap)
            value = _first(args, kwargs) if of == INPUT else outputs
            seen.note(tap, as_map(value) if is_map else value)
        return outputs

    return listen


def _first(args, kwargs):
    return args[0] if args else next(iter(kwargs.values()))
