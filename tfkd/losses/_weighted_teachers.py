"""One loss for each of several teachers, with given, learned or confidence weights."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops, tree
from typing_extensions import Self

from tfkd._core.checks import check_choice
from tfkd._core.copies import clone
from tfkd.losses._base import Batch, BatchLoss, KnowledgeLoss, as_float32
from tfkd.losses._features import as_list
from tfkd.losses._keras_losses import as_knowledge_loss
from tfkd.losses._relations import example_mean, per_row
from tfkd.losses._soft_targets import soft_targets
from tfkd.losses._teacher_weights import as_shares, confidence_weights

_RULES = "learned", "confidence"


def weighted_teachers(
    teachers: Sequence,
    student,
    loss: Callable[[Any, Any], Any] = soft_targets,
    weights: Sequence[float] | str | None = None,
    labels=None,
):
    """CA-MKD: the weighted sum of one loss for each teacher, w_1 loss(t_1, s) + w_2 loss(t_2, s) + ...

    Weights sum to 1. With `weights="confidence"` each example has its own: with the cross-entropy CE_k of
    the labels under teacher k, or without labels the entropy of its output, w_k = (1 - exp(CE_k) / sum_j
    exp(CE_j)) / (K - 1). Reduction, temperature factor and direction are those of `loss`.

    Args:
        teachers: the values `(..., classes)` of at least two teachers.
        student: the student's, of the same shape.
        loss: a function of `(teacher, student)` that returns one value per example.
        weights: one for each teacher, at least 0, divided by their sum; None for equal ones; "confidence".
        labels: true classes, ints or one-hot rows, for weights by confidence; None for weights without
            labels.

    Returns:
        The weighted sum, shaped like the result of `loss`.

    Raises:
        ValueError: if there are fewer than two teachers, or the weights are invalid.

    Example:
        >>> weighted_teachers([[[2.0, 0.0]], [[0.0, 1.0]]], [[0.0, 0.0]], weights=[3, 1])  # [0.273...]

    Reference:
        Zhang, Chen, Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation", 2022, equations 2 and 3.
        Using entropies when there are no labels is this project's addition.
    """
    teachers = list(teachers)
    _check_several(teachers)
    if isinstance(weights, str):
        check_choice("weights", weights, ["confidence"])
        shares = confidence_weights(teachers, labels)
    else:
        shares = as_shares(weights, len(teachers))
    return sum(shares[k] * loss(teacher, student) for k, teacher in enumerate(teachers))


def _check_several(teachers):
    if isinstance(teachers, str) or len(teachers) < 2:
        raise ValueError(
            f"`teachers` must hold at least two teachers. Received: {teachers!r}. For one, use the loss "
            "itself."
        )


@keras.saving.register_keras_serializable(package="tfkd")
class WeightedTeachers(BatchLoss):
    """The weighted sum of one loss for each of several teachers.

    For a distiller with a `tfkd.schemes.EnsembleTeacher`, whose taps start with the names of its members;
    `ensemble.per_teacher(loss, weights)` fills them in. Trained parts, such as projectors, are made for
    each teacher. Weights sum to 1 and come from one of three rules:

    - numbers, as given;
    - "confidence": for each example, `tfkd.losses.weighted_teachers`, using labels if there are any. For a
      scalar loss, each teacher's share is used as sample weights.
    - "learned": a softmax of trained numbers, equal at first. They do not minimize the loss, which would
      favour the teacher closest to the student, however poor. They minimize the squared norm of the
      weighted sum of the losses' gradients with respect to the student's tapped values, per example,
      divided by the mean of the teachers' own squared norms. At the minimum, the sum is a direction in
      which all teachers' losses decrease; among teachers that agree on it, those with shorter gradients
      weigh more. The value of the loss does not change, and these gradients are computed only up to the
      tap, not through the student.

    Args:
        loss: a loss of `tfkd.losses` or `keras.distillation`, on outputs or inner layers. It is copied for
            each teacher; its `student_layer` is used, its `teacher_layer` is not.
        teachers: for each of at least two teachers, the tap that the loss compares: a path, or a list of
            paths for a loss on several layers.
        weights: one for each teacher, at least 0, divided by their sum; None for equal ones; "learned"; or
            "confidence".
        outputs: for each teacher, the tap of its logits, which "confidence" needs; None if the loss
            compares the logits.
        name: names the loss in `History`.

    Raises:
        TypeError: if `loss` is not a knowledge loss.
        ValueError: if there are fewer than two teachers, the number of `outputs` differs, or the weights
            are invalid.

    Example:
        >>> loss = WeightedTeachers(tfkd.losses.SoftTargets(4.0), ["first", "second"], "confidence")
        >>> distiller = tfkd.Distiller(ensemble, student, loss)

    Reference:
        "confidence": Zhang, Chen, Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation", 2022. The
        paper weights losses of inner layers by the outputs of the teacher's classifier for the student's
        features; here the weights of the outputs are used for them too. "learned": Du et al., "Agree to
        Disagree: Adaptive Ensemble Knowledge Distillation in Gradient Space", 2020, solve that problem for
        each batch, with averaged gradients and a maximum weight; here the weights are trained from batch to
        batch by the distiller's optimizer, bounded only by the softmax.
    """

    def __init__(
        self,
        loss: KnowledgeLoss | Any,
        teachers: Sequence[str | Sequence[str]],
        weights: Sequence[float] | str | None = None,
        outputs: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        loss = as_knowledge_loss(loss)
        _check_several(teachers)
        super().__init__(student_layer=loss.student_layer, name=name, across_replicas=loss.across_replicas)
        self.teachers = [each if isinstance(each, str) else list(each) for each in teachers]
        if isinstance(weights, str):
            self.rule, self.shares = check_choice("weights", weights, _RULES), []
        else:
            self.rule, self.shares = "given", as_shares(weights, len(self.teachers))
        if outputs is not None and (isinstance(outputs, str) or len(outputs) != len(self.teachers)):
            raise ValueError(
                f"`outputs` must have one tap for each of the {len(self.teachers)} teachers. Received: "
                f"{outputs!r}."
            )
        self.outputs = None if outputs is None else list(outputs)
        self.parts = [clone(loss) for _ in self.teachers]
        for part, layer in zip(self.parts, self.teachers, strict=True):
            part.teacher_layer = layer
        taps = [tap for layer in self.teachers for tap in as_list(layer)]
        own = self.outputs if self.rule == "confidence" else None
        self.teacher_layer = [*taps, *(own or ())]
        self._given_layer = loss.teacher_layer
        self.importance = None
        if self.rule == "learned":
            shape = (len(self.teachers),)
            self.importance = self.add_weight(shape=shape, initializer="zeros", name="importance")

    @property
    def over_classes(self) -> bool:
        """Whether the loss treats outputs as the logits of one softmax."""
        return self.parts[0].over_classes

    @property
    def over_batch(self) -> bool:
        """Whether the wrapped loss is, or weights are learned: these compare examples of a batch."""
        return self.rule == "learned" or self.parts[0].over_batch

    @property
    def published_weight(self) -> float:
        """The published weight of the wrapped loss."""
        return self.parts[0].published_weight

    @property
    def title(self) -> str:
        return f"{type(self).__name__}({self.parts[0].title})"

    @property
    def teacher_weights(self) -> list[float] | None:
        """The current weights of the teachers; None if each example has its own."""
        if self.importance is None:
            return self.shares or None
        return ops.convert_to_numpy(ops.softmax(self.importance)).tolist()

    def computed(self) -> list[KnowledgeLoss]:
        return [each for part in self.parts for each in part.computed()]

    def missing(self, batch: Batch) -> list[str]:
        return self.parts[0].missing(batch)

    def counted(self, student, batch: Batch) -> Any:
        return self.parts[0].counted(student, batch)

    def constants(self) -> dict[str, Any]:
        parts = [part.constants() for part in self.parts]
        return {"weights": self.shares or self.rule, "parts": parts}

    def bind(self, teacher: keras.Model | None, student: keras.Model) -> None:
        for part in self.parts:
            part.bind(teacher, student)

    def build(self, teacher_shape, student_shape) -> None:
        for part, shape in zip(self.parts, self._of_each(teacher_shape), strict=True):
            if type(part).build is KnowledgeLoss.build:
                part.build()
            else:
                part.build(shape, student_shape)

    def on_batch(self, teacher, student, batch: Batch):
        if self.rule == "learned":
            return self._learned(teacher, student, batch)
        if self.rule == "confidence":
            shares = confidence_weights(teacher[-len(self.parts) :], batch.labels)
            return sum(self._by_example(k, shares[k], teacher, student, batch) for k in self._range)
        values = self._values(teacher, student, batch)
        return sum(share * value for share, value in zip(self.shares, values, strict=True))

    @property
    def _range(self):
        return range(len(self.parts))

    def _of_each(self, values):
        """Splits the values of all taps by teacher: one value each, or a list."""
        values, each = list(values), []
        for layer in self.teachers:
            count = len(as_list(layer))
            taken, values = values[:count], values[count:]
            each.append(taken[0] if isinstance(layer, str) else taken)
        return each

    def _value(self, k, teacher, student, batch):
        if isinstance(batch.mask, list) and not isinstance(student, list):
            batch = batch._replace(mask=self._of_each(batch.mask)[k])
        part = self.parts[k]
        return part(self._of_each(teacher)[k], student, **part.arguments(batch))

    def _values(self, teacher, student, batch):
        return [self._value(k, teacher, student, batch) for k in self._range]

    def _by_example(self, k, share, teacher, student, batch):
        """A teacher's loss, each example with its share `(batch, ...)`."""
        given, mask = batch.sample_weight, batch.mask if tf.is_tensor(batch.mask) else None
        of_rows = per_row(share, 1, mask)
        plain = ops.ones_like(of_rows) if given is None else per_row(given, 1, mask)
        value = self._value(k, teacher, student, batch._replace(sample_weight=plain * of_rows))
        rank = len(value.shape)
        return value * (per_row(share, rank, mask) if rank else example_mean(of_rows, plain))

    def _learned(self, teacher, student, batch):
        student = tree.map_structure(lambda values: as_float32(values, "student"), student)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(student)
            values = self._values(teacher, student, batch)
        shares = ops.softmax(self.importance)
        total = sum(ops.stop_gradient(shares[k]) * value for k, value in enumerate(values))
        if not batch.training:
            return total
        flat, none = tree.flatten(student), tf.UnconnectedGradients.ZERO
        slopes = [tape.gradient(value, flat, unconnected_gradients=none) for value in values]
        disagreement = _relative_norm(shares, slopes, len(values[0].shape))
        # Its value is 0; only its gradient with respect to the weights matters.
        return total + disagreement - ops.stop_gradient(disagreement)

    def get_config(self) -> dict:
        # From the current first part, since its temperature may have been changed.
        loss = clone(self.parts[0])
        loss.teacher_layer = self._given_layer
        return {
            "name": self.name,
            "loss": keras.saving.serialize_keras_object(loss),
            "teachers": self.teachers,
            "weights": self.shares or self.rule,
            "outputs": self.outputs,
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})


def _relative_norm(shares, slopes, rank):
    """The squared norm of a weighted sum of gradients over the mean of their own, per example.

    Args:
        shares: weights `(teachers,)`.
        slopes: for each teacher, its gradients with respect to each of the student's values.
        rank: number of axes of the result; 0 for all examples together.
    """

    def norm(gradients):
        return sum(
            ops.sum(ops.square(each), axis=tuple(range(rank, len(each.shape)))) for each in gradients
        )

    slopes = tree.map_structure(ops.stop_gradient, slopes)
    mixed = [sum(shares[k] * each for k, each in enumerate(layer)) for layer in zip(*slopes, strict=True)]
    own = sum(norm(gradients) for gradients in slopes) / len(slopes)
    return 0.5 * ops.divide_no_nan(norm(mixed), ops.mean(own))
