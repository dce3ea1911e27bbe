"""The network that a file is made of, from what people have in their hands."""

import keras

from tfkd._core.graphs import has_graph
from tfkd._core.keras_internals import build_shapes
from tfkd._core.keras_versions import check_keras_3
from tfkd.distilling import Distillation

_SEVERAL = (
    "`model`: {!r} has {} {}; files lead from one input to one output. Build a keras.Model of one input "
    "and one output around it."
)
_NEVER_CALLED = (
    "`model`: {!r} was never called, so nobody knows what it takes. Call it on a batch of inputs first."
)


def trained_network(model: keras.Model) -> keras.Model:
    """The network that somebody means: the student of a distiller, any other model itself.

    Raises:
        TypeError: if it is a model of tf_keras, or not a model at all.
        ValueError: if it is a scheme with several students.
    """
    check_keras_3("model", model)
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {model!r} of type {type(model)}. Load files with "
            "keras.models.load_model first."
        )
    if isinstance(model, keras.Sequential) and not model.built:
        raise ValueError(_NEVER_CALLED.format(model.name))
    students = model.students if isinstance(model, Distillation) else [model]
    if len(students) != 1:
        raise ValueError(
            f"`model` must be one network. Received: a scheme with {len(students)} students. Export one of "
            "them: model.students[0]."
        )
    return students[0]


def with_known_sides(model: keras.Model, image_shape: tuple[int, ...] | None) -> keras.Model:
    """The network as one whose input and output shapes are known, with the same weights.

    Args:
        model: a network of one input, functional or not.
        image_shape: of one input, where the network leaves sides open; None if it does not.

    Raises:
        ValueError: if sides are open that `image_shape` does not tell, it does not fit, or the network was
            never built.
    """
    if len(getattr(model, "outputs", None) or ()) > 1:
        raise ValueError(_SEVERAL.format(model.name, len(model.outputs), "outputs"))
    given = None if image_shape is None else tuple(image_shape)
    shape = _input_shape(model)
    if given is not None and not _fits(given, shape):
        raise ValueError(
            f"`image_shape` must be (height, width, channels), or another shape of one input, as "
            f"{model.name!r} takes it: {shape}. Received: {image_shape!r}."
        )
    known = shape if given is None else given
    if None in known:
        raise ValueError(
            f"`image_shape` is needed: {model.name!r} takes inputs of shape {shape}, and a file takes one "
            "size. Give it as (height, width, channels)."
        )
    functional = has_graph(model) and not isinstance(model, keras.Sequential)
    named = functional and keras.tree.is_nested(model.output)
    if _declares_shape(model) and known == shape and not named:
        return model
    inputs = keras.Input(known, name="image", dtype=input_dtype(model))
    outputs = keras.tree.flatten(model(inputs, training=False))
    if len(outputs) > 1:
        raise ValueError(_SEVERAL.format(model.name, len(outputs), "outputs"))
    return keras.Model(inputs, outputs[0], name=model.name)


def _declares_shape(model):
    """Whether a model says what it takes: those with a graph do, and black boxes."""
    return has_graph(model) or "input_shape" in dir(type(model))


def _input_shape(model):
    # What code calls is known by what it was called on.
    shapes = [model.input_shape] if _declares_shape(model) else list(build_shapes(model).values())
    if not shapes or shapes[0] is None:
        raise ValueError(_NEVER_CALLED.format(model.name))
    if len(shapes) != 1 or not all(side is None or isinstance(side, int) for side in shapes[0]):
        raise ValueError(_SEVERAL.format(model.name, _count(shapes), "inputs"))
    return tuple(shapes[0][1:])


def _count(shapes):
    return len(keras.tree.flatten(keras.tree.map_shape_structure(lambda _: 0, shapes)))


def _fits(given, shape):
    return len(given) == len(shape) and all(
        isinstance(side, int) and side > 0 and known in (None, side)
        for side, known in zip(given, shape, strict=True)
    )


def input_dtype(model: keras.Model) -> str:
    """The dtype of a model's input; float32 of one that does not say."""
    return model.inputs[0].dtype if has_graph(model) else "float32"
