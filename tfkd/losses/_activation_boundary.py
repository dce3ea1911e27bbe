"""AB, activation boundaries: which neurons fire, regardless of how strongly."""

import keras
from keras import ops

from tfkd._core.checks import check_number
from tfkd.losses._base import Taps
from tfkd.losses._features import FeatureLoss, halving_sum, normalized_projector
from tfkd.losses._maps import matching_pair, without_padding

_FACTOR = 3 / 1000


def activation_boundary(teacher, student, margin: float = 1.0, mask=None):
    """AB: squared hinge loss that makes each neuron fire exactly where the teacher's does.

    Reduction: summed over neurons and multiplied by 3/1000, one value per example; the mean is the
    published value. No temperature. Direction: only the sign of the teacher's value counts. Where maps
    differ in size, the larger is average-pooled.

    Args:
        teacher: the teacher's values before the activation `(batch, ..., channels)`.
        student: the student's, with the same number of channels.
        margin: above 0.
        mask: bool `(batch, positions)`, true where a position of `(batch, positions, channels)` counts;
            None for all.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the shapes cannot match or the margin is not positive.

    Example:
        >>> activation_boundary([[2.0, -1.0]], [[0.0, 3.0]])  # [0.003 * (1 + 16)]

    Reference:
        Heo et al., "Knowledge Transfer via Distillation of Activation Boundaries", 2019; the factor comes
        from the authors' code.
    """
    check_number("margin", margin, above=0)
    teacher, student = matching_pair(teacher, student)
    quiet = ops.where((student > -margin) & (teacher <= 0), (student + margin) ** 2, 0.0)
    firing = ops.where((student <= margin) & (teacher > 0), (student - margin) ** 2, 0.0)
    values = without_padding(quiet + firing, mask)
    return _FACTOR * ops.sum(values, axis=tuple(range(1, len(student.shape))))


@keras.saving.register_keras_serializable(package="tfkd")
class ActivationBoundary(FeatureLoss):
    """AB: `activation_boundary` as a distiller loss; published as a first stage.

    With several layers the last has weight 1, the one before it a half, and so on.

    Args:
        teacher_layer: tap of values before an activation, such as `"relu1:input"`, or a list of taps.
        student_layer: the same for the student.
        margin: above 0.
        projector: see `FeatureLoss`; True for a 1x1 convolution with batch normalization.
        **kwargs: `name`.

    Raises:
        ValueError: if the margin is not positive.

    Example:
        >>> boundary = ActivationBoundary("relu1:input", "relu1:input", projector=True)
        >>> first = tfkd.schemes.Stage(boundary, epochs=5, student_loss_weight=0.0)
        >>> tfkd.schemes.Stages([first, tfkd.schemes.Stage(None, epochs=10)])

    Reference:
        Heo et al., "Knowledge Transfer via Distillation of Activation Boundaries", 2019.
    """

    def __init__(
        self, teacher_layer: Taps = None, student_layer: Taps = None, margin: float = 1.0, **kwargs
    ) -> None:
        super().__init__(teacher_layer, student_layer, **kwargs)
        self.margin = check_number("margin", margin, above=0)

    def make_projector(self, channels: int, rank: int) -> keras.Layer:
        return normalized_projector(channels, rank)

    def compare_pairs(self, pairs):
        return halving_sum(self.compare(*pair) for pair in pairs)

    def compare(self, teacher, student, batch):
        return activation_boundary(teacher, student, self.margin, batch.mask)

    def get_config(self) -> dict:
        return {**super().get_config(), "margin": self.margin}
