"""Score difference: keeps a tolerant teacher from being certain of a single class."""

import keras
from keras import ops

from tfkd._core.checks import check_int
from tfkd.losses._base import KnowledgeLoss, as_float32


def score_difference(logits, k: int = 3):
    """By how much the highest class probability exceeds the mean of the next `k - 1`.

    A network that minimizes it together with the labels' cross-entropy leaves some probability to classes
    that resemble the right one, which is what its students learn from. There is no target and so no
    direction. Reduction: one value per example. No temperature.

    Args:
        logits: logits `(..., classes)` of the network in training, any float dtype.
        k: how many of the highest probabilities are compared, from 2 to the number of classes.

    Returns:
        A float32 tensor `(...)`, from 0 to 1.

    Raises:
        ValueError: if `k` is out of its range.

    Example:
        >>> score_difference([[2.0, 1.0, 0.0, -1.0]], k=3)

    Reference:
        Yang et al., "Training Deep Neural Networks in Generations: A More Tolerant Teacher Educates Better
        Students", 2018.
    """
    logits = as_float32(logits, "logits")
    remedy = "`k` is how many of the highest class probabilities are compared."
    check_int("k", k, least=2, most=logits.shape[-1], remedy=remedy)
    scores = ops.top_k(ops.softmax(logits, axis=-1), k)[0]
    return scores[..., 0] - ops.mean(scores[..., 1:], axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class ScoreDifference(KnowledgeLoss):
    """`score_difference` as a loss for training a teacher, which itself has no teacher.

    Args:
        k: how many of the highest class probabilities are compared, from 2 to the number of classes.
        **kwargs: `student_layer`, `name`.

    Raises:
        ValueError: if `k` is below 2; during a step, if it is above the number of classes.

    Example:
        >>> tolerant = tfkd.Distiller(None, teacher, [ScoreDifference()], student_loss_weight=0.5)
        >>> tolerant.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> tolerant.fit(x, y, epochs=10)

    Reference:
        Yang et al., "Training Deep Neural Networks in Generations: A More Tolerant Teacher Educates Better
        Students", 2018. There the labels' loss has weight 1 and this loss has weight η. Here
        `student_loss_weight` is a share of 1, so 0.5 for the labels and weight η for this loss make half of
        the published loss.
    """

    over_classes = True
    uses_teacher = False

    def __init__(self, k: int = 3, **kwargs) -> None:
        super().__init__(**kwargs)
        self.k = check_int("k", k, least=2)

    def call(self, teacher, student):
        return score_difference(student, self.k)

    def get_config(self) -> dict:
        return {**super().get_config(), "k": self.k}
