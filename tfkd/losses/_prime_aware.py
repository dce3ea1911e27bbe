"""PAD, prime-aware distillation: features count less where the student predicts a mismatch."""

import keras
from keras import ops

from tfkd._core.keras_internals import with_mask
from tfkd.losses._base import Taps, as_float32
from tfkd.losses._features import FeatureLoss, Projector, normalized_projector, shape_list
from tfkd.losses._maps import matching_pair, per_example_mean

_EPSILON = 1e-6


def prime_aware(teacher, student, log_variance, mask=None):
    """PAD: squared difference of features divided by a variance, plus its logarithm.

    Reduction: mean over all axes but the first, one value per example. No temperature. Where maps differ
    in size, the larger is average-pooled. Can be negative.

    Args:
        teacher: the teacher's features `(batch, ..., channels)`.
        student: the student's, with the same number of channels.
        log_variance: logarithm of the variance, predicted from the student; of the student's shape, or
            broadcastable to it.
        mask: bool `(batch, positions)`, true where a position of `(batch, positions, channels)` counts;
            None for all.

    Returns:
        A float32 tensor `(batch,)`.

    Raises:
        ValueError: if the shapes cannot match.

    Example:
        >>> prime_aware([[1.0, 2.0]], [[0.0, 2.0]], [[0.0, 0.0]])  # [0.5]

    Reference:
        Zhang et al., "Prime-Aware Adaptive Distillation", 2020. Takes the mean over features and adds 1e-6
        to the variance, as the authors' code in torchdistill does.
    """
    teacher, student = matching_pair(teacher, student)
    log_variance = as_float32(log_variance, "log_variance")
    squares = (teacher - student) ** 2 / (ops.exp(log_variance) + _EPSILON)
    return per_example_mean(squares + log_variance, mask)


@keras.saving.register_keras_serializable(package="tfkd")
class PrimeAware(FeatureLoss):
    """PAD: `prime_aware` as a distiller loss, with a trained estimator of the variance.

    The estimator is a linear layer (a 1x1 convolution for maps) with batch normalization on the student's
    features, after the projector if there is one. Its gradient also reaches the student.

    Args:
        teacher_layer: tap of the teacher, usually the input of its last layer, or a list of taps, whose
            losses are added.
        student_layer: the same for the student.
        projector: see `FeatureLoss`.
        **kwargs: `name`.

    Example:
        >>> at = ("logits:input", "logits:input")
        >>> hints = tfkd.schemes.Stage(tfkd.losses.Hint(*at, projector=True), epochs=90)
        >>> tfkd.schemes.Stages([hints, tfkd.schemes.Stage(PrimeAware(*at, projector=True), epochs=30)])

    Reference:
        Zhang et al., "Prime-Aware Adaptive Distillation", 2020, which starts from a student trained without
        variances. See `prime_aware`.
    """

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        projector: Projector = None,
        **kwargs,
    ) -> None:
        super().__init__(teacher_layer, student_layer, projector, **kwargs)
        self.estimators: list[keras.Layer] = []

    def build(self, teacher_shape, student_shape) -> None:
        super().build(teacher_shape, student_shape)
        channels = [shape[-1] for shape in shape_list(teacher_shape)]
        for width, shape in zip(channels, shape_list(student_shape), strict=True):
            estimator = normalized_projector(width, len(shape))
            estimator.build((*shape[:-1], width) if self.projectors else shape)
            self.estimators.append(estimator)

    def compare_pairs(self, pairs):
        total = 0.0
        for (t, s, batch), estimator in zip(pairs, self.estimators, strict=True):
            t, s = matching_pair(t, s)
            log_variance = estimator(with_mask(s, batch.mask), training=batch.training)
            total += prime_aware(t, s, log_variance, batch.mask)
        return total
