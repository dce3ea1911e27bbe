"""Feature maps of teacher and student at the same size and precision."""

import math

import numpy as np
from keras import ops

from tfkd.losses._base import as_float32, as_float32_pair

PROJECTOR_REMEDY = "If the widths differ, give the loss projector=True or a layer of your own."

# Masks a position in a softmax; not -inf, whose differences are NaN.
LEFT_OUT = -1e30

TOKENS_REMEDY = (
    "Tap layers of the same kind; with ':map' after a tap, as in 'block3:map', tokens become a map."
)


def pooled_pair(teacher, student):
    """Casts two maps to float32 and average-pools the larger one to the size of the smaller.

    Args:
        teacher: `(batch, height, width, channels)`; other ranks pass unchanged.
        student: the same; channels may differ.

    Returns:
        The two tensors in float32; maps have the same height and width.

    Raises:
        ValueError: if one is a map and the other is not.
    """
    teacher, student = as_float32(teacher, "teacher"), as_float32(student, "student")
    ranks = len(teacher.shape), len(student.shape)
    if ranks == (4, 4):
        sizes = teacher.shape[1:3], student.shape[1:3]
        # Sizes that are unknown before run time must agree.
        if None not in (*sizes[0], *sizes[1]):
            size = [min(t, s) for t, s in zip(*sizes, strict=True)]
            teacher, student = average_pool_to(teacher, *size), average_pool_to(student, *size)
    steps = teacher.shape[1:2] + student.shape[1:2]
    if ranks[0] != ranks[1] or (ranks[0] == 3 and None not in steps and steps[0] != steps[1]):
        raise ValueError(
            "`teacher` and `student` must both be maps (batch, height, width, channels), or agree except "
            f"in the last axis. Received: teacher {tuple(teacher.shape)}, student {tuple(student.shape)}. "
            f"{TOKENS_REMEDY}"
        )
    return teacher, student


def matching_pair(teacher, student):
    """`pooled_pair` for features that must have the same shape afterwards, including channels."""
    return as_float32_pair(*pooled_pair(teacher, student), remedy=PROJECTOR_REMEDY)


def average_pool_to(maps, height: int, width: int):
    """Adaptive average pooling of `(batch, h, w, channels)`: windows may overlap by a row or column."""
    if (height, width) == tuple(maps.shape[1:3]):
        return maps
    rows, columns = maps.shape[1] / height, maps.shape[2] / width
    if rows.is_integer() and columns.is_integer():
        window = int(rows), int(columns)
        return ops.average_pool(maps, window, strides=window)
    maps = ops.einsum("yh,bhwc->bywc", _windows(maps.shape[1], height), maps)
    return ops.einsum("xw,bywc->byxc", _windows(maps.shape[2], width), maps)


def _windows(n, windows):
    """The matrix `(windows, n)` that averages each window of a row of `n`."""
    matrix = np.zeros((windows, n), "float32")
    for i in range(windows):
        first, last = i * n // windows, -(-(i + 1) * n // windows)
        matrix[i, first:last] = 1 / (last - first)
    return matrix


def per_example_mean(values, mask=None):
    """Mean over all axes but the first.

    Args:
        values: `(batch, ...)`.
        mask: `(batch, positions)`, true where a position, the second axis of the values, counts; None for
            all.

    Returns:
        `(batch,)`, 0 for an example in which no position counts.
    """
    axes = tuple(range(1, len(values.shape)))
    if mask is None:
        return ops.mean(values, axis=axes)
    sums = ops.sum(without_padding(values, mask), axis=axes)
    counts = ops.sum(ops.cast(mask, "float32"), axis=1) * math.prod(values.shape[2:])
    return ops.divide_no_nan(sums, counts)


def pooled_positions(features, mask=None):
    """Mean of features `(batch, ..., channels)` over the positions that count."""
    features = as_float32(features, "features")
    positions = tuple(range(1, len(features.shape) - 1))
    if mask is None or len(positions) != 1:
        return ops.mean(features, axis=positions) if positions else features
    counts = ops.sum(ops.cast(mask, "float32"), axis=1, keepdims=True)
    return ops.divide_no_nan(ops.sum(without_padding(features, mask), axis=1), counts)


def without_padding(values, mask):
    """Values `(batch, positions, ...)` with 0 where the mask `(batch, positions)` is false."""
    if mask is None:
        return values
    counts = ops.expand_dims(ops.cast(mask, "bool"), tuple(range(2, len(values.shape))))
    return ops.where(counts, values, ops.zeros_like(values))


def check_maps(teacher_shape, student_shape) -> None:
    """Raises ValueError if one of the shapes is not `(batch, height, width, channels)`."""
    for who, shape in (("teacher", teacher_shape), ("student", student_shape)):
        if len(shape) != 4:
            raise ValueError(
                f"`{who}_layer` must have maps (batch, height, width, channels), since the loss has "
                f"convolutions. Received: shape {tuple(shape)}. Tap a layer with maps (':map' after a tap "
                "turns tokens into a map), or use a loss such as tfkd.losses.Hint."
            )


def flat_positions(maps):
    """`(batch, height, width, channels)` to `(batch, positions, channels)`; rank 3 is unchanged."""
    if len(maps.shape) == 3:
        return maps
    if len(maps.shape) == 4:
        height, width = maps.shape[1:3]
        positions = -1 if None in (height, width) else height * width
        return ops.reshape(maps, (ops.shape(maps)[0], positions, maps.shape[3]))
    raise ValueError(
        "Features must be maps (batch, height, width, channels) or sequences (batch, steps, channels). "
        f"Received: shape {tuple(maps.shape)}. Tap a layer that keeps positions."
    )


def with_one_axis_from(values, axis: int):
    """Merges all axes from `axis` on; the length stays known if theirs are."""
    sizes = values.shape[axis:]
    length = -1 if None in sizes else math.prod(sizes)
    return ops.reshape(values, (*ops.shape(values)[:axis], length))


def l2_normalized(values, axis: int, epsilon: float = 1e-12):
    """Values divided by their Euclidean norm; 0, without a gradient, where it is at most `epsilon`."""
    squares = ops.sum(ops.square(values), axis=axis, keepdims=True)
    positive = squares > epsilon**2
    return values * ops.where(positive, ops.rsqrt(ops.where(positive, squares, 1.0)), 0.0)


def safe_root(squares):
    """Square root whose gradient at 0 is 0, not infinite."""
    positive = squares > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, squares, 1.0)), 0.0)
