"""Deep mutual learning in a few lines: what a scheme with several students looks like."""

import keras
import tensorflow as tf

from tfkd import losses
from tfkd._core.copies import clone
from tfkd.distilling import LossSet
from tfkd.distilling import _forward as forward
from tfkd.distilling._steps import apply_gradients, batch_size, with_loss_scaling


class MutualDistiller(keras.Model):
    """Networks that learn from labels and from each other (DML, Zhang et al., 2018).

    Each minimizes its cross-entropy plus the mean of KL(peer || itself) over the others.
    """

    def __init__(self, students, loss=None):
        super().__init__()
        loss = losses.SoftTargets() if loss is None else loss
        self.students = students
        self.loss_sets = [
            LossSet([clone(loss)], prefix=f"student_{i}_", name=f"losses_{i}")
            for i, _ in enumerate(students)
        ]
        self.sources = []
        for i, loss_set in enumerate(self.loss_sets):
            loss_set.bind(students[i - 1], students[i])
        self.built = True

    def call(self, inputs, training=None):
        """The mean of the students' logits."""
        return sum(student(inputs, training=training) for student in self.students) / len(self.students)

    def compile(self, optimizer, loss, metrics=None, jit_compile=False, **kwargs):
        self.optimizers = [with_loss_scaling(clone(optimizer), student) for student in self.students]
        super().compile(self.optimizers[0], loss, metrics=metrics, jit_compile=jit_compile, **kwargs)
        for own, student, loss_set in zip(self.optimizers, self.students, self.loss_sets, strict=True):
            own.build([*student.trainable_variables, *loss_set.trainable_variables])

    def train_step(self, data):
        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            passes = [
                forward.forward_pass(student, loss_set.student_taps, x, True, y)
                for student, loss_set in zip(self.students, self.loss_sets, strict=True)
            ]
            totals = [self._total(i, passes, y) for i in range(len(passes))]
        for i, own in enumerate(self.optimizers):
            variables = [*self.students[i].trainable_variables, *self.loss_sets[i].trainable_variables]
            apply_gradients(own, tape.gradient(totals[i], variables), variables)
        self._loss_tracker.update_state(sum(totals) / len(totals), sample_weight=batch_size(y))
        return self.compute_metrics(x, y, sum(each.output for each in passes) / len(passes))

    def _total(self, i, passes, y):
        """Labels and, on average, the other networks."""
        peers = [each.fixed() for j, each in enumerate(passes) if j != i]
        total = self.compute_loss(y=y, y_pred=passes[i].output)
        return total + sum(self.loss_sets[i].total(peer, passes[i]) for peer in peers) / len(peers)
