"""Adversarial objective: images on which student and teacher disagree."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from keras import ops

from tfkd._core.checks import check_number
from tfkd.datafree.objectives._base import Objective, Synthesized
from tfkd.losses import as_float32_pair, l1_logits
from tfkd.tasks import Classification, ClassTask, Task
from tfkd.tasks._task import as_class_task


def jensen_shannon(teacher, student, temperature: float = 1.0, task: ClassTask | None = None):
    """Jensen-Shannon divergence of softened probabilities.

    (KL(teacher || M) + KL(student || M)) / 2, where M is the mean of both. It is symmetric, has no factor
    for the temperature, and is computed from the log-softmax without clipping. Reduction: one value per
    example; values of independent labels are summed.

    Args:
        teacher: the teacher's logits `(batch, classes)`.
        student: the student's logits.
        temperature: the temperature by which both logits are divided, above 0.
        task: the task; None for classification.

    Returns:
        A float32 tensor `(batch,)` between 0 and log 2.

    Reference:
        Yin et al., "Dreaming to Distill" (DeepInversion), 2020, whose code clips probabilities to
        [0.01, 0.99] and the result to [0, 1].
    """
    check_number("temperature", temperature, above=0)
    task = Classification(teacher.shape[1:]) if task is None else task
    log_t, log_s = (task.log_outcomes(logits / temperature) for logits in as_float32_pair(teacher, student))
    log_m = ops.logaddexp(log_t, log_s) - np.log(2.0)
    over = tuple(range(1, len(log_t.shape)))
    from_t = ops.sum(ops.exp(log_t) * (log_t - log_m), axis=over)
    from_s = ops.sum(ops.exp(log_s) * (log_s - log_m), axis=over)
    return (from_t + from_s) / 2


def _soft_loss(task, teacher, student, temperature):
    return task.soft_loss(temperature)(teacher, student)


_DISTANCES = {
    "l1": lambda task, teacher, student, temperature: l1_logits(teacher, student),
    "kl": _soft_loss,
    # The mean over classes matters, since gradients are clipped.
    "mean_kl": lambda task, *answers: _soft_loss(task, *answers) / task.classes,
    "jsd": lambda task, *answers: jensen_shannon(*answers, task=task),
}
# L1 as in DFAD's segmentation; the logarithm comes after the mean over the batch.
_LOG_L1 = "log_l1"


def check_distance(distance: str) -> None:
    """Raises ValueError for a distance that `adversarial` does not have."""
    known = [*_DISTANCES, _LOG_L1]
    if distance not in known:
        raise ValueError(f"`distance` must be one of {sorted(known)}. Received: distance={distance!r}.")


def adversarial(
    teacher_logits,
    student_logits,
    distance: str = "l1",
    temperature: float = 1.0,
    only_where_agreeing: bool = False,
    task: Task | None = None,
):
    """Negated mean distance between teacher and student.

    Reduction: mean over the batch; over classes, mean for "l1", "log_l1" and "mean_kl", sum otherwise.
    Direction of "kl" and "mean_kl": KL(teacher || student), times the squared temperature; for tasks other
    than classification, it is replaced by the task's soft loss.

    Args:
        teacher_logits: `(batch, classes)`.
        student_logits: `(batch, classes)`.
        distance: "l1" (DFAD), "log_l1" (DFAD's -log(L1 + 1), if L1 would diverge), "kl" (CMI, Fast,
            NAYER, DFQ), "mean_kl" (ZSKT) or "jsd" (DeepInversion).
        temperature: the temperature of "kl", "mean_kl" and "jsd".
        only_where_agreeing: whether images on which the two networks predict different classes count as 0,
            so that the gradient leads to the decision boundary but not beyond it (CMI).
        task: the task; None for classification.

    Returns:
        A float32 scalar, at most 0.

    Raises:
        ValueError: if the distance is unknown.

    Reference:
        Fang et al., "Data-Free Adversarial Distillation", 2019; Micaelli, Storkey, "Zero-shot
        Knowledge Transfer via Adversarial Belief Matching", 2019; Fang et al., "Contrastive Model
        Inversion", 2021.
    """
    objective = Adversarial(1.0, distance, temperature, only_where_agreeing)
    task = Classification(teacher_logits.shape[1:]) if task is None else task
    mean = ops.mean(objective.distances(teacher_logits, student_logits, task))
    return -ops.log1p(mean) if distance == _LOG_L1 else -mean


@dataclasses.dataclass(frozen=True)
class Adversarial(Objective):
    """`adversarial` as an objective.

    Args:
        weight: the weight of the term.
        distance: "l1", "log_l1", "kl", "mean_kl" or "jsd".
        temperature: the temperature of "kl", "mean_kl" and "jsd".
        only_where_agreeing: whether only images on which both networks predict the same class count.
    """

    distance: str = "l1"
    temperature: float = 1.0
    only_where_agreeing: bool = False
    renamed: ClassVar[Mapping[str, str]] = {"agreeing": "only_where_agreeing"}
    needs_student: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_distance(self.distance)
        check_number("temperature", self.temperature, above=0)

    @property
    def needs_classes(self) -> bool:
        return self.distance == "jsd" or self.only_where_agreeing

    def distances(self, teacher_logits, student_logits, task: Task):
        """The distance to maximize for each image, a float32 tensor `(batch,)`."""
        distance = _DISTANCES["l1" if self.distance == _LOG_L1 else self.distance]
        values = distance(task, teacher_logits, student_logits, self.temperature)
        if self.only_where_agreeing:
            group = as_class_task(task).group
            same = group(teacher_logits) == group(student_logits)
            values = values * ops.cast(same, "float32")
        return values

    def value(self, batch: Synthesized):
        return adversarial(
            batch.teacher_logits,
            batch.student_logits,
            self.distance,
            self.temperature,
            self.only_where_agreeing,
            batch.task,
        )
