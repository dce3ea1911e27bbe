"""[CLS] hint: a transformer's vector for the whole input, through a projector."""

import keras
from keras import ops

from tfkd.losses._base import Taps
from tfkd.losses._class_token import ClassTokenLoss
from tfkd.losses._features import Projector
from tfkd.losses._maps import matching_pair


def cls_hint(teacher, student):
    """[CLS] hint: mean squared difference of [CLS] vectors.

    Reduction: mean over the width, one value per example. No temperature; symmetric.

    Args:
        teacher: the teacher's [CLS] vectors `(batch, width)`.
        student: the student's, of the same width.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the shapes cannot match.

    Example:
        >>> cls_hint([[1.0, 2.0]], [[0.0, 0.0]])  # [2.5]

    Reference:
        Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, applied to the first token alone, as
        surveys of distilled transformers describe it. Aguilar et al., "Knowledge Distillation from Internal
        Representations", 2020, use one minus the cosine of the same vectors instead.
    """
    teacher, student = matching_pair(teacher, student)
    return ops.mean((teacher - student) ** 2, axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class CLSHint(ClassTokenLoss):
    """[CLS] hint: `cls_hint` as a distiller loss, summed over pairs of layers.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, such as blocks of `tfkd.taps.transformer`. For
            tokens `(batch, tokens, width)` the first one is compared.
        student_layer: tap of the student, or a list of the same length.
        projector: see `FeatureLoss`; True trains a linear map to the teacher's width, None compares the
            vectors unchanged.
        **kwargs: `name`.

    Example:
        >>> theirs, ours = (tfkd.taps.transformer(model).hidden[-1] for model in (teacher, student))
        >>> tfkd.Distiller(teacher, student, CLSHint(theirs, ours))

    Reference:
        See `cls_hint`.
    """

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        projector: Projector = True,
        **kwargs,
    ) -> None:
        super().__init__(teacher_layer, student_layer, projector, **kwargs)

    def compare(self, teacher, student, batch):
        return cls_hint(teacher, student)
