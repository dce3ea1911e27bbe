"""TinyBERT: the student's hidden states and embeddings match the teacher's."""

import keras
from keras import ops
from typing_extensions import Self

from tfkd.losses._base import Taps
from tfkd.losses._features import FeatureLoss, Projector, linear_projector, shape_list
from tfkd.losses._maps import matching_pair

_AUTO = "auto"


def hidden_states(teacher, student):
    """TinyBERT: mean squared difference of hidden states.

    Reduction: mean over the last axis, one value per position. A distiller takes the mean over all
    positions of the batch that count, whereas `hint` takes a mean per example. No temperature; symmetric.

    Args:
        teacher: the teacher's hidden states `(..., width)`.
        student: the student's, of the same width.

    Returns:
        A float32 tensor `(...)`, at least 0.

    Raises:
        ValueError: if the shapes cannot match.

    Example:
        >>> hidden_states([[1.0, 2.0]], [[0.0, 0.0]])  # [2.5]

    Reference:
        Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", 2020. The authors' code
        also averages over padding.
    """
    teacher, student = matching_pair(teacher, student)
    return ops.mean((teacher - student) ** 2, axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class HiddenStates(FeatureLoss):
    """TinyBERT: `hidden_states` as a distiller loss, summed over pairs of layers.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, such as the blocks or the embeddings of
            `tfkd.taps.transformer`.
        student_layer: tap of the student, or a list of the same length.
        projector: "auto" for one trained linear map to the teacher's width, shared by all pairs, if the
            widths differ, and none otherwise; or any value that `FeatureLoss` accepts.
        **kwargs: `name`.

    Raises:
        ValueError: if the numbers of student and teacher layers differ, or one map cannot fit all pairs.

    Example:
        >>> theirs, ours = (tfkd.taps.transformer(model) for model in (teacher, student))
        >>> hidden = HiddenStates(theirs.hidden[1::2], ours.hidden)
        >>> embeddings = HiddenStates(theirs.embeddings, ours.embeddings)
        >>> tfkd.Distiller(teacher, student, [hidden, embeddings])

    Reference:
        Jiao et al., "TinyBERT", 2020, which uses one map for hidden states and another for embeddings; the
        authors' code uses one for both. Both use a map even for equal widths. The map here has a bias, as
        in the code.
    """

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        projector: Projector | str = _AUTO,
        **kwargs,
    ) -> None:
        shared = isinstance(projector, str)
        if shared and projector != _AUTO:
            raise ValueError(
                f'`projector` must be "auto", True, None or layers. Received: projector={projector!r}.'
            )
        super().__init__(teacher_layer, student_layer, None if shared else projector, **kwargs)
        self.shared = shared

    def build(self, teacher_shape, student_shape) -> None:
        if not self.shared:
            super().build(teacher_shape, student_shape)
            return
        theirs, ours = shape_list(teacher_shape), shape_list(student_shape)
        widths = [(t[-1], s[-1]) for t, s in zip(theirs, ours, strict=True)]
        if all(t == s for t, s in widths):
            return
        if len(set(widths)) > 1:
            raise ValueError(
                '`projector="auto"` is one map for all pairs of layers, which must then have the same '
                f"widths. Received: widths {widths} of teacher and student. projector=True makes one map "
                "for each pair."
            )
        shared = linear_projector(widths[0][0], len(ours[0]))
        shared.build(ours[0])
        self.projectors = [shared] * len(widths)

    def compare(self, teacher, student, batch):
        return hidden_states(teacher, student)

    def get_config(self) -> dict:
        config = super().get_config()
        return {**config, "projector": _AUTO} if self.shared else config

    @classmethod
    def from_config(cls, config: dict) -> Self:
        return cls(**config) if config.get("projector") == _AUTO else super().from_config(config)
