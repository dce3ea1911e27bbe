"""A task of somebody else's: a class for each position of a map."""

import keras
import numpy as np
from keras import ops

from tfkd import losses
from tfkd.tasks import Task


class Maps(Task):
    """One of several classes is right at each position; outputs are logits `(height, width, classes)`."""

    activations = ("softmax",)

    def check_output_shape(self):
        if len(self.output_shape) != 3:
            raise ValueError(f"Maps are (height, width, classes). Received: {self.output_shape}.")

    def agreement(self, teacher, student):
        same = ops.argmax(teacher, axis=-1) == ops.argmax(student, axis=-1)
        return ops.mean(ops.cast(same, "float32"), axis=(1, 2))

    def divergence(self, teacher, student):
        return ops.mean(losses.soft_targets(teacher, student), axis=(1, 2))

    def draw_targets(self, n, seed, answers=None):
        return keras.random.randint((n, *self.output_shape[:2]), 0, self.classes, seed=seed)

    def target_loss(self, targets, outputs):
        values = ops.sparse_categorical_crossentropy(targets, outputs, from_logits=True)
        return ops.mean(values, axis=(1, 2))

    def soft_loss(self, temperature=1.0):
        return losses.SoftTargets(temperature)

    def label_loss(self):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def metric(self):
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    def check_labels(self, labels, n, argument):
        if np.shape(labels) != (n, *self.output_shape[:2]):
            raise ValueError(f"{argument} must be {n} maps of classes. Received: {np.shape(labels)}.")
        return np.asarray(labels)

    def score(self, outputs, labels):
        return {"accuracy": float(np.mean(outputs.argmax(-1) == labels))}

    def is_chance(self, outputs, labels):
        return self.score(outputs, labels)["accuracy"] < 1.2 / self.classes

    def constant(self, outputs):
        return np.eye(self.classes, dtype="float32")[outputs.mean(0).argmax(-1)]
