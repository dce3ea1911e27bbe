"""PKD, Pearson features: each channel correlates with the teacher's, regardless of its scale."""

import keras
from keras import ops

from tfkd.losses._features import FeatureLoss
from tfkd.losses._maps import matching_pair
from tfkd.losses._relations import example_mean, standardized
from tfkd.losses._rows import as_rows, row_weights


def pearson_features(teacher, student, sample_weight=None):
    """PKD: half the mean squared difference of features standardized per channel.

    Mean and variance are taken over all examples and positions of the batch, so the value is one minus
    Pearson's correlation, averaged over channels. Reduction: a scalar. No temperature; symmetric. Where
    maps differ in size, the larger is average-pooled. A constant channel is 0 when standardized.

    Args:
        teacher: the teacher's features `(batch, ..., channels)`.
        student: the student's, with the same number of channels.
        sample_weight: weights `(batch, ...)` of the examples and positions; a position of weight w counts
            as w copies.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: if the shapes cannot match.

    Example:
        >>> pearson_features(teacher_maps, student_maps)

    Reference:
        Cao et al., "PKD: General Distillation Framework for Object Detectors via Pearson Correlation
        Coefficient", 2022. mmrazor interpolates student maps to the teacher's size; here the larger maps
        are pooled. 1e-6 is added to the variance, not to the standard deviation.
    """
    teacher, student, weights = as_rows(*matching_pair(teacher, student), sample_weight)
    difference = standardized(teacher, weights) - standardized(student, weights)
    return 0.5 * example_mean(ops.mean(difference**2, axis=-1), weights)


@keras.saving.register_keras_serializable(package="tfkd")
class PearsonFeatures(FeatureLoss):
    """PKD: `pearson_features` as a distiller loss.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, whose losses are added.
        student_layer: tap of the student, or a list of the same length.
        **kwargs: `projector`, `across_replicas`, `name`.

    Example:
        >>> tfkd.Distiller(teacher, student, PearsonFeatures("block3", "block3"), "published")

    Reference:
        Cao et al., "PKD: General Distillation Framework for Object Detectors via Pearson Correlation
        Coefficient", 2022. The published weight is the one for each level of a two-stage detector. See
        `pearson_features`.
    """

    published_weight = 6.0
    over_batch = True

    def compare(self, teacher, student, batch):
        teacher, student = matching_pair(teacher, student)
        return pearson_features(teacher, student, row_weights(student, batch.mask, batch.sample_weight))
