"""Patient KD: directions of the [CLS] token, layer by layer."""

import keras
from keras import ops

from tfkd.losses._class_token import ClassTokenLoss
from tfkd.losses._maps import l2_normalized, matching_pair


def patient_cls(teacher, student):
    """Patient KD: mean squared difference of normalized [CLS] vectors.

    Both are divided by their Euclidean norm. Reduction: mean over the width, one value per example, equal
    to 2 (1 - cosine) / width. No temperature; symmetric.

    Args:
        teacher: the teacher's [CLS] vectors `(batch, width)`.
        student: the student's, of the same width.

    Returns:
        A float32 tensor `(batch,)`, from 0 to 4 / width.

    Raises:
        ValueError: if the shapes cannot match.

    Example:
        >>> patient_cls([[3.0, 4.0]], [[-4.0, 3.0]])  # [1.0]

    Reference:
        Sun et al., "Patient Knowledge Distillation for BERT Model Compression", 2019. The paper sums over
        width and layers; the mean is from the authors' code, to which their weights of 10 to 1,000 apply.
    """
    teacher, student = matching_pair(teacher, student)
    return ops.mean((l2_normalized(teacher, -1) - l2_normalized(student, -1)) ** 2, axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class PatientCLS(ClassTokenLoss):
    """Patient KD: `patient_cls` as a distiller loss, the mean over pairs of layers.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, such as blocks of `tfkd.taps.transformer`:
            every second block is PKD-Skip, the last ones are PKD-Last. For tokens `(batch, tokens, width)`
            the first one is compared.
        student_layer: tap of the student, or a list of the same length; all but its last block in the
            paper.
        **kwargs: `projector`, for different widths, which the paper does not have; `name`.

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
