"""SRD, simple recipe distillation: standardized embeddings, a linear projector and a soft maximum."""

import keras
from keras import ops

from tfkd._core.checks import check_number
from tfkd.losses._base import Taps, as_float32_pair
from tfkd.losses._features import FeatureLoss, Projector
from tfkd.losses._maps import PROJECTOR_REMEDY, pooled_positions
from tfkd.losses._relations import example_weights, standardized

_EPSILON = 1e-5


def simple_recipe(teacher, student, exponent: float = 4.0, sample_weight=None, mask=None):
    """SRD: logarithm of the sum of powers of differences of standardized embeddings.

    Each feature is standardized over the batch, like a batch normalization in training, without scale and
    offset. Features with positions are averaged over them first. Reduction: summed over examples and
    features inside the logarithm, a scalar, which can be negative. No temperature; symmetric.

    Args:
        teacher: the teacher's features `(batch, ..., channels)`.
        student: the student's, with the same number of channels.
        exponent: applied to the absolute differences, at least 1; higher values emphasize the largest
            differences.
        sample_weight: `(batch,)`; an example of weight w counts as w copies.
        mask: bool `(batch, positions)`, true where a position of `(batch, positions, channels)` counts;
            None for all.

    Returns:
        A float32 scalar, at least log(1e-5), its value for a batch of one.

    Raises:
        ValueError: if the shapes cannot match or the exponent is below 1.

    Example:
        >>> simple_recipe(teacher_embeddings, student_embeddings)

    Reference:
        Miles, Mikolajczyk, "Understanding the Role of the Projector in Knowledge Distillation", 2024. 1e-5
        is added inside the logarithm, as in the authors' code for transformers.
    """
    check_number("exponent", exponent, least=1)
    teacher, student = as_float32_pair(
        pooled_positions(teacher, mask), pooled_positions(student, mask), remedy=PROJECTOR_REMEDY
    )
    weights = example_weights(sample_weight, student)
    difference = ops.abs(standardized(teacher, weights) - standardized(student, weights))
    powers = ops.sum(difference**exponent, axis=-1)
    return ops.log(ops.sum(weights * powers) + _EPSILON)


@keras.saving.register_keras_serializable(package="tfkd")
class SimpleRecipe(FeatureLoss):
    """SRD: `simple_recipe` as a distiller loss, with a linear projector.

    Args:
        teacher_layer: tap of the teacher, usually the input of its last layer, or a list of taps, whose
            losses are added.
        student_layer: the same for the student.
        exponent: applied to the absolute differences, at least 1.
        projector: see `FeatureLoss`; None or True for a linear one to the teacher's width.
        **kwargs: `across_replicas`, `name`.

    Raises:
        ValueError: if the exponent is below 1.

    Example:
        >>> tfkd.Distiller(teacher, student, SimpleRecipe("logits:input", "logits:input"), "published")

    Reference:
        Miles, Mikolajczyk, "Understanding the Role of the Projector in Knowledge Distillation", 2024. See
        `simple_recipe`.
    """

    over_batch = True

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        exponent: float = 4.0,
        projector: Projector = None,
        **kwargs,
    ) -> None:
        super().__init__(teacher_layer, student_layer, projector or True, **kwargs)
        self.exponent = check_number("exponent", exponent, least=1)

    def compare(self, teacher, student, batch):
        return simple_recipe(teacher, student, self.exponent, batch.sample_weight, batch.mask)

    def get_config(self) -> dict:
        return {**super().get_config(), "exponent": self.exponent}
