"""Determines what the axes of a network's inputs mean: images, channels first, or a time series."""

from typing import Any

import keras
from keras import layers

from generators import image_shape, probe_images
from tfkd._core.graphs import has_graph, nodes
from tfkd._core.named_inputs import takes_texts
from tfkd._core.trial_inputs import trial_inputs

IMAGES, CHANNELS_FIRST, SERIES = LAYOUTS = "images", "channels_first", "series"

# The name marks an input as a series, in files too.
SERIES_INPUT = "series"
_ALONG_TIME = (
    layers.Conv1D,
    layers.Conv1DTranspose,
    layers.SeparableConv1D,
    layers.DepthwiseConv1D,
    layers.RNN,
    layers.Bidirectional,
    layers.TimeDistributed,
    layers.MultiHeadAttention,
    layers.GroupQueryAttention,
    layers.Attention,
    layers.AdditiveAttention,
    layers.MaxPooling1D,
    layers.AveragePooling1D,
    layers.GlobalMaxPooling1D,
    layers.GlobalAveragePooling1D,
    layers.ZeroPadding1D,
    layers.Cropping1D,
    layers.UpSampling1D,
    # With two axes and a batch, these act on one axis: the values at one time step.
    layers.Dense,
    layers.EinsumDense,
)
# The smallest side, and the numbers of channels, of images whose channels may come first.
_LEAST_SIDE, _FEW_CHANNELS = 8, (1, 3)


def layout_shown(model: Any) -> str | None:
    """One of `LAYOUTS` if the first layers of a network show what its inputs are, else None."""
    if not has_graph(model) or len(model.inputs) != 1:
        return None
    if model.inputs[0].name == SERIES_INPUT:
        return SERIES
    rank = len(model.inputs[0].shape)
    if rank == 3:
        return _first_sign(model, _sign_of_two_axes)[0]
    return _first_sign(model, _sign_of_three_axes)[0] if rank == 4 else None


def is_doubtful(shape: tuple[int, ...]) -> bool:
    """Whether a shape alone leaves the layout of inputs unclear.

    Examples are (3, 32, 32), which may have its channels first, and (32, 24), which may be a series.
    """
    if len(shape) == 3:
        channels, height, width = shape
        return channels in _FEW_CHANNELS and height == width >= _LEAST_SIDE
    return len(image_shape(shape)) == 3 and len(set(shape)) > 1


def filled_shape(model: Any) -> tuple[int, ...]:
    """The shape of a network's inputs, with a channel axis added to images that have none.

    Args:
        model: a network, or any object with an `input_shape`.
    """
    layout = layout_shown(model)
    return filled(tuple(model.input_shape[1:]), None if layout == CHANNELS_FIRST else layout)


def filled(shape: tuple[int, ...], layout: str | None) -> tuple[int, ...]:
    """The shape `(height, width, channels)` for images; the shapes of other inputs unchanged.

    Args:
        shape: the shape of one input, as a network takes it.
        layout: one of `LAYOUTS`; None to infer it from the shape.
    """
    if layout == CHANNELS_FIRST:
        return (*shape[1:], shape[0])
    if layout == IMAGES and len(shape) == 2:
        return (*shape, 1)
    return shape if layout in (IMAGES, SERIES) else image_shape(shape)


def probes(model: Any, *args, **kwargs) -> Any:
    """Synthetic inputs for a model: images or series from `probe_images`, or a few texts."""
    if takes_texts(model):
        return trial_inputs(model)
    return probe_images(model, *args, **kwargs, shape=filled_shape(model))


def _first_sign(model, sign_of):
    """The layout that the first conclusive operation shows, and whether the whole model shows none."""
    tensor = model.inputs[0]
    while True:
        following = [node for node in nodes(model) if any(each is tensor for each in node.input_tensors)]
        signs = [sign for node in following if (sign := sign_of(node))]
        if signs:
            return signs[0], False
        if len(following) != 1 or len(following[0].output_tensors) != 1:
            return None, False
        operation = following[0].operation
        if isinstance(operation, keras.Model) and has_graph(operation):
            sign, passed = _first_sign(operation, sign_of)
            if not passed:
                return sign, False
        tensor = following[0].output_tensors[0]
        if len(tensor.shape) != len(model.inputs[0].shape):
            return None, False
        if tensor is model.outputs[0]:
            return None, True


def _sign_of_two_axes(node):
    if isinstance(node.operation, _ALONG_TIME):
        return SERIES
    before, after = node.input_tensors[0].shape, node.output_tensors[0].shape
    if len(after) == 4 and tuple(after[1:]) == (*before[1:], 1):
        return IMAGES
    return None


def _sign_of_three_axes(node):
    operation = node.operation
    if type(operation).__name__.endswith("2D") and hasattr(operation, "data_format"):
        return CHANNELS_FIRST if operation.data_format == "channels_first" else IMAGES
    before, after = node.input_tensors[0].shape, node.output_tensors[0].shape
    if not _permutes(operation):
        return None
    put_last = tuple(after[1:]) == (*before[2:], before[1]) and before[1] < min(before[2:])
    return CHANNELS_FIRST if put_last else IMAGES


def _permutes(operation):
    return isinstance(operation, layers.Permute) or type(operation).__name__ in ("Transpose", "Moveaxis")
