"""Parsing of taps: the layer, and which of its values."""

import difflib
from typing import NamedTuple

import keras

from tfkd._core.keras_internals import flatten_layers, is_attention

INPUT, MAP = ":input", ":map"
# Values that can be read from an attention layer.
QUERIES, KEYS, VALUES, SCORES, PROBABILITIES = OF_ATTENTION = (
    ":queries",
    ":keys",
    ":values",
    ":scores",
    ":probabilities",
)
# Not a layer: the gradient of the labels' cross-entropy with respect to the model's input.
INPUT_GRADIENT = ":gradient"


class Parts(NamedTuple):
    """The parts of a tap.

    Args:
        path: path of the layer.
        of: the value to read: "" for the output, or a suffix.
        as_map: whether tokens are returned as a square map.
    """

    path: str
    of: str
    as_map: bool


def parts(tap: str) -> Parts:
    """Parses a tap."""
    rest = tap.removesuffix(MAP)
    of = next((suffix for suffix in (INPUT, *OF_ATTENTION) if rest.endswith(suffix)), "")
    return Parts(rest.removesuffix(of), of, rest != tap)


def named_layers(model: keras.Model) -> dict[str, keras.Layer]:
    """Every layer inside `model`, however deep, by its path.

    Args:
        model: any Keras model.

    Returns:
        A dictionary from paths such as `"block3/relu"` to layers, in the model's own order. If layers share
        a path, the first is kept.
    """
    found: dict[str, keras.Layer] = {}

    def visit(layer, prefix):
        for name, child in children(layer).items():
            path = prefix + name
            if path not in found:
                found[path] = child
                visit(child, path + "/")

    visit(model, "")
    return found


def children(layer: keras.Layer) -> dict[str, keras.Layer]:
    """The direct sublayers of a layer, by name; for a bridge to another Keras, the layers of its model."""
    found = {}
    for child in flatten_layers(layer, include_self=False, recursive=False):
        inside = child.inner_layers() if hasattr(child, "inner_layers") else {child.name: child}
        for name, each in inside.items():
            found.setdefault(name, each)
    return found


def resolve(model: keras.Model, tap: str) -> keras.Layer:
    """The layer that `tap` names.

    Args:
        model: the model to look in.
        tap: a layer's path, with the suffixes that `record` takes.

    Returns:
        The layer; with a suffix of attention, the attention layer, which may be inside the one named.

    Raises:
        ValueError: if there is no such layer (the message lists close matches), or for an attention suffix
            if the layer contains no attention layer, or several.
    """
    path, of, _ = parts(tap)
    layers = named_layers(model)
    if path not in layers:
        close = difflib.get_close_matches(path, layers, n=5, cutoff=0.4) or list(layers)[:5]
        raise ValueError(
            f"No layer {path!r} in model {model.name!r}. Close matches: {close}. Nested layers are named "
            "by path, as in 'block3/relu'."
        )
    if of not in OF_ATTENTION:
        return layers[path]
    found = attention_layers(layers[path], path)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise ValueError(
            f"Tap {tap!r} names a layer that contains {len(found)} attention layers. Name one of them: "
            f"{[inner + of for inner in found]}."
        )
    known = list(attention_layers(model))
    remedy = (
        f"Layers with attention: {known}." if known else f"Model {model.name!r} has none that can be read."
    )
    raise ValueError(
        f"Tap {tap!r} needs {of[1:]}, but layer {path!r} contains no attention layer, that is, a layer "
        "like keras.layers.MultiHeadAttention with a method `_compute_attention(query, key, value, ...)`. "
        f"{remedy}"
    )


def attention_layers(layer: keras.Layer, path: str = "") -> dict[str, keras.Layer]:
    """The attention layers in a layer, including itself, by path.

    Args:
        layer: a layer or model.
        path: path of the layer; empty for a model.

    Returns:
        A dictionary from paths to layers with a method `_compute_attention(query, key, value, ...)`, such
        as `keras.layers.MultiHeadAttention`, each once, in the model's own order; empty if there are none.

    Example:
        >>> list(attention_layers(teacher))
        ['attention0', 'attention1', ...]
    """
    if is_attention(layer):
        return {path: layer}
    prefix = f"{path}/" if path else ""
    unique: dict[int, tuple[str, keras.Layer]] = {}
    for inner, each in named_layers(layer).items():
        if is_attention(each):
            unique.setdefault(id(each), (prefix + inner, each))
    return dict(unique.values())
