"""A model's architecture with other kernel sizes."""

import keras
import numpy as np
from keras import layers

from tfkd._core.checks import check_int
from tfkd._core.copies import cloned_model, remade
from tfkd._core.graphs import copy_input_statistics, copy_weights, has_graph, trainable_config
from tfkd._core.keras_internals import flatten_layers
from tfkd._core.keras_versions import check_keras_3

_CONVOLUTIONS = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
)
# With longer strides, small kernels would skip inputs.
_LONGEST_STRIDE = 2


def with_kernel_size(
    model: keras.Model, size: int, name: str | None = None, inherit: bool = False
) -> keras.Model:
    """The same architecture with another kernel size.

    Convolutions with `padding="same"` and strides of 1 or 2 get kernels of this size along each axis.
    Kernels of size 1, which only mix channels, are kept, as are all other kernels, since their outputs
    would change shape.

    Args:
        model: a functional or Sequential model.
        size: size of the kernels along each axis, at least 2.
        name: name of the new model; None for the model's name with the size appended.
        inherit: whether weights are inherited: the centre of a larger kernel, or a smaller one padded with
            zeros, which computes the same if both sizes are odd; otherwise the model is newly initialized.

    Returns:
        A model with the same input and output shapes and the same layer names.

    Raises:
        ValueError: if the size is out of range, the model has no graph, or no kernel can change its size.

    Example:
        >>> student = tfkd.students.with_kernel_size(teacher, 3)
    """
    check_keras_3("model", model)
    check_int("size", size, least=2)
    if not has_graph(model):
        raise ValueError(
            f"`model` must be functional or a built Sequential model. Received: {type(model)}. "
            "Build a student by hand, or choose one from tfkd.students."
        )
    if not any(_resizable(layer) for layer in flatten_layers(model)):
        raise ValueError(
            f"`model`: {model.name!r} has no convolution whose kernel size can be changed: it needs "
            "padding='same', strides of 1 or 2 and a kernel size above 1. Use tfkd.students.scale_width."
        )

    def cloned(layer):
        config = trainable_config(layer)
        if _resizable(layer):
            config["kernel_size"] = (size,) * len(layer.kernel_size)
        return remade(layer, config)

    student = cloned_model(model, clone_function=cloned, recursive=True)
    student.trainable = True
    student.name = name or f"{model.name}_kernel{size}"
    if inherit:
        for old, new in zip(_innermost(model), _innermost(student), strict=True):
            _inherit(old, new)
    else:
        copy_input_statistics(model, student)
    return student


def _resizable(layer):
    return (
        type(layer) in _CONVOLUTIONS
        and layer.padding == "same"
        and max(layer.kernel_size) > 1
        and max(layer.strides) <= _LONGEST_STRIDE
    )


def _innermost(model):
    return [layer for layer in flatten_layers(model) if not isinstance(layer, keras.Model)]


def _inherit(old, new):
    if not _resizable(old):
        if old.weights:
            copy_weights(old, new)
        return
    values = old.get_weights()
    # The first weights are the spatial kernel; pointwise kernels and biases have no positions.
    new.set_weights([_fitted(values[0], new.kernel_size), *values[1:]])


def _fitted(kernel, sizes):
    """The centre of a kernel, or the kernel padded with zeros."""
    for axis, size in enumerate(sizes):
        have = kernel.shape[axis]
        # Aligned to the output position as in TensorFlow's padding.
        shift = abs((size - 1) // 2 - (have - 1) // 2)
        if size > have:
            widths = [(0, 0)] * kernel.ndim
            widths[axis] = (shift, size - have - shift)
            kernel = np.pad(kernel, widths)
        else:
            kernel = np.take(kernel, range(shift, shift + size), axis=axis)
    return kernel
