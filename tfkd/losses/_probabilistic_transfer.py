"""PKT, probabilistic knowledge transfer: probabilities that examples are neighbours."""

import keras
from keras import ops

from tfkd.losses._features import FeatureLoss
from tfkd.losses._maps import safe_root
from tfkd.losses._relations import example_weights, flat_pair, pair_mean

_EPSILON = 1e-7


def probabilistic_transfer(teacher, student, sample_weight=None):
    """PKT: divergence of neighbourhood probabilities by cosine similarity.

    Cosines are mapped to [0, 1] and each row is divided by its sum. Direction: KL(teacher || student).
    Reduction: mean over all pairs, a scalar. No temperature; widths may differ. The value is 0 for a batch
    of one.

    Args:
        teacher: the teacher's features `(batch, ...)`.
        student: the student's features `(batch, ...)`.
        sample_weight: `(batch,)`; an example of weight w counts as w copies.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: if the batches differ.

    Example:
        >>> probabilistic_transfer(teacher_features, student_features)

    Reference:
        Passalis, Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", 2018.
    """
    teacher, student = flat_pair(teacher, student)
    weights = example_weights(sample_weight, student)
    p_t, p_s = (_neighbourhood(features, weights) for features in (teacher, student))
    return pair_mean(p_t * ops.log((p_t + _EPSILON) / (p_s + _EPSILON)), weights)


def _neighbourhood(features, weights):
    norms = safe_root(ops.sum(features**2, axis=1, keepdims=True))
    directions = features / (norms + _EPSILON)
    similarities = (ops.matmul(directions, ops.transpose(directions)) + 1) / 2
    return ops.divide_no_nan(similarities, ops.sum(similarities * weights, axis=1, keepdims=True))


@keras.saving.register_keras_serializable(package="tfkd")
class ProbabilisticTransfer(FeatureLoss):
    """PKT: `probabilistic_transfer` as a distiller loss.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, whose losses are added.
        student_layer: tap of the student, or a list of the same length.
        **kwargs: `projector`, `across_replicas`, `name`.

    Example:
        >>> pkt = ProbabilisticTransfer("logits:input", "logits:input")
        >>> tfkd.Distiller(teacher, student, pkt, [30000.0])

    Reference:
        Passalis, Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", 2018.
    """

    published_weight = 30000.0
    over_batch = True

    def compare(self, teacher, student, batch):
        return probabilistic_transfer(teacher, student, batch.sample_weight)
