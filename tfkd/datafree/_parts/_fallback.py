"""Procedural generators for inputs that image generators cannot make."""

import keras
import numpy as np
from keras import layers, ops

import generators
from generators import Generator
from tfkd import taps
from tfkd._core.layouts import filled_shape
from tfkd.datafree._inputs import one_shape

# Maximum number of channels of pictures: three colours and opacity.
_MOST_OF_PICTURES = 4


def fallback_priors(teacher: keras.Model, shape: tuple[int, ...]) -> tuple[str | Generator, ...]:
    """The procedural generators of inputs that image generators cannot make.

    Series and spectrograms get signals. Vectors get independent features, in the ranges of the teacher's
    `Normalization` layer if it starts with one. Other inputs, such as images without a channel axis, get
    smooth noise.
    """
    if len(shape) == 1:
        ranges = input_ranges(teacher)
        return ("uniform",) if ranges is None else (generators.Uniform(shape, *ranges),)
    is_series = len(shape) == len(filled_shape(teacher)) == 2
    return ("signals",) if is_series or is_spectrogram(shape) else ("smooth_noise",)


def is_spectrogram(shape: tuple[int, ...]) -> bool:
    """Whether inputs look like spectrograms.

    Either they have one channel and one side is more than twice as long as the other, or they are one pixel
    wide, with frequencies as channels, more than pictures have.
    """
    if len(shape) != 3:
        return False
    rows, columns, channels = shape
    if channels == 1:
        return max(rows, columns) > 2 * min(rows, columns)
    return rows > columns == 1 and channels > _MOST_OF_PICTURES


def input_ranges(teacher: keras.Model) -> tuple[np.ndarray, np.ndarray] | None:
    """The ranges of the features of a teacher of vectors: three standard deviations around their means.

    Returns:
        `(low, high)` as from `tfkd.generators.feature_ranges`, on the scale of the teacher's own inputs;
        None if it does not take vectors, or does not start with a `Normalization` layer, with or without a
        scaling before it.
    """
    taken = one_shape(teacher) or ()
    shape = tuple(side for side in taken if side is not None)
    if len(taken) != 1 or len(shape) != 1:
        return None
    try:
        ranges = generators.feature_ranges(teacher)
    except ValueError:
        return None
    named = taps.named_layers(teacher)
    tap = next(f"{path}:input" for path, each in named.items() if isinstance(each, layers.Normalization))
    # Undo a scaling before the layer, which multiplies each feature by a factor and adds an offset.
    given = np.random.default_rng(0).uniform(0.5, 1.5, (4, *shape)).astype("float32")
    given[::2] *= -1
    with taps.record(teacher, [tap]) as seen:
        teacher(ops.convert_to_tensor(given), training=False)
    entered = np.asarray(ops.cast(seen[tap], "float32"))
    if entered.shape != given.shape:
        return None
    factor = (entered[1] - entered[0]) / (given[1] - given[0])
    offset = entered[0] - factor * given[0]
    if not (factor.all() and np.allclose(entered, factor * given + offset, rtol=1e-3, atol=1e-4)):
        return None
    ends = [(np.broadcast_to(end, shape) - offset) / factor for end in ranges]
    return np.minimum(*ends), np.maximum(*ends)


def leaves_unit(teacher: keras.Model) -> bool:
    """Whether the features of a teacher of vectors are known to lie outside [0, 1]."""
    ranges = input_ranges(teacher)
    if ranges is None:
        return False
    low, high = ranges
    return bool(low.min() < 0 or high.max() > 1)
