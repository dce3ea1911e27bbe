"""Calls of a loss, or of its function, each from the same state."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from keras import tree

from tfkd._core.snapshots import Snapshot
from tfkd.distilling._forward import reduced_loss
from tfkd.losses import Batch, KnowledgeLoss


class Inputs(NamedTuple):
    """What a loss is called with; teacher and student are arrays, or lists of arrays."""

    teacher: Any
    student: Any
    labels: Any = None
    index: Any = None

    def each(self, function):
        """The same, of each array what the function makes of it."""
        return tree.map_structure(lambda x: None if x is None else function(x), self)

    def with_features(self, function):
        """The same, of the arrays of teacher and student what the function makes of them."""
        teacher, student = tree.map_structure(function, (self.teacher, self.student))
        return self._replace(teacher=teacher, student=student)


class Subject:
    """A loss and what it is called with; every call of `run` starts from the same state.

    Args:
        loss: a `KnowledgeLoss`, built for the inputs if it is not, or a function of teacher and student.
        inputs: what it is called with.
        oracle: the same function in NumPy, or None.
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
        """What the loss returns."""
        batch = Batch(inputs.labels, inputs.index, training=True)
        options = self.loss.arguments(batch) if self.is_layer else {}
        return self.loss(inputs.teacher, inputs.student, **options)

    def total(self, inputs, mask=None, sample_weight=None):
        """What a distiller adds up."""
        if isinstance(inputs.student, list):
            mask = None if mask is None else [mask] * len(inputs.student)
        batch = Batch(inputs.labels, inputs.index, mask, sample_weight, training=True)
        return reduced_loss(self.loss, inputs.teacher, inputs.student, batch)

    def restore(self):
        """Puts the loss's variables back."""
        self._state.restore()

    def run(self, inputs=None, compute=None):
        """A value, and its gradients by the student's arrays."""
        self.restore()
        return with_gradients(compute or self.values, (inputs or self.inputs).each(tf.convert_to_tensor))


def with_gradients(compute, inputs):
    """A value, and its gradients by the student's arrays."""
    students = tree.flatten(inputs.student)
    with tf.GradientTape() as tape:
        tape.watch(students)
        value = compute(inputs)
    return value, tape.gradient(value, students)
