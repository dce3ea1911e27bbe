"""The network to export, found from the model, distiller or student that a caller passes."""

from collections.abc import Mapping
from typing import Any

import keras

from tfkd._core.graphs import has_graph
from tfkd._core.keras_versions import check_keras_3
from tfkd.distilling import Distillation
from tfkd.export._signature import (
    NEVER_CALLED,
    Declared,
    declared_inputs,
    input_structure,
    is_named,
    takes_texts,
)

_SEVERAL = (
    "`model`: {!r} has {} outputs, but a file has one. Build a keras.Model with only the wanted output."
)


def trained_network(model: keras.Model) -> keras.Model:
    """The network to export: the student of a distiller, or any other model itself.

    Raises:
        TypeError: if it is a tf_keras model, or not a model at all.
        ValueError: if it is a scheme with several students, or was never called.
    """
    check_keras_3("model", model)
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {model!r} of type {type(model)}. Load a file with "
            "keras.models.load_model first."
        )
    if isinstance(model, keras.Sequential) and not model.built:
        raise ValueError(NEVER_CALLED.format(model.name))
    students = model.students if isinstance(model, Distillation) else [model]
    if len(students) != 1:
        raise ValueError(
            f"`model` must be one network. Received: a scheme with {len(students)} students. Export one of "
            "them: model.students[0]."
        )
    return students[0]


def with_known_sides(
    model: keras.Model,
    image_shape: tuple[int, ...] | None,
    length: int | None = None,
    examples: Any = None,
) -> keras.Model:
    """A network with known input and output shapes and the same weights.

    Args:
        model: a network, functional or not.
        image_shape: the shape of one input, if the network does not fix it; else None.
        length: the length of texts in tokens, if the network does not fix it; else None.
        examples: example inputs, which give the dtypes if the network does not; None for none.

    Returns:
        A network with one input, or with a dictionary of inputs by name if it has several or takes texts.

    Raises:
        ValueError: if an input size is unknown, `image_shape` or `length` does not fit, or the network has
            several outputs or was never built.
    """
    if len(getattr(model, "outputs", None) or ()) > 1:
        raise ValueError(_SEVERAL.format(model.name, len(model.outputs)))
    declared = declared_inputs(model, examples)
    known = _known(model, declared, image_shape, length)
    named = is_named(model) or len(known) > 1 or takes_texts(known)
    if _fits_as_it_is(model, declared, known, named):
        return model
    inputs = {
        name: keras.Input(each.shape, name=name, dtype=each.dtype or "float32")
        for name, each in known.items()
    }
    outputs = keras.tree.flatten(model(_as_taken(model, inputs), training=False))
    if len(outputs) > 1:
        raise ValueError(_SEVERAL.format(model.name, len(outputs)))
    return keras.Model(inputs if named else next(iter(inputs.values())), outputs[0], name=model.name)


def _known(model, declared, image_shape, length):
    """The inputs with all sizes known."""
    rows = [name for name, each in declared.items() if each.is_row_of_integers]
    if length is not None and not rows:
        raise ValueError(
            f"`length` is the length of texts in tokens, but {model.name!r} takes no texts. Received: "
            f"{length!r}. Leave it out; use image_shape for the size of images."
        )
    others = {name: each for name, each in declared.items() if name not in rows}
    if len(others) > 1:
        others = {name: each for name, each in others.items() if None in each.shape}
    return {
        name: _with_length(model, each, length)
        if name in rows
        else _with_sides(model, each, image_shape if name in others else None)
        for name, each in declared.items()
    }


def _fits_as_it_is(model, declared, known, named):
    """Whether a network can be exported without a wrapper."""
    if declared != known or named != is_named(model):
        return False
    if not has_graph(model):
        # A black box declares its inputs; other models that are not functional do not.
        return "input_shape" in dir(type(model))
    plain = isinstance(model, keras.Sequential) or not keras.tree.is_nested(model.output)
    # An input declared as float may take tokens.
    dtypes = sorted(tensor.dtype for tensor in model.inputs)
    return plain and dtypes == sorted(each.dtype for each in known.values())


def _as_taken(model, inputs):
    """Inputs by name, in the structure that the model is called with."""
    structure = input_structure(model)
    if isinstance(structure, Mapping):
        return dict(zip(structure, inputs.values(), strict=True))
    return keras.tree.pack_sequence_as(structure, list(inputs.values()))


def _with_length(model, declared: Declared, length):
    (side,) = declared.shape
    if side is None and length is None:
        raise ValueError(
            f"`length` is needed: {model.name!r} takes texts of any length, but a file takes only one. "
            "Pass it in tokens, such as length=64, or pass data of the wanted length."
        )
    if side is not None and length not in (None, side):
        raise ValueError(
            f"`length` must be {side}, since {model.name!r} takes texts of {side} tokens. Received: "
            f"{length!r}."
        )
    return declared._replace(shape=(side or length,))


def _with_sides(model, declared: Declared, image_shape):
    shape = declared.shape
    given = None if image_shape is None else tuple(image_shape)
    if given is not None and not _fits(given, shape):
        raise ValueError(
            f"`image_shape` must match the shape of one input of {model.name!r}, {shape}, such as "
            f"(height, width, channels) for images. Received: {image_shape!r}."
        )
    known = shape if given is None else given
    if None in known:
        raise ValueError(
            f"`image_shape` is needed: {model.name!r} takes inputs of shape {shape}, but a file takes only "
            "one size. Pass it as (height, width, channels)."
        )
    return declared._replace(shape=known)


def _fits(given, shape):
    return len(given) == len(shape) and all(
        isinstance(side, int) and side > 0 and known in (None, side)
        for side, known in zip(given, shape, strict=True)
    )
