"""Which layer a tap names, and what of it."""

import difflib
from typing import NamedTuple

import keras

from tfkd._core.keras_internals import flatten_layers, is_attention

INPUT, MAP = ":input", ":map"
# What can be read of an attention layer.
QUERIES, KEYS, VALUES, SCORES, PROBABILITIES = OF_ATTENTION = (
    ":queries",
    ":keys",
    ":values",
    ":scores",
    ":probabilities",
)
# Not a layer: the gradient of the labels' cross-entropy by the model's input, which a distiller computes.
INPUT_GRADIENT = ":gradient"


class Parts(NamedTuple):
    """A tap taken apart.

    Args:
        path: of the layer.
        of: what is read of it: "" for the output, or a suffix.
        as_map: whether tokens are to be seen as a square map.
    """

    path: str
    of: str
    as_map: bool


def parts(tap: str) -> Parts:
    """Takes a tap apart."""
    rest = tap.removesuffix(MAP)
    of = next((suffix for suffix in (INPUT, *OF_ATTENTION) if rest.endswith(suffix)), "")
    return Parts(rest.removesuffix(of), of, rest != tap)


def named_layers(model: keras.Model) -> dict[str, keras.Layer]:
    """Every layer inside `model`, however deep, by its path.

    Args:
        model: any Keras model.

    Returns:
        A dictionary from paths such as `"block3/relu"` to layers, in the model's own order. Layers
        that share a path keep the first.
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
    """The layers right inside a layer, by name; of a bridge to another Keras, those behind it."""
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
        ValueError: if there is no such layer; the message lists close matches. Also if the suffix asks
            for attention and the layer holds none, or several.
    """
    path, of, _ = parts(tap)
    layers = named_layers(model)
    if path not in layers:
        close = difflib.get_close_matches(path, layers, n=5, cutoff=0.4) or list(layers)[:5]
        raise ValueError(
            f"No layer {path!r} in model {model.name!r}. Close matches: {close}. Layers inside "
            "layers are named by path, as in 'block3/relu'."
        )
    if of not in OF_ATTENTION:
        return layers[path]
    found = attention_layers(layers[path], path)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise ValueError(
            f"Tap {tap!r} is of a layer that holds {len(found)} attention layers. Name one of them: "
            f"{[inner + of for inner in found]}."
        )
    known = list(attention_layers(model))
    remedy = (
        f"Layers with attention: {known}." if known else f"Model {model.name!r} has none that can be read."
    )
    raise ValueError(
        f"Tap {tap!r} asks for {of[1:]}, but layer {path!r} holds no attention layer: one like "
        "keras.layers.MultiHeadAttention, with a method `_compute_attention(query, key, value, ...)`. "
        f"{remedy}"
    )


def attention_layers(layer: keras.Layer, path: str = "") -> dict[str, keras.Layer]:
    """The attention layers in a layer, itself included, by path.

    Args:
        layer: a layer or model.
        path: its own path; empty for a model.

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
