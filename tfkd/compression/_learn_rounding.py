"""Learned rounding: puts kernels on the grids of low-bit files."""

from typing import Any

import keras
import numpy as np
from keras import tree

from tfkd._core.checks import check_int
from tfkd._core.copies import cloned_model
from tfkd._core.graphs import copy_weights
from tfkd._core.keras_internals import flatten_layers
from tfkd._core.keras_versions import check_keras_model
from tfkd.compression._kernels import kernels_of
from tfkd.compression._reconstruction import Learning
from tfkd.compression._rounding import Rounding, round_network


def learn_rounding(
    model: keras.Model,
    inputs: Any,
    bits: int = 8,
    updates: int = 500,
    round_values: bool = True,
    seed: int = 0,
) -> keras.Model:
    """Makes a copy of a model whose kernels are stored in a low-bit file without further rounding.

    Layer by layer, in the order of computation, each weight is rounded up or down so that the layer's
    outputs, given the layers rounded before it, match those of the float model. Biases and the betas of
    batch normalization are corrected for the remaining error. Rounding is learned for dense layers,
    convolutions and depthwise convolutions. It is to the nearest value for other layers, for layers that
    are called several times, and for layers with fewer output positions than weights per channel. No other
    thread may use the model in the meantime.

    Args:
        model: any Keras 3 model; it is not changed.
        inputs: the model's inputs `(n, ...)`, or several by name, such as `distiller.synthesize(64)`; at
            most 64 are used, the last quarter to evaluate the learned rounding.
        bits: the bits of the kernels: 8 for "int8" and "int16x8" files, or 4 for "w4a8" and "int4" files,
            in which depthwise and transposed convolutions still have 8.
        updates: the number of Adam steps for each kernel, at least 1.
        round_values: whether kernels should also compensate for values being rounded to 8 bits between
            layers; use False for "int16x8" and "int4".
        seed: the seed for the choice of outputs from which a layer learns.

    Returns:
        A model with the same layers. In each channel of a kernel, values are integer multiples of a step,
        at most 127 (or 7) of them, so that a converter keeps them exactly.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if a number is out of range or not an integer, the model has no such kernels, or there
            are no inputs.

    Example:
        >>> rounded = tfkd.compression.learn_rounding(model, distiller.synthesize(64))
        >>> check = tfkd.export.export_tflite(rounded, "model.tflite", "int8",
        ...                                   representative_data=distiller.synthesize(256))

    Reference:
        Nagel, Amjad, van Baalen, Louizos, Blankevoort, "Up or Down? Adaptive Rounding for Post-Training
        Quantization", ICML 2020: rectified sigmoids, an annealed regularizer, asymmetric reconstruction.
        Deviations: outputs are compared before activations, relative to the error of rounding to nearest
        in each channel, and without their means, which biases correct; 500 updates on batches of 256
        positions with a learning rate of 0.02 instead of 10,000 updates; channels that do not improve on
        other inputs are rounded to nearest.
    """
    check_keras_model("model", model)
    check_int("updates", updates)
    if bits not in (4, 8):
        raise ValueError(f"`bits` must be 8 or 4. Received: {bits!r}.")
    inputs = tree.map_structure(np.asarray, inputs)
    if not all(len(array) for array in tree.flatten(inputs)):
        raise ValueError("`inputs` must hold at least one input. Received: none.")
    copy = cloned_model(model)
    copy_weights(model, copy)
    if not any(kernels_of(layer) for layer in flatten_layers(copy)):
        raise ValueError(f"`model`: {model.name!r} has no dense layer or convolution to round.")
    round_network(copy, inputs, Rounding(bits, round_values, Learning(updates, seed)))
    return copy
