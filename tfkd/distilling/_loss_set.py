"""LossSet: the knowledge losses of one student, with their weights, taps and metrics."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfkd import taps
from tfkd._core import names
from tfkd.distilling import _forward as forward
from tfkd.distilling._arguments import all_taps, as_weights
from tfkd.distilling._steps import batch_size
from tfkd.losses import KnowledgeLoss


class LossSet(keras.Layer):
    """Weighted knowledge losses between a teacher and one student.

    A distiller has one. A scheme with several students has one for each student; an ensemble has one for
    its averaged teachers. Trained parts of the losses are variables of the set.

    Args:
        losses: the losses, in order.
        weights: one weight for each loss, at least 0; None for 1 each, "published" for those of the papers.
        prefix: a prefix for the names of the losses in logs, such as "student_1_"; "" for none.
        name: the name of the layer.

    Attributes:
        knowledge_losses: the losses.
        weights_of_losses: their weights; later changes take effect when `take_changes` is called.
        factors: a float32 variable `(losses,)` with the factors of a weight schedule, so that steps are not
            retraced.
        plateau: a float32 variable `(3,)` with the state of a callback that waits for a plateau: whether
            it has seen a value, the best value, and the epochs since then.
        teacher_taps: the teacher's layers that the losses use.
        student_taps: the student's layers that the losses use.

    Raises:
        ValueError: if there is not one weight of at least 0 for each loss.

    Example:
        >>> hint = tfkd.losses.Hint("conv2", "conv2", projector=True)
        >>> losses = LossSet([tfkd.losses.SoftTargets(4.0), hint], [1, 50])
        >>> losses.bind(teacher, student)
        >>> losses.total(teacher_pass, student_pass, labels=y)
    """

    def __init__(
        self,
        losses: Sequence[KnowledgeLoss],
        weights: Sequence[float] | str | None = None,
        prefix: str = "",
        name: str = "loss_set",
    ) -> None:
        super().__init__(dtype="float32", name=name)
        self.knowledge_losses = list(losses)
        self.weights_of_losses = as_weights(weights, self.knowledge_losses)
        self.factors = self.add_weight(
            shape=(len(self.knowledge_losses),), initializer="ones", trainable=False, name="factors"
        )
        self.plateau = self.add_weight(shape=(3,), initializer="zeros", trainable=False, name="plateau")
        with tf.init_scope():
            self._weights = tf.Variable(tf.constant(self.weights_of_losses, "float32"), trainable=False)
        self._taken = list(self.weights_of_losses)
        self.teacher_taps = all_taps(loss.teacher_layer for loss in losses if loss.uses_teacher)
        within = [loss.teacher_layer for loss in losses if loss.within_student]
        self.student_taps = all_taps([*(loss.student_layer for loss in losses), *within])
        self.tracker = keras.metrics.Mean(name=f"{prefix}distillation_loss")
        shown = names.numbered([f"{prefix}{loss.name}" for loss in self.knowledge_losses])
        self.component_trackers = [keras.metrics.Mean(name=name) for name in shown]
        self.built = True

    @property
    def uses_teacher(self) -> bool:
        """Whether any loss uses the teacher."""
        return any(loss.uses_teacher for loss in self.knowledge_losses)

    @property
    def parts_built(self) -> bool:
        """Whether all trained parts of the losses exist."""
        return all(loss.built for loss in self.knowledge_losses)

    @property
    def trackers(self) -> list[keras.metrics.Metric]:
        """The metrics of the weighted sum and of each loss."""
        return [self.tracker, *self.component_trackers]

    def bind(self, teacher: keras.Model | None, student: keras.Model) -> None:
        """Checks that the tapped layers exist, and creates the trained parts of the losses.

        Args:
            teacher: the teacher; None if it is not set yet.
            student: the student.

        Raises:
            ValueError: if a tap does not exist, with close matches.
        """
        for model, tapped in ((teacher, self.teacher_taps), (student, self.student_taps)):
            for tap in tapped:
                if model is not None and tap != taps.INPUT_GRADIENT:
                    taps.resolve(model, tap)
        for loss in self.knowledge_losses:
            loss.bind(teacher, student)
            if not loss.built:
                forward.build(loss, teacher, student)

    def take_changes(self) -> tuple[str, ...]:
        """Makes the current weights take effect.

        Returns:
            The losses' options that a traced step treats as constants, to be compared with earlier ones.

        Raises:
            ValueError: if there is not one weight of at least 0 for each loss.
        """
        weights = as_weights(self.weights_of_losses, self.knowledge_losses)
        if weights != self._taken:
            self._weights.assign(weights)
            self._taken = weights
        return tuple(repr(loss.constants()) for loss in self.knowledge_losses)

    def lacks(self, *, labels=None, index=None) -> bool:
        """Whether a loss needs labels or indices that are missing."""
        if labels is None and taps.INPUT_GRADIENT in (*self.teacher_taps, *self.student_taps):
            return True
        context = {"labels": labels, "index": index}
        return any(forward.missing(loss, context) for loss in self.knowledge_losses)

    def total(
        self,
        teacher: forward.ForwardResult | None,
        student: forward.ForwardResult,
        *,
        labels=None,
        index=None,
        sample_weight=None,
        training: bool = True,
    ):
        """The weighted sum of the losses, each reduced as Keras reduces losses.

        Args:
            teacher: the teacher's pass; None if no loss uses it.
            student: the student's pass.
            labels: the true labels of the batch, for losses that need them.
            index: the index of each example in the data set, for losses that need it.
            sample_weight: float `(batch,)`, or None for 1 each.
            training: whether trained parts of the losses run in training mode.

        Returns:
            A float32 scalar.
        """
        context = {
            "labels": labels,
            "index": index,
            "sample_weight": sample_weight,
            "training": training,
        }
        examples, total = batch_size(student.output), 0.0
        for i, loss in enumerate(self.knowledge_losses):
            value = forward.compare(loss, teacher, student, context)
            self.component_trackers[i].update_state(value, sample_weight=examples)
            total += self._weights[i] * self.factors[i] * value
        self.tracker.update_state(total, sample_weight=examples)
        return total

    def load_own_variables(self, store) -> None:
        # In the oldest files the distiller has the factors; files after that have no plateau.
        if len(store.keys()) == 1:
            self.factors.assign(store["0"])
        elif store.keys():
            super().load_own_variables(store)
