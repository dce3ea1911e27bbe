"""CWD, channel-wise distillation: where each channel is active, as a distribution over positions."""

import keras
from keras import ops

from tfkd.losses._base import Taps, check_temperature
from tfkd.losses._features import FeatureLoss, Projector
from tfkd.losses._maps import LEFT_OUT, flat_positions, matching_pair
from tfkd.losses._softened import SoftenedLoss


def channel_wise(teacher, student, temperature: float = 4.0, mask=None):
    """CWD: Kullback-Leibler divergence of each channel's softmax over positions.

    Direction: KL(teacher || student). Reduction: summed over positions, mean over channels, one value per
    example. Factor: `temperature` squared. Computed from log-softmax. Where maps differ in size, the larger
    is average-pooled.

    Args:
        teacher: the teacher's maps `(batch, height, width, channels)` or `(batch, steps, channels)`:
            features, or logits of dense predictions.
        student: the student's, with the same number of channels.
        temperature: divides both; above 0.
        mask: bool `(batch, positions)`, true where a position of `(batch, positions, channels)` counts;
            None for all.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the shapes cannot match, or the temperature is not positive.

    Example:
        >>> channel_wise([[[1.0], [0.0]]], [[[0.0], [0.0]]], temperature=1.0)  # [0.1109...]

    Reference:
        Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", 2021.
    """
    check_temperature(temperature)
    teacher, student = (flat_positions(maps) for maps in matching_pair(teacher, student))
    log_t, log_s = (_log_shares(maps / temperature, mask) for maps in (teacher, student))
    divergence = ops.sum(ops.exp(log_t) * (log_t - log_s), axis=1)
    return temperature**2 * ops.mean(divergence, axis=-1)


def _log_shares(scaled, mask):
    """Log-softmax over positions; masked positions are equal in all maps and have probability 0."""
    if mask is None:
        return ops.log_softmax(scaled, axis=1)
    counts = ops.cast(mask, "bool")[..., None]
    shares = ops.log_softmax(ops.where(counts, scaled, LEFT_OUT), axis=1)
    return ops.where(counts, shares, LEFT_OUT)


@keras.saving.register_keras_serializable(package="tfkd")
class ChannelWise(SoftenedLoss, FeatureLoss):
    """CWD: `channel_wise` as a distiller loss.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, whose losses are added; None for the output,
            the logits of dense predictions.
        student_layer: tap of the student, or a list of the same length.
        temperature: divides both; above 0.
        projector: see `FeatureLoss`.
        **kwargs: `name`.

    Raises:
        ValueError: if the temperature is not positive.

    Example:
        >>> tfkd.Distiller(teacher, student, ChannelWise(), [3.0])
        >>> tfkd.Distiller(teacher, student, ChannelWise("block3", "block3", projector=True), [50.0])

    Reference:
        Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", 2021. The published weight
        is the one for logits; for features it is 50.
    """

    published_weight = 3.0

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        temperature: float = 4.0,
        projector: Projector = None,
        **kwargs,
    ) -> None:
        super().__init__(
            temperature,
            teacher_layer=teacher_layer,
            student_layer=student_layer,
            projector=projector,
            **kwargs,
        )

    def compare(self, teacher, student, batch):
        return channel_wise(teacher, student, self.divisor, batch.mask)
