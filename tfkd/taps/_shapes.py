"""Shapes of taps, and the taps at the ends of a network's stages."""

from typing import Any

import keras

from tfkd._core.graphs import has_graph
from tfkd._core.keras_internals import flatten_layers, inbound_nodes, symbolic_call
from tfkd._core.token_maps import map_shape
from tfkd.taps._paths import INPUT, MAP, OF_ATTENTION, named_layers, parts, resolve
from tfkd.taps._record import recording


def shape(model: keras.Model, tap: str) -> Any:
    """The shape, or structure of shapes, of a tap; None if the model's graph does not give it.

    Shapes inside a layer of the graph are found by calling that layer symbolically. A subclassed model has
    no known graph.

    Args:
        model: any Keras model.
        tap: a layer's path, with the suffixes that `record` takes.

    Returns:
        A shape whose first axis is None.
    """
    _, of, is_map = parts(tap)
    if is_map:
        tokens = shape(model, tap.removesuffix(MAP))
        return None if tokens is None else map_shape(tokens)
    layer = resolve(model, tap)
    nodes = inbound_nodes(layer)
    if not nodes or of in OF_ATTENTION:
        return _shape_inside(model, tap, layer)
    if not isinstance(layer, keras.Layer):
        return layer.get_input_shape_at(-1) if of == INPUT else layer.get_output_shape_at(-1)
    arguments = nodes[-1].arguments.args
    seen = arguments[0] if of == INPUT and arguments else nodes[-1].output_tensors
    return _shapes(seen[0] if isinstance(seen, list) and len(seen) == 1 else seen)


def _shape_inside(model, tap, layer):
    """The shape found in the innermost enclosing layer of the tap that is part of a graph."""
    layers, path = named_layers(model), parts(tap).path
    while path and not (isinstance(layers[path], keras.Layer) and inbound_nodes(layers[path])):
        path = path.rpartition("/")[0]
    if path:
        holder, arguments = layers[path], inbound_nodes(layers[path])[-1].arguments
        args, kwargs = arguments.args, arguments.kwargs
    elif has_graph(model):
        holder, args, kwargs = model, (model.input,), {}
    else:
        return None

    def seen(*args, **kwargs):
        with recording({tap: layer}) as record:
            holder(*args, **kwargs)
        return record.get(tap)

    return _shapes(symbolic_call(seen, *args, **kwargs))


def _shapes(tensors):
    return keras.tree.map_structure(lambda tensor: None if tensor is None else tuple(tensor.shape), tensors)


def penultimate(model: keras.Model) -> str:
    """The tap of the features that enter the model's last layer with weights."""
    weighted = [
        path
        for path, layer in named_layers(model).items()
        if layer.weights and not flatten_layers(layer, include_self=False, recursive=False)
    ]
    if not weighted:
        raise ValueError(f"Model {model.name!r} has no layer with weights to tap.")
    return weighted[-1] + INPUT


def stages(model: keras.Model) -> dict[tuple[int, int], str]:
    """The last layer of each feature-map size, where a convolutional network's stages end.

    Args:
        model: a model whose graph is known.

    Returns:
        `{(height, width): tap}` in the model's own order, without 1x1 maps.
    """
    found = {}
    for path, layer in named_layers(model).items():
        if isinstance(layer, keras.layers.InputLayer):
            continue
        seen = shape(model, path)
        if isinstance(seen, tuple) and len(seen) == 4 and None not in seen[1:] and seen[1] * seen[2] > 1:
            found[seen[1:3]] = path
    return found


def shared_stages(teacher: keras.Model, student: keras.Model) -> list[tuple[str, str]]:
    """Pairs of taps, teacher's and student's, at the end of each stage they share; see `stages`."""
    theirs, ours = stages(teacher), stages(student)
    return [(theirs[size], ours[size]) for size in theirs if size in ours]
