"""Losses between two layers of one network: the deeper one is the target of the shallower one."""

import keras
from keras import ops, tree

from tfkd._core import keras_distillation as distillation
from tfkd.losses._around import LossAround
from tfkd.losses._base import Batch, KnowledgeLoss
from tfkd.losses._keras_losses import as_knowledge_loss


def within(loss: KnowledgeLoss | distillation.DistillationLoss) -> KnowledgeLoss:
    """A loss between two layers of the student, which then needs no teacher.

    Both taps are in the student. `teacher_layer` names the layer that provides the targets, usually a deep
    one; no gradient flows back through it. Values, reduction, masks and weights are those of the wrapped
    loss.

    Args:
        loss: any loss of `tfkd.losses` or `keras.distillation` that uses a teacher, with different taps for
            `student_layer` and `teacher_layer`; None is the student's output.

    Returns:
        A loss of the same name for `tfkd.Distiller` and schemes; its trainable parts are saved with them.

    Raises:
        TypeError: if `loss` is not a knowledge loss.
        ValueError: if the loss does not use a teacher, or both taps are the same.

    Example:
        >>> soft = SoftTargets(4.0, teacher_layer="logits", student_layer="exit_1")
        >>> features = Hint("block3", "block1", projector=True)
        >>> tfkd.Distiller(None, model_with_exits, [within(soft), within(features)])

    Reference:
        Zhang et al., "Be Your Own Teacher", 2019, was the first to distil this way.
    """
    return _Within(as_knowledge_loss(loss))


@keras.saving.register_keras_serializable(package="tfkd", name="Within")
class _Within(LossAround):
    """The result of `within`: a loss whose two taps are both in the student."""

    uses_teacher = False
    within_student = True

    def __init__(self, loss: KnowledgeLoss, name: str | None = None) -> None:
        if not loss.uses_teacher:
            raise ValueError(
                f"`loss` must compare two layers. Received: {loss.title}, which uses the student alone. "
                "Give it to the distiller directly."
            )
        if loss.teacher_layer == loss.student_layer:
            raise ValueError(
                "`loss` must have different `student_layer` and `teacher_layer`, since both are in the "
                f"student. Received: {loss.title} with {loss.teacher_layer!r} for both."
            )
        super().__init__(loss, name)
        self.over_classes, self.takes_structures = loss.over_classes, loss.takes_structures

    @property
    def title(self) -> str:
        return self.loss.title

    def bind(self, teacher: keras.Model | None, student: keras.Model) -> None:
        self.loss.bind(student, student)

    def on_batch(self, teacher, student, batch: Batch):
        return self.inside(tree.map_structure(ops.stop_gradient, teacher), student, batch)
