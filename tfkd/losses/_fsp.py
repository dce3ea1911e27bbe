"""FSP, flow of solution procedure: how features flow from one layer to the next."""

import itertools

import keras
from keras import ops

from tfkd.losses._base import Taps, as_float32_pair
from tfkd.losses._features import FeatureLoss, Projector, check_several
from tfkd.losses._maps import (
    PROJECTOR_REMEDY,
    flat_positions,
    per_example_mean,
    pooled_pair,
    without_padding,
)


def fsp(teacher, student, mask=None):
    """FSP: mean squared difference of the two networks' flow matrices between two layers.

    The flow matrix `(low channels, high channels)` is the product of the lower and the higher layer's
    activations, averaged over positions; the larger of the two layers is average-pooled to the smaller.
    Reduction: mean over the matrix, one value per example. No temperature; symmetric.

    Args:
        teacher: a pair of the teacher's maps, lower and higher layer,
            each `(batch, height, width, channels)`.
        student: the student's pair, with the same number of channels each.
        mask: bool `(batch, positions)`, true where a position of `(batch, positions, channels)` counts;
            None for all.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the channels differ or the features have no positions.

    Example:
        >>> fsp((teacher_low, teacher_high), (student_low, student_high))

    Reference:
        Yim et al., "A Gift from Knowledge Distillation", 2017, as in RepDistiller.
    """
    flows = as_float32_pair(_flow(teacher, mask), _flow(student, mask), remedy=PROJECTOR_REMEDY)
    return per_example_mean((flows[0] - flows[1]) ** 2)


def _flow(layers, mask):
    low, high = (flat_positions(maps) for maps in pooled_pair(*layers))
    flow = ops.einsum("bpi,bpj->bij", without_padding(low, mask), high)
    if mask is None:
        return flow / ops.cast(ops.shape(low)[1], "float32")
    return ops.divide_no_nan(flow, ops.sum(ops.cast(mask, "float32"), axis=1)[:, None, None])


@keras.saving.register_keras_serializable(package="tfkd")
class FSP(FeatureLoss):
    """FSP: `fsp` as a distiller loss, summed over successive layers; published as a first stage.

    Args:
        teacher_layer: taps of the teacher, at least two, from low to high.
        student_layer: the same number from the student.
        projector: see `FeatureLoss`; needed where the widths differ.
        **kwargs: `name`.

    Raises:
        ValueError: if there are fewer than two layers.

    Example:
        >>> flow = FSP(["stem", "stage1", "stage2"], ["stem", "stage1", "stage2"], projector=True)
        >>> first = tfkd.schemes.Stage(flow, epochs=5, student_loss_weight=0.0)
        >>> tfkd.schemes.Stages([first, tfkd.schemes.Stage(None, epochs=10)])

    Reference:
        Yim et al., "A Gift from Knowledge Distillation", 2017.
    """

    def __init__(
        self, teacher_layer: Taps, student_layer: Taps, projector: Projector = None, **kwargs
    ) -> None:
        super().__init__(teacher_layer, student_layer, projector, **kwargs)
        check_several(teacher_layer)

    def compare_pairs(self, pairs):
        return sum(
            fsp((low.teacher, high.teacher), (low.student, high.student), low.batch.mask)
            for low, high in itertools.pairwise(pairs)
        )
