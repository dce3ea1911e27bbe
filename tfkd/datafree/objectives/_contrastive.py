"""Contrastive inversion: images that the teacher can distinguish from all others made so far."""

import dataclasses
from typing import ClassVar

import keras
import tensorflow as tf
from keras import layers, ops

from tfkd import taps
from tfkd._core.checks import check_int, check_number
from tfkd.datafree.objectives._base import Objective, ObjectiveState, Synthesized
from tfkd.datafree.objectives._moments import stored_statistics


def contrastive(local, others, temperature: float = 0.1, counted=None):
    """Cross-entropy of finding each image's other view among the views of all images.

    Args:
        local: unit vectors `(n, dimension)` of one view of each image.
        others: unit vectors `(n, dimension)` of the other views, in the same order.
        temperature: the divisor of the cosines, above 0.
        counted: bool `(n,)`, which images are valid; None for all.

    Returns:
        A float32 tensor `(n,)`.

    Reference:
        Fang et al., "Contrastive Model Inversion for Data-Free Knowledge Distillation", 2021.
    """
    check_number("temperature", temperature, above=0)
    logits = ops.matmul(local, ops.transpose(others)) / temperature
    if counted is not None:
        logits = ops.where(counted[None, :], logits, -1e9)
    return -ops.diagonal(ops.log_softmax(logits, axis=-1))


@dataclasses.dataclass(frozen=True)
class ContrastiveInversion(Objective):
    """`contrastive` as an objective, for diverse images.

    An image is described by the mean input of each batch normalization layer of the teacher (or, if there
    are none, by the mean output of each layer with weights), followed by a trained projection. One
    description is of a crop, the other of the view that the other objectives use. Each batch is also
    contrasted with earlier images.

    Args:
        weight: the weight of the term.
        temperature: the divisor of the cosines, above 0.
        remembered: the number of earlier images whose descriptions are kept.
        compared: how many of them each batch is compared with.
        dimension: the dimension of the projection.
        learning_rate: the learning rate of the projection's Adam optimizer.

    Reference:
        Fang et al., "Contrastive Model Inversion for Data-Free Knowledge Distillation", 2021, who keep
        40,960 images.
    """

    temperature: float = 0.1
    remembered: int = 8192
    compared: int = 4096
    dimension: int = 256
    learning_rate: float = 1e-3
    needs_second_view: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("temperature", "learning_rate"):
            check_number(name, getattr(self, name), above=0)
        for name in ("remembered", "compared", "dimension"):
            check_int(name, getattr(self, name))

    def stored(self, teacher: keras.Model) -> dict[str, tuple]:
        if found := stored_statistics(teacher):
            return found
        weighted = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense, layers.EinsumDense)
        return {
            path: (ops.zeros(1), ops.ones(1), -1)
            for path, layer in taps.named_layers(teacher).items()
            if isinstance(layer, weighted)
        }

    def problem(self, teacher: keras.Model) -> str | None:
        return None if self.stored(teacher) else "it has no layers that describe an image"

    def build(self, example: Synthesized, batch_size: int, seed: keras.random.SeedGenerator):
        return _Descriptions(self, _description(example.moments).shape[-1], batch_size, seed)

    def value(self, batch: Synthesized):
        local, others = _description(batch.second_moments), _description(batch.moments)
        return batch.state.loss(local, ops.stop_gradient(others))

    def finish(self, state: ObjectiveState) -> None:
        state.remember()


def _unit(vectors):
    """The vectors, scaled to length 1; zero vectors, such as in the empty bank, remain 0."""
    return vectors / ops.sqrt(ops.sum(vectors**2, axis=-1, keepdims=True) + 1e-12)


def _description(moments):
    return ops.concatenate([m.mean for m in moments], axis=-1)


class _Descriptions(ObjectiveState):
    """The trained projection, and both descriptions of earlier images."""

    def __init__(self, objective, size, batch_size, seed):
        optimizer = keras.optimizers.Adam(objective.learning_rate, beta_1=0.5)
        super().__init__(optimizer)
        self.objective, self.batch_size, self.random = objective, batch_size, (seed,)
        self.project = keras.Sequential(
            [
                keras.Input((size,)),
                layers.Dense(size, activation="relu", dtype="float32"),
                layers.Dense(objective.dimension, dtype="float32"),
            ],
            name="project",
        )
        kept = {"initializer": "zeros", "trainable": False}
        rows = max(objective.remembered, batch_size)
        self.bank = self.add_weight(shape=(rows, 2 * size), name="bank", **kept)
        self.latest = self.add_weight(shape=(batch_size, 2 * size), name="latest", **kept)
        self.written = self.add_weight(shape=(), dtype="int64", name="written", **kept)
        optimizer.build(self.project.trainable_variables)
        self.built = True

    def loss(self, local, others):
        self.latest.assign(ops.stop_gradient(ops.concatenate([local, others], axis=-1)))
        earlier, known = self._earlier()
        local, others = (
            _unit(self.project(ops.concatenate(parts)))
            for parts in zip((local, others), ops.split(earlier, 2, axis=-1), strict=True)
        )
        counted = ops.concatenate([ops.ones(self.batch_size, "bool"), known])
        values = contrastive(local, others, self.objective.temperature, counted)
        ours, theirs = values[: self.batch_size], values[self.batch_size :]
        known = ops.cast(known, "float32")
        return ops.mean(ours) + ops.divide_no_nan(ops.sum(known * theirs), ops.sum(known))

    def _earlier(self):
        """Descriptions of different earlier images, and which rows are valid."""
        rows = self.bank.shape[0]
        held = ops.arange(rows, dtype="int64") < self.written.value
        chance = ops.where(held, keras.random.uniform((rows,), seed=self.random[0]), -1.0)
        chosen, slots = ops.top_k(chance, min(self.objective.compared, rows))
        return tf.gather(self.bank.value, slots), chosen >= 0

    def remember(self):
        slots = (self.written.value + tf.range(self.batch_size, dtype="int64")) % self.bank.shape[0]
        self.bank.value.scatter_update(tf.IndexedSlices(self.latest.value, slots))
        self.written.assign_add(self.batch_size)
