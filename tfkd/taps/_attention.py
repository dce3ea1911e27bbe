"""Reads queries, keys, values, scores and probabilities out of an attention layer's call."""

import contextlib
import inspect
from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
from keras import ops

from tfkd._core.interposing import around
from tfkd._core.keras_internals import flatten_layers, with_mask
from tfkd.taps._paths import KEYS, OF_ATTENTION, PROBABILITIES, QUERIES, SCORES, VALUES, parts

_MASKED = -1e9
_ASKS_FOR_SCORES = "return_attention_scores"


def reading(layer: keras.Layer, taps: Iterable[str], note: Callable) -> Callable:
    """A wrapper for an attention layer's `call` that records what its taps see.

    Args:
        layer: the attention layer.
        taps: taps of the layer, each with an attention suffix.
        note: called with each tap and its value.

    Returns:
        A function of the call and its arguments.
    """
    wanted = {tap: parts(tap).of for tap in taps}
    signature = _signature(layer, "call")

    def read(call, *args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        asked = bound.arguments.get(_ASKS_FOR_SCORES, False)
        if _ASKS_FOR_SCORES in signature.parameters:
            # A fused operation has no scores to record, so the explicit computation is used.
            bound.arguments[_ASKS_FOR_SCORES] = True
        with _projections(layer) as projected, _normalization(layer) as normalized:
            outputs = call(*bound.args, **bound.kwargs)
        queried, *_ = bound.arguments.values()
        crossed = bound.arguments.get("value", queried) is not queried
        seen = _seen(projected, normalized, crossed)
        unread = [tap for tap, of in wanted.items() if of not in seen]
        if unread:
            raise ValueError(
                f"Nothing to read for {unread}: queries, keys and values are read from the arguments of a "
                "layer's method `_compute_attention`, scores and probabilities from the input and output "
                f"of its only Softmax layer. Layer {layer.name!r} ({type(layer).__name__}) gives "
                f"{list(seen)}."
            )
        for tap, of in wanted.items():
            note(tap, seen[of])
        if _ASKS_FOR_SCORES in signature.parameters and not asked:
            outputs = (outputs[0], *outputs[2:]) if len(outputs) > 2 else outputs[0]
        return outputs

    return read


class _Softmax(NamedTuple):
    """One call of a softmax layer."""

    inputs: keras.KerasTensor
    mask: keras.KerasTensor | None
    outputs: keras.KerasTensor


@contextlib.contextmanager
def _projections(layer):
    """A list that receives queries, keys and values."""
    signature = _signature(layer, "_compute_attention")
    noted = []

    def note(compute, *args, **kwargs):
        noted[:] = list(signature.bind(*args, **kwargs).arguments.values())[:3]
        return compute(*args, **kwargs)

    with around(layer, "_compute_attention", note):
        yield noted


@contextlib.contextmanager
def _normalization(layer):
    """A list that receives the call of the layer's softmax; empty if there is none or several."""
    # By name, since tf_keras has a different class.
    inside = flatten_layers(layer, include_self=False, recursive=False)
    found = [each for each in inside if type(each).__name__ == "Softmax"]
    if len(found) != 1:
        yield []
        return
    noted = []

    def note(normalize, inputs, mask=None):
        outputs = normalize(inputs, mask=mask)
        noted[:] = [_Softmax(inputs, mask, outputs)]
        return outputs

    with around(found[0], "call", note):
        yield noted


def _signature(layer, method):
    """The signature of the class's method, even if the layer's own is wrapped."""
    return inspect.signature(getattr(type(layer), method).__get__(layer))


def _seen(projected, normalized, crossed):
    """The recorded values of the five taps, by suffix."""
    if not projected:
        return {}
    queries, keys, values = projected
    heads, of_tokens = queries.shape[-2], len(queries.shape) == 4
    seen = {QUERIES: queries, KEYS: _for_each_head(keys, heads), VALUES: _for_each_head(values, heads)}
    of_keys = None
    for inputs, mask, outputs in normalized:
        scores = ops.cast(inputs, "float32")
        if mask is not None:
            allowed = ops.cast(mask, "float32") > 0.5
            scores = ops.where(allowed, scores, _MASKED)
            of_keys = _any_query(allowed, scores) if of_tokens else None
        if of_tokens:
            scores, outputs = _heads_together(scores), _heads_together(outputs)
        seen |= {SCORES: scores, PROBABILITIES: outputs}
    masked = (KEYS, VALUES) if crossed else OF_ATTENTION
    # A softmax layer attaches its own mask to its output, which is not a token mask.
    return {of: with_mask(value, of_keys if of in masked else None) for of, value in seen.items()}


def _for_each_head(projected, heads):
    """Keys or values, repeated for grouped heads: `(batch, tokens, heads, width)`."""
    groups = projected.shape[-2]
    return projected if groups == heads else ops.repeat(projected, heads // groups, axis=-2)


def _heads_together(scores):
    """Scores as `(batch, heads, queries, keys)`; Gemma's have an axis for the groups of heads."""
    if len(scores.shape) != 5:
        return scores
    _, groups, each, _, _ = scores.shape
    shape = ops.shape(scores)
    return ops.reshape(scores, (shape[0], groups * each, shape[3], shape[4]))


def _any_query(allowed, scores):
    """Tokens `(batch, keys)` that any query may see; None if the mask is the same for all examples.

    Such a mask, for example a causal one, says nothing about padding.
    """
    if allowed.shape[0] == 1 and scores.shape[0] != 1:
        return None
    seen = ops.any(allowed, axis=tuple(range(1, len(allowed.shape) - 1)))
    return ops.broadcast_to(seen, (ops.shape(scores)[0], ops.shape(scores)[-1]))
