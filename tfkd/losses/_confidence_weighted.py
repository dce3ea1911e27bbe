"""Examples weighted by the teacher's confidence."""

from typing import Any

import keras
from keras import ops

from tfkd._core import keras_distillation as distillation
from tfkd._core.checks import check_choice, check_number
from tfkd.losses._around import LossAround
from tfkd.losses._base import Batch, KnowledgeLoss, as_float32
from tfkd.losses._keras_losses import as_knowledge_loss
from tfkd.losses._labels import one_hot_labels


def confidence_of_teacher(teacher, labels=None, power: float = 1.0, mask=None):
    """Weights of examples: the teacher's confidence to a power, with a mean of 1.

    Args:
        teacher: logits `(..., classes)`.
        labels: true classes, as ints `(...)` or one-hot rows; confidence is then the probability of the
            true class. None for the largest probability.
        power: at least 0; 0 makes all weights 1.
        mask: `(...)`, true where a position counts; None for all.

    Returns:
        float32 `(...)`, without a gradient.

    Raises:
        ValueError: if logits are not finite, or labels do not fit them.

    Example:
        >>> confidence_of_teacher([[9.0, 0.0], [0.0, 0.0]])  # about 1.33 and 0.67
    """
    logarithms = ops.log_softmax(as_float32(teacher, "teacher"), axis=-1)
    if labels is None:
        sure = ops.max(logarithms, axis=-1)
    else:
        sure = ops.sum(one_hot_labels(labels, logarithms) * logarithms, axis=-1)
    # Divided by the mean in log space, so that tiny probabilities keep their proportions.
    weights = power * sure
    counted = weights if mask is None else ops.where(mask, weights, -1e30)
    count = ops.cast(ops.size(weights), "float32") if mask is None else ops.sum(ops.cast(mask, "float32"))
    mean = ops.logsumexp(counted) - ops.log(ops.maximum(count, 1.0))
    # Not for masked positions, whose weights could overflow.
    return ops.stop_gradient(ops.exp(counted - mean))


@keras.saving.register_keras_serializable(package="tfkd")
class ConfidenceWeighted(LossAround):
    """A loss on logits whose examples are weighted by the teacher's confidence.

    Each example's value is multiplied by `confidence ** power`, divided by its mean over the batch, so that
    the scale of the loss does not change. Reduction, temperature factor and direction are those of the
    wrapped loss.

    Args:
        loss: a loss of `tfkd.losses` or `keras.distillation` over logits, with one value per example.
        power: exponent of the confidence, at least 0; 0 disables the weighting. It may be changed between
            epochs.
        of: "likeliest" for the teacher's largest probability; "label" for the probability of the true
            class, so that examples the teacher gets wrong count little.
        name: names the loss in `History`.

    Raises:
        TypeError: if `loss` is not a knowledge loss.
        ValueError: if the loss does not compare logits or an option is out of range; during a step, if the
            loss is defined on the batch as a whole.

    Example:
        >>> loss = tfkd.losses.ConfidenceWeighted(tfkd.losses.SoftTargets(4.0), power=2.0)
        >>> distiller = tfkd.Distiller(teacher, student, loss)

    Reference:
        Zhang, Chen, Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation", 2022, weight teachers in
        this way, by labels. Deviation: here there is one teacher, and examples are weighted relative to
        each other.
    """

    over_classes = True
    over_batch = True

    def __init__(
        self,
        loss: KnowledgeLoss | distillation.DistillationLoss,
        power: float = 1.0,
        of: str = "likeliest",
        name: str | None = None,
    ) -> None:
        loss = as_knowledge_loss(loss)
        if not (loss.over_classes and loss.uses_teacher):
            raise ValueError(
                "`loss` must compare logits with the teacher's, such as tfkd.losses.SoftTargets. Received: "
                f"{loss.title}."
            )
        super().__init__(loss, name)
        self.power = check_number("power", power, least=0)
        self.of = check_choice("of", of, ("likeliest", "label"))

    @property
    def title(self) -> str:
        return f"{type(self).__name__}({self.loss.title})"

    def missing(self, batch: Batch) -> list[str]:
        labels = ["labels"] if self.of == "label" and batch.labels is None else []
        return [*labels, *(name for name in super().missing(batch) if name not in labels)]

    def constants(self) -> dict[str, Any]:
        return {"loss": super().constants(), "power": self.power, "of": self.of}

    def on_batch(self, teacher, student, batch: Batch):
        values = self.inside(teacher, student, batch)
        if not len(values.shape):
            raise ValueError(
                f"`loss` {self.loss.title} has one value for the whole batch, so examples cannot be "
                "weighted. Use a loss with one value per example, such as tfkd.losses.SoftTargets."
            )
        labels = batch.labels if self.of == "label" else None
        mask = self.counted(student, batch)
        return values * confidence_of_teacher(teacher, labels, self.power, mask)

    def get_config(self) -> dict:
        return {**super().get_config(), "power": self.power, "of": self.of}
