"""KD-SVD, singular value decomposition: how the main directions of features change from layer to layer."""

import itertools

import keras
import tensorflow as tf
from keras import ops

from tfkd._core.checks import check_int
from tfkd.losses._base import Taps, as_float32, as_float32_pair
from tfkd.losses._features import FeatureLoss, check_several
from tfkd.losses._maps import PROJECTOR_REMEDY, flat_positions, l2_normalized

# Number of extra singular vectors of the student to search, and the width of the kernel.
_EXTRA, _KERNEL = 3, 8.0
# A singular value counts as 0 below this fraction of the largest.
_NONE = 1e-6


def singular_values(teacher, student, k: int = 1):
    """KD-SVD: squared difference of the kernels between the main singular vectors of successive layers.

    The features of an example are a matrix `(positions, channels)`; its first `k` right singular vectors,
    scaled by the teacher's normalized singular values, represent the layer. For the student, the nearest of
    its first `k + 3` are used, with matching sign. Between one layer and the next an RBF kernel compares
    all pairs of entries. Reduction: summed over entries and layers, one value per example. No temperature.

    Args:
        teacher: a list of at least two of the teacher's maps `(batch, height, width, channels)`.
        student: as many of the student's, with the same number of channels each.
        k: number of singular vectors, at least 1.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if there are fewer than two layers, or the channels differ.

    Example:
        >>> singular_values([teacher_low, teacher_high], [student_low, student_high])

    Reference:
        Lee, Kim, Song, "Self-supervised Knowledge Distillation Using Singular Value Decomposition", 2018,
        as in RepDistiller. The value depends on the vectors' signs, which a decomposition leaves open. Here
        the sign is chosen so that the entries have a positive sum; for features after a ReLU all entries
        share a sign.
    """
    check_int("k", k)
    if not isinstance(teacher, list | tuple) or len(teacher) < 2 or len(teacher) != len(student):
        raise ValueError("`teacher` and `student` must be lists of maps of the same two or more layers.")
    layers = [_aligned_vectors(t, s, k) for t, s in zip(teacher, student, strict=True)]
    total = 0.0
    for (low_t, low_s), (high_t, high_s) in itertools.pairwise(layers):
        total += ops.sum((_kernel(high_t, low_t) - _kernel(high_s, low_s)) ** 2, axis=(1, 2, 3))
    return total


def _aligned_vectors(teacher, student, k):
    teacher, student = (flat_positions(maps) for maps in (teacher, student))
    teacher, student = as_float32(teacher, "teacher"), as_float32(student, "student")
    as_float32_pair(teacher[:, :1], student[:, :1], remedy=PROJECTOR_REMEDY)
    (values, of_teacher), (strengths, of_student) = _svd(teacher, k), _svd(student, k + _EXTRA)
    cosines = ops.einsum("bci,bcj->bij", of_student, of_teacher)
    # Vectors beyond the rank are arbitrary, for instance if positions are fewer than vectors.
    real = strengths > _NONE * strengths[:, :1]
    sizes = ops.where(real[:, :, None], ops.abs(cosines), -1.0)
    nearest = sizes == ops.max(sizes, axis=1, keepdims=True)
    chosen = ops.where(nearest & real[:, :, None], ops.sign(cosines), 0.0)
    scale = l2_normalized(values, axis=1)[:, None, :]
    return of_teacher * scale, ops.einsum("bci,bij->bcj", of_student, chosen) * scale


def _svd(features, n):
    """The largest `n` singular values `(batch, n)` and right singular vectors `(batch, channels, n)`."""
    # In float64, since the Gram matrix squares the condition number.
    features = ops.cast(features, "float64")
    squares, vectors = tf.linalg.eigh(ops.einsum("bpi,bpj->bij", features, features))
    values = ops.sqrt(ops.maximum(squares[:, ::-1][:, :n], 0.0))
    vectors = vectors[:, :, ::-1][:, :, :n]
    vectors = ops.where(ops.sum(vectors, axis=1, keepdims=True) < 0, -vectors, vectors)
    return ops.cast(ops.stop_gradient(values), "float32"), ops.cast(vectors, "float32")


def _kernel(high, low):
    return ops.exp(-((high[:, :, None, :] - low[:, None, :, :]) ** 2) / _KERNEL)


@keras.saving.register_keras_serializable(package="tfkd")
class SingularValues(FeatureLoss):
    """KD-SVD: `singular_values` as a distiller loss.

    Args:
        teacher_layer: taps of the teacher, at least two, from low to high.
        student_layer: the same number from the student.
        k: number of singular vectors, at least 1.
        **kwargs: `projector` (needed where the widths differ), `name`.

    Raises:
        ValueError: if there are fewer than two layers.

    Example:
        >>> stages = ["stage1", "stage2", "stage3"]
        >>> tfkd.Distiller(teacher, student, SingularValues(stages, stages, projector=True))

    Reference:
        Lee, Kim, Song, "Self-supervised Knowledge Distillation Using Singular Value Decomposition", 2018.
    """

    def __init__(self, teacher_layer: Taps, student_layer: Taps, k: int = 1, **kwargs) -> None:
        super().__init__(teacher_layer, student_layer, **kwargs)
        self.k = check_int("k", k)
        check_several(teacher_layer)

    def compare_pairs(self, pairs):
        teachers, students, _ = zip(*pairs, strict=True)
        return singular_values(teachers, students, self.k)

    def get_config(self) -> dict:
        return {**super().get_config(), "k": self.k}
