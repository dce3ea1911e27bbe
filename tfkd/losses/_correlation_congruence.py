"""CC, correlation congruence: how examples of a batch correlate."""

import math

import keras
from keras import ops

from tfkd._core.checks import check_choice, check_int, check_number
from tfkd.losses._base import Taps, as_float32_pair
from tfkd.losses._features import FeatureLoss
from tfkd.losses._maps import PROJECTOR_REMEDY, l2_normalized
from tfkd.losses._relations import example_weights, flat_pair, pair_mean


def correlation_congruence(
    teacher, student, kernel: str = "consecutive", order: int = 2, gamma: float = 0.4, sample_weight=None
):
    """CC: correlation of the embedding differences of neighbours in the batch, or of Taylor kernels.

    `"consecutive"`: the absolute differences of teacher and student, multiplied with those of the next
    example, summed over the embedding and averaged over the consecutive pairs. `"taylor"`: mean squared
    difference of the matrices of a Gaussian kernel's Taylor series between normalized embeddings. A scalar.
    No temperature; symmetric. For a batch of one, `"consecutive"` gives 0.

    Args:
        teacher: the teacher's embeddings `(batch, ...)`.
        student: the student's embeddings, for `"consecutive"` of the same width.
        kernel: "consecutive" or "taylor".
        order: terms of the Taylor series after the first, at least 1.
        gamma: parameter of the Gaussian kernel, above 0.
        sample_weight: `(batch,)`; a pair is weighted by the product of its weights.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: if the shapes cannot match or an option is out of its range.

    Example:
        >>> correlation_congruence(teacher_embeddings, student_embeddings)

    Reference:
        Peng et al., "Correlation Congruence for Knowledge Distillation", 2019. "consecutive" is
        RepDistiller's version (weight 0.02, after linear embeddings of both networks to 128; here
        `projector` embeds the student to the teacher's width), "taylor" is as in
        Knowledge-Distillation-Zoo.
    """
    _check(kernel, order, gamma)
    teacher, student = flat_pair(teacher, student)
    weights = example_weights(sample_weight, student)
    if kernel == "taylor":
        kernels = [_taylor(features, order, gamma) for features in (teacher, student)]
        return pair_mean((kernels[0] - kernels[1]) ** 2, weights)
    teacher, student = as_float32_pair(teacher, student, remedy=PROJECTOR_REMEDY)
    differences = ops.abs(teacher - student)
    neighbours = ops.sum(differences[:-1] * differences[1:], axis=1)
    pairs = weights[:-1] * weights[1:]
    return ops.divide_no_nan(ops.sum(neighbours * pairs), ops.sum(pairs))


def _taylor(features, order, gamma):
    directions = l2_normalized(features, axis=1)
    cosines = ops.matmul(directions, ops.transpose(directions))
    terms = ((2 * gamma) ** p / math.factorial(p) * cosines**p for p in range(1, order + 1))
    return math.exp(-2 * gamma) * (1 + sum(terms))


def _check(kernel, order, gamma):
    check_choice("kernel", kernel, ("consecutive", "taylor"))
    check_int("order", order)
    check_number("gamma", gamma, above=0)


@keras.saving.register_keras_serializable(package="tfkd")
class CorrelationCongruence(FeatureLoss):
    """CC: `correlation_congruence` as a distiller loss.

    Args:
        teacher_layer: tap of the teacher's embedding, or a list of taps, whose losses are added.
        student_layer: tap of the student's, or a list of the same length.
        kernel: "consecutive" or "taylor".
        order: terms of the Taylor series after the first, at least 1.
        gamma: parameter of the Gaussian kernel, above 0.
        **kwargs: `projector`, `across_replicas`, `name`.

    Raises:
        ValueError: if an option is out of its range.

    Example:
        >>> cc = CorrelationCongruence("logits:input", "logits:input", projector=True)
        >>> tfkd.Distiller(teacher, student, cc, [0.02])

    Reference:
        Peng et al., "Correlation Congruence for Knowledge Distillation", 2019. See
        `correlation_congruence`.
    """

    published_weight = 0.02
    over_batch = True

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        kernel: str = "consecutive",
        order: int = 2,
        gamma: float = 0.4,
        **kwargs,
    ) -> None:
        super().__init__(teacher_layer, student_layer, **kwargs)
        _check(kernel, order, gamma)
        self.kernel, self.order, self.gamma = kernel, order, gamma

    def compare(self, teacher, student, batch):
        options = self.kernel, self.order, self.gamma
        return correlation_congruence(teacher, student, *options, sample_weight=batch.sample_weight)

    def get_config(self) -> dict:
        own = {"kernel": self.kernel, "order": self.order, "gamma": self.gamma}
        return {**super().get_config(), **own}
