"""What inputs are drawn from where a prior of images does not make them."""

import keras
import numpy as np
from keras import layers, ops

import generators
from generators import Generator
from tfkd import taps
from tfkd._core.layouts import filled_shape
from tfkd.datafree._inputs import one_shape

# Channels of pictures: colours, and how opaque they are.
_MOST_OF_PICTURES = 4


def fallback_priors(teacher: keras.Model, shape: tuple[int, ...]) -> tuple[str | Generator, ...]:
    """The procedural generators of inputs that those of images do not make.

    Series and spectrograms are signals; the features of a vector are independent, in the ranges that the
    teacher's `Normalization` tells, if it begins with one. What else there is, such as images without an
    axis for channels, is smooth noise.
    """
    if len(shape) == 1:
        ranges = input_ranges(teacher)
        return ("uniform",) if ranges is None else (generators.Uniform(shape, *ranges),)
    is_series = len(shape) == len(filled_shape(teacher)) == 2
    return ("signals",) if is_series or is_spectrogram(shape) else ("smooth_noise",)


def is_spectrogram(shape: tuple[int, ...]) -> bool:
    """Whether inputs look like spectrograms.

    Either they have one channel and one side more than twice the other, or, one pixel wide, their
    frequencies are channels, more of them than pictures have.
    """
    if len(shape) != 3:
        return False
    rows, columns, channels = shape
    if channels == 1:
        return max(rows, columns) > 2 * min(rows, columns)
    return rows > columns == 1 and channels > _MOST_OF_PICTURES


def input_ranges(teacher: keras.Model) -> tuple[np.ndarray, np.ndarray] | None:
    """Where the features of a teacher of vectors lie, three standard deviations about their means.

    Returns:
        `(low, high)` as `tfkd.generators.feature_ranges` gives them, on the scale of the teacher's own
        inputs; None if it takes no vectors, or does not begin with a `Normalization`, but for a scaling.
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
    # A scaling in front of the layer is undone: each feature by itself, times a factor, plus an offset.
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
    """Whether the features of a teacher of vectors are known to lie elsewhere than in [0, 1]."""
    ranges = input_ranges(teacher)
    if ranges is None:
        return False
    low, high = ranges
    return bool(low.min() < 0 or high.max() > 1)
