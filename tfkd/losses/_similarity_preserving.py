"""SP, similarity preserving: which examples of a batch look alike."""

import keras
from keras import ops

from tfkd.losses._features import FeatureLoss
from tfkd.losses._maps import safe_root
from tfkd.losses._relations import example_weights, flat_pair, pair_mean


def similarity_preserving(teacher, student, sample_weight=None):
    """SP: mean squared difference of the batch's similarity matrices with normalized rows.

    Reduction: over all pairs of examples, a scalar. No temperature; symmetric; widths may differ. For a
    batch of one both matrices are 1 and the value is 0.

    Args:
        teacher: the teacher's features `(batch, ...)`.
        student: the student's features `(batch, ...)`.
        sample_weight: `(batch,)`; an example of weight w counts as w copies.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: if the batches differ.

    Example:
        >>> similarity_preserving(teacher_maps, student_maps)

    Reference:
        Tung, Mori, "Similarity-Preserving Knowledge Distillation", 2019.
    """
    teacher, student = flat_pair(teacher, student)
    weights = example_weights(sample_weight, student)
    # With the square roots of the weights, the norm equals the norm of a batch with copies.
    columns = ops.sqrt(ops.maximum(weights, 0.0))
    difference = _similarities(teacher, columns) - _similarities(student, columns)
    return pair_mean(difference**2, weights)


def _similarities(features, columns):
    gram = ops.matmul(features, ops.transpose(features))
    norms = safe_root(ops.sum((gram * columns) ** 2, axis=1, keepdims=True))
    return ops.divide_no_nan(gram, norms)


@keras.saving.register_keras_serializable(package="tfkd")
class SimilarityPreserving(FeatureLoss):
    """SP: `similarity_preserving` as a distiller loss.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, whose losses are added.
        student_layer: tap of the student, or a list of the same length.
        **kwargs: `projector`, `across_replicas`, `name`.

    Example:
        >>> tfkd.Distiller(teacher, student, SimilarityPreserving("block3", "block3"), [3000.0])

    Reference:
        Tung, Mori, "Similarity-Preserving Knowledge Distillation", 2019.
    """

    published_weight = 3000.0
    over_batch = True

    def compare(self, teacher, student, batch):
        return similarity_preserving(teacher, student, batch.sample_weight)
