"""Calls of a loss, or of its function, always from the same state."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from keras import tree

from tfkd._core.snapshots import Snapshot
from tfkd.distilling._forward import reduced_loss
from tfkd.losses import Batch, KnowledgeLoss


class Inputs(NamedTuple):
    """The inputs of a loss; teacher and student are arrays, or lists of arrays."""

    teacher: Any
    student: Any
    labels: Any = None
    index: Any = None

    def each(self, function):
        """The inputs with a function applied to each array."""
        return tree.map_structure(lambda x: None if x is None else function(x), self)

    def with_features(self, function):
        """The inputs with a function applied to the arrays of teacher and student."""
        teacher, student = tree.map_structure(function, (self.teacher, self.student))
        return self._replace(teacher=teacher, student=student)


class Subject:
    """A loss and its inputs; every call of `run` starts from the same state.

    Args:
        loss: a `KnowledgeLoss`, built for the inputs if needed, or a function of teacher and student.
        inputs: its inputs.
        oracle: a NumPy reference implementation, or None.
    """

    def __init__(self, loss, inputs, oracle):
        self.loss, self.oracle = loss, oracle
        self.inputs = inputs.each(np.asarray).with_features(lambda x: x.astype("float32"))
        self.is_layer = isinstance(loss, KnowledgeLoss)
        if self.is_layer and not loss.built:
            built_for = self.inputs.with_features(lambda x: (None, *x.shape[1:]))
            loss.build(built_for.teacher, built_for.student)
        # Running statistics, memories, seeds.
        self._state = Snapshot(loss.variables if self.is_layer else ())

    def values(self, inputs):
        """The values of the loss."""
        batch = Batch(inputs.labels, inputs.index, training=True)
        options = self.loss.arguments(batch) if self.is_layer else {}
        return self.loss(inputs.teacher, inputs.student, **options)

    def total(self, inputs, mask=None, sample_weight=None):
        """The total that a distiller uses."""
        if isinstance(inputs.student, list):
            mask = None if mask is None else [mask] * len(inputs.student)
        batch = Batch(inputs.labels, inputs.index, mask, sample_weight, training=True)
        return reduced_loss(self.loss, inputs.teacher, inputs.student, batch)

    def restore(self):
        """Restores the loss's variables."""
        self._state.restore()

    def run(self, inputs=None, compute=None):
        """A value, and its gradients with respect to the student's arrays."""
        self.restore()
        return with_gradients(compute or self.values, (inputs or self.inputs).each(tf.convert_to_tensor))


def with_gradients(compute, inputs):
    """A value, and its gradients with respect to the student's arrays."""
    students = tree.flatten(inputs.student)
    with tf.GradientTape() as tape:
        tape.watch(students)
        value = compute(inputs)
    return value, tape.gradient(value, students)
