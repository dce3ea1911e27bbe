"""Networks whose kernels lie on the grids of files of few bits, by rounding that was learned."""

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
    """A model like another one, with kernels that a file of few bits keeps as they are.

    Layer by layer, in the order of computation, each weight is rounded up or down so that the layer gives,
    behind the layers rounded before it, what it gives in the model in float; biases and the betas of batch
    normalizations are corrected for what is left. Kernels of dense layers, convolutions and depthwise ones
    are learned; those of layers that are called several times, or seen at fewer places than a channel has
    weights, and of other layers, are rounded to the nearest values. The model must not be used by another
    thread meanwhile.

    Args:
        model: any Keras 3 model, which stays as it is.
        inputs: `(n, ...)`, or several by name, as the model takes them, for instance
            `distiller.synthesize(64)`; 64 at most are used, the last quarter to judge what was learned.
        bits: of the kernels: 8, for "int8" and "int16x8" files, or 4, for "w4a8" and "int4" ones, whose
            depthwise and transposed convolutions have 8 all the same.
        updates: steps of Adam for each kernel, at least 1.
        round_values: whether kernels make up for values that are rounded to 8 bits between layers, too;
            False for "int16x8" and "int4".
        seed: which outputs a layer learns from.

    Returns:
        A model with the same layers. Along each channel of a kernel values are whole multiples of a step,
        127 (7) of which make the largest, so that a converter keeps them.

    Raises:
        TypeError: if `model` is not a model of Keras 3, or `updates` or `bits` not an integer.
        ValueError: for numbers out of range, a model without such kernels, or no inputs.

    Example:
        >>> rounded = tfkd.compression.learn_rounding(model, distiller.synthesize(64))
        >>> check = tfkd.export.export_tflite(rounded, "model.tflite", "int8",
        ...                                   representative_data=distiller.synthesize(256))

    Reference:
        Nagel, Amjad, van Baalen, Louizos, Blankevoort, "Up or Down? Adaptive Rounding for Post-Training
        Quantization", ICML 2020: rectified sigmoids, an annealed regularizer, asymmetric reconstruction.
        Deviations: outputs are compared before activations, as a share of what rounding to the nearest
        does to each channel, without their means, which biases correct; 500 updates of batches of 256
        places at a rate of 0.02 instead of 10,000; a channel that is not nearer on other inputs is rounded
        to the nearest.
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
