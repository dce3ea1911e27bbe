"""AT, attention transfer: where the activations are large."""

import keras
from keras import ops

from tfkd._core.checks import check_number
from tfkd.losses._base import Taps
from tfkd.losses._features import FeatureLoss
from tfkd.losses._maps import flat_positions, l2_normalized, per_example_mean, pooled_pair, without_padding


def attention_transfer(teacher, student, power: float = 2.0, mask=None):
    """AT: mean squared difference of normalized attention maps.

    The attention map is the mean over channels of the absolute activation to `power`, divided by its
    Euclidean norm over positions. Reduction: mean over positions, one value per example. No
    temperature; symmetric. Where maps differ in size, the larger is average-pooled; channels may differ.

    Args:
        teacher: the teacher's maps `(batch, height, width, channels)` or `(batch, steps, channels)`.
        student: the student's.
        power: at least 1.
        mask: bool `(batch, positions)`, true where a position of `(batch, positions, channels)` counts;
            None for all.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the features have no positions or the power is below 1.

    Example:
        >>> attention_transfer(teacher_maps, student_maps)

    Reference:
        Zagoruyko, Komodakis, "Paying More Attention to Attention", 2017. As in the authors' code. The paper
        uses the norm of the difference, and sums where the code averages.
    """
    check_number("power", power, least=1)
    teacher, student = (without_padding(flat_positions(x), mask) for x in pooled_pair(teacher, student))
    difference = attention_map(teacher, power) - attention_map(student, power)
    return per_example_mean(difference**2, mask)


def attention_map(features, power: float = 2.0):
    """`(batch, positions)`: the normalized strength of `(batch, positions, channels)`."""
    strength = ops.abs(features) if power != 2 else features
    return l2_normalized(ops.mean(strength**power, axis=-1), axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class AttentionTransfer(FeatureLoss):
    """AT: `attention_transfer` as a distiller loss, summed over pairs of layers.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, one per stage.
        student_layer: tap of the student, or a list of the same length.
        power: at least 1.
        **kwargs: `projector`, `name`.

    Raises:
        ValueError: if the power is below 1.

    Example:
        >>> stages = ["stage1", "stage2", "stage3"]
        >>> tfkd.Distiller(teacher, student, AttentionTransfer(stages, stages), [1000.0])

    Reference:
        Zagoruyko, Komodakis, "Paying More Attention to Attention", 2017. See `attention_transfer`.
    """

    published_weight = 1000.0

    def __init__(
        self, teacher_layer: Taps = None, student_layer: Taps = None, power: float = 2.0, **kwargs
    ) -> None:
        super().__init__(teacher_layer, student_layer, **kwargs)
        self.power = check_number("power", power, least=1)

    def compare(self, teacher, student, batch):
        return attention_transfer(teacher, student, self.power, batch.mask)

    def get_config(self) -> dict:
        return {**super().get_config(), "power": self.power}
