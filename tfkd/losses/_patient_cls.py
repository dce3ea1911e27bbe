"""Patient KD: directions of the [CLS] token, layer by layer."""

import keras
from keras import ops

from tfkd.losses._class_token import ClassTokenLoss
from tfkd.losses._maps import l2_normalized, matching_pair


def patient_cls(teacher, student):
    """Patient KD: mean squared difference of normalized [CLS] vectors.

    Both are divided by their Euclidean norm. Reduction: mean over the width, one value per example, which
    is twice one minus the cosine, over the width. No temperature; symmetric.

    Args:
        teacher: the teacher's [CLS] vectors `(batch, width)`.
        student: the student's, of the same width.

    Returns:
        A float32 tensor `(batch,)`, from 0 to 4 over the width.

    Raises:
        ValueError: if the shapes cannot match.

    Example:
        >>> patient_cls([[3.0, 4.0]], [[-4.0, 3.0]])  # [1.0]

    Reference:
        Sun et al., "Patient Knowledge Distillation for BERT Model Compression", 2019. The paper sums over
        width and layers; the mean is that of the authors' code, which their weights of 10 to 1,000 are for.
    """
    teacher, student = matching_pair(teacher, student)
    return ops.mean((l2_normalized(teacher, -1) - l2_normalized(student, -1)) ** 2, axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class PatientCLS(ClassTokenLoss):
    """Patient KD: `patient_cls` as a loss of a distiller, the mean over pairs of layers.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, such as blocks of `tfkd.taps.transformer`:
            every second one is PKD-Skip, those below the last are PKD-Last. Of tokens
            `(batch, tokens, width)` the first is compared.
        student_layer: tap of the student, or as many; all but its last block in the paper.
        **kwargs: `projector`, where the widths differ, which the paper does not have; `name`.

    Example:
        >>> theirs, ours = (tfkd.taps.transformer(model).hidden for model in (teacher, student))
        >>> tfkd.Distiller(teacher, student, PatientCLS(theirs[1:-1:2], ours[:-1]), [100.0])

    Reference:
        Sun et al., "Patient Knowledge Distillation for BERT Model Compression", 2019. See `patient_cls`.
    """

    published_weight = 100.0

    def compare_pairs(self, pairs):
        return super().compare_pairs(pairs) / len(pairs)

    def compare(self, teacher, student, batch):
        return patient_cls(teacher, student)
