"""RKD, relational knowledge distillation: distances of pairs and angles of triplets in a batch."""

import keras
from keras import ops

from tfkd._core.checks import check_number
from tfkd.losses._base import Taps
from tfkd.losses._features import FeatureLoss
from tfkd.losses._maps import safe_root
from tfkd.losses._relations import example_weights, flat_pair, pair_mean


def relational(
    teacher,
    student,
    distance_weight: float = 25.0,
    angle_weight: float = 50.0,
    sample_weight=None,
):
    """RKD: Huber distance of relative pairwise distances, plus the Huber distance of cosines in triplets.

    Distances are divided by their mean over pairs of different examples. Reduction: mean over all pairs,
    and over all triplets, equal indices included; a scalar. No temperature; symmetric; widths may differ. A
    batch of one has no relations: the value is 0. Memory grows with the cube of the batch.

    Args:
        teacher: the teacher's embeddings `(batch, ...)`.
        student: the student's embeddings `(batch, ...)`.
        distance_weight: weight of the pairs, at least 0.
        angle_weight: weight of the triplets, at least 0.
        sample_weight: `(batch,)`; an example of weight w counts as w copies.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: if the batches differ or a weight is negative.

    Example:
        >>> relational(teacher_embeddings, student_embeddings)

    Reference:
        Park et al., "Relational Knowledge Distillation", 2019. The weights 25 and 50 are RepDistiller's;
        the authors use 1 and 2.
    """
    check_number("distance_weight", distance_weight, least=0)
    check_number("angle_weight", angle_weight, least=0)
    teacher, student = flat_pair(teacher, student)
    weights = example_weights(sample_weight, student)
    (dots_t, d_t), (dots_s, d_s) = (geometry(features) for features in (teacher, student))
    distances = _huber(_relative(d_s, weights) - _relative(d_t, weights))
    angles = _huber(_cosines(dots_s, d_s) - _cosines(dots_t, d_t))
    angles = ops.einsum("ijk,k->ij", angles, weights)
    angles = ops.divide_no_nan(pair_mean(angles, weights), ops.sum(weights))
    return distance_weight * pair_mean(distances, weights) + angle_weight * angles


def geometry(features):
    """Dot products after centring, which keeps them small, and distances; both `(batch, batch)`."""
    features = features - ops.mean(features, axis=0)
    dots = ops.matmul(features, ops.transpose(features))
    squares = ops.diagonal(dots)
    squared = squares[:, None] + squares[None] - 2 * dots
    # Rounding leaves tiny numbers for equal examples.
    apart = squared > 1e-6 * ops.maximum(squares[:, None] + squares[None], 1e-6)
    return dots, safe_root(ops.where(apart, squared, 0.0))


def _relative(distances, weights):
    apart = ops.cast(distances > 0, "float32")
    mean = ops.divide_no_nan(pair_mean(distances, weights), pair_mean(apart, weights))
    return ops.divide_no_nan(distances, mean)


def _cosines(dots, distances):
    """Cosines at vertex i between the directions to j and to k, `(batch, batch, batch)`."""
    own = ops.diagonal(dots)[:, None, None]
    products = dots[None] - dots[:, :, None] - dots[:, None, :] + own
    return ops.divide_no_nan(products, distances[:, :, None] * distances[:, None, :])


def _huber(difference):
    size = ops.abs(difference)
    return ops.where(size < 1, 0.5 * difference**2, size - 0.5)


@keras.saving.register_keras_serializable(package="tfkd")
class Relational(FeatureLoss):
    """RKD: `relational` as a distiller loss.

    Args:
        teacher_layer: tap of the teacher's embedding, or a list of taps, whose losses are added.
        student_layer: tap of the student's, or a list of the same length.
        distance_weight: weight of the pairs, at least 0.
        angle_weight: weight of the triplets, at least 0.
        **kwargs: `projector`, `across_replicas`, `name`.

    Raises:
        ValueError: if a weight is negative.

    Example:
        >>> tfkd.Distiller(teacher, student, Relational("logits:input", "logits:input"))

    Reference:
        Park et al., "Relational Knowledge Distillation", 2019. See `relational`.
    """

    over_batch = True

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        distance_weight: float = 25.0,
        angle_weight: float = 50.0,
        **kwargs,
    ) -> None:
        super().__init__(teacher_layer, student_layer, **kwargs)
        self.distance_weight = check_number("distance_weight", distance_weight, least=0)
        self.angle_weight = check_number("angle_weight", angle_weight, least=0)

    def compare(self, teacher, student, batch):
        weights = self.distance_weight, self.angle_weight
        return relational(teacher, student, *weights, sample_weight=batch.sample_weight)

    def get_config(self) -> dict:
        own = {"distance_weight": self.distance_weight, "angle_weight": self.angle_weight}
        return {**super().get_config(), **own}
