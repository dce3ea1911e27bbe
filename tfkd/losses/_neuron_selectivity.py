"""NST, neuron selectivity transfer: where each neuron of a layer is active."""

import keras
from keras import ops

from tfkd.losses._features import FeatureLoss
from tfkd.losses._maps import flat_positions, l2_normalized, per_example_mean, pooled_pair


def neuron_selectivity(teacher, student):
    """NST: squared maximum mean discrepancy of the two layers' activation patterns.

    Each channel's activations, normalized over positions, are one sample; the kernel is the squared dot
    product. Reduction: mean over pairs of channels, one value per example. No temperature; symmetric.
    Where maps differ in size, the larger is average-pooled; channels may differ.

    Args:
        teacher: the teacher's maps `(batch, height, width, channels)` or `(batch, steps, channels)`.
        student: the student's.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the features have no positions.

    Example:
        >>> neuron_selectivity(teacher_maps, student_maps)

    Reference:
        Huang, Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer", 2017. The full
        form, including the teacher-teacher term, which has no gradient.
    """
    teacher, student = (flat_positions(maps) for maps in pooled_pair(teacher, student))
    teacher, student = l2_normalized(teacher, axis=1), l2_normalized(student, axis=1)
    return _kernel(teacher, teacher) + _kernel(student, student) - 2 * _kernel(student, teacher)


def _kernel(a, b):
    return per_example_mean(ops.einsum("bpi,bpj->bij", a, b) ** 2)


@keras.saving.register_keras_serializable(package="tfkd")
class NeuronSelectivity(FeatureLoss):
    """NST: `neuron_selectivity` as a distiller loss.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, whose losses are added.
        student_layer: tap of the student, or a list of the same length.
        **kwargs: `projector`, `name`.

    Example:
        >>> tfkd.Distiller(teacher, student, NeuronSelectivity("block3", "block3"), [50.0])

    Reference:
        Huang, Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer", 2017.
    """

    published_weight = 50.0

    def compare(self, teacher, student, batch):
        return neuron_selectivity(teacher, student)
