"""Reads what flows into and out of inner layers during one ordinary forward pass.

No second model is built: while a pass is recorded, the `call` of each tapped layer is wrapped to
note its input and output. That works for functional, Sequential, subclassed and nested models,
eagerly and while a `tf.function` is traced.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import keras

from tfkd._core.interposing import around
from tfkd._core.token_maps import as_map
from tfkd.taps._attention import reading
from tfkd.taps._paths import INPUT, OF_ATTENTION, parts, resolve


class Record(dict):
    """What the taps of one forward pass saw: `record[tap]` is the value at the layer's last call.

    `record.calls[tap]` lists the values of every call, for layers used more than once.
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
    """Records the named taps of every call of `model` made inside the `with` block.

    Of an attention layer, or a layer that holds exactly one, the suffixes `:queries`, `:keys` and
    `:values` give what enters the dot products, `(batch, tokens, heads, width)`: after rotary embedding,
    where there is one, and with one key and value for each query head, so those of grouped heads are
    repeated. `:scores` and `:probabilities` are `(batch, heads, queries, keys)`: what the softmax
    sees, in float32 with masked places at -1e9, and what it makes of that, before dropout. While they are
    recorded, the layer computes its scores explicitly, also where it would have used a fused operation.
    All five carry a Keras mask `(batch, tokens)` of the tokens that any query may see, if the layer's mask
    says that; those of a cross-attention do so for keys and values only.

    Args:
        model: any Keras model.
        taps: paths of layers, with `:input` for inputs, or a suffix of attention. With `:map` behind, the
            tokens of a transformer are seen as the square map of their patches, a token in front left out.

    Returns:
        A context manager that yields a `Record`, filled while the model runs in this thread.

    Raises:
        ValueError: for a path that is not in the model, and for a suffix of attention on a layer that
            holds no attention layer, or several.

    Example:
        >>> with tfkd.taps.record(model, ["block1/relu", "dense:input"]) as seen:
        ...     logits = model(images)
        >>> seen["block1/relu"].shape
    """
    with recording({tap: resolve(model, tap) for tap in taps}) as seen:
        yield seen


@contextlib.contextmanager
def recording(tapped: Mapping[str, keras.Layer]) -> Iterator[Record]:
    """Records taps of layers that are known already.

    Args:
        tapped: the layers, by tap.

    Returns:
        As `record`.
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
    """Notes input and output of a layer's calls."""
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
