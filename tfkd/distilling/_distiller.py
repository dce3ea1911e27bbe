"""Distiller: teacher forward, one student forward, losses, update."""

import warnings
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops, tree

from tfkd import taps
from tfkd._core import names
from tfkd._core.fingerprints import fingerprint
from tfkd._core.keras_internals import flatten_layers
from tfkd.distilling import _caching as caching
from tfkd.distilling import _forward as forward
from tfkd.distilling._arguments import all_taps, as_losses, as_weights, check_share
from tfkd.distilling._compatibility import (
    check_model,
    check_outputs,
    check_pair,
    warn_of_logits,
    warn_of_probabilities,
)
from tfkd.losses import KnowledgeLoss, SoftTargets
from tfkd.losses._keras_losses import KerasLogits


@keras.saving.register_keras_serializable(package="tfkd")
class Distiller(keras.Model):
    """Trains a student on labels and on a teacher's knowledge.

    A drop-in for `keras.distillation.Distiller`.

    Total loss: `student_loss_weight * student_loss + (1 - student_loss_weight) * sum of weighted
    distillation losses`, plus the student's own regularization losses. The teacher runs in
    inference mode outside the gradient tape, is never changed, and is in no file: a distiller that
    `keras.models.load_model` returns trains on once `distiller.teacher` is set to the same teacher.
    `evaluate`, `predict` and calling the distiller run the student alone. On a data set from
    `tfkd.cache_teacher` the teacher does not run.

    Args:
        teacher: a trained `keras.Model`; None if no loss looks at it.
        student: the `keras.Model` to train, with the teacher's input shape.
        distillation_losses: one `tfkd.losses` or `keras.distillation` loss, or a list of them. The
            latter are computed as Keras documents them. May be empty if only labels count.
        distillation_loss_weights: one weight above 0 for each loss; None for 1 each; "published" for the
            weights the methods were published with.
        student_loss_weight: weight of the labels' loss, in [0, 1]; 0 needs no labels.
        name: name of the model.
        **kwargs: passed to `keras.Model`.

    Raises:
        TypeError: if teacher or student is no Keras model, or a loss no knowledge loss.
        ValueError: if shapes disagree, weights are out of range, or a tapped layer does not exist.

    Warns:
        LogitsWarning: if a loss takes probabilities for logits, visibly, or the other way round.

    Example:
        >>> distiller = tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets(temperature=4))
        >>> distiller.compile(
        ...     optimizer="adam",
        ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        ...     metrics=["accuracy"],
        ... )
        >>> distiller.fit(x_train, y_train, epochs=5, validation_data=(x_test, y_test))
        >>> distiller.student.save("student.keras")

    Reference:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """

    def __init__(
        self,
        teacher: keras.Model | None,
        student: keras.Model,
        distillation_losses: KnowledgeLoss | Sequence[KnowledgeLoss],
        distillation_loss_weights: Sequence[float] | str | None = None,
        student_loss_weight: float = 0.5,
        name: str = "distiller",
        **kwargs,
    ) -> None:
        super().__init__(name=name, **kwargs)
        check_share(student_loss_weight)
        losses = as_losses(distillation_losses, student_loss_weight)
        awaited = isinstance(teacher, Awaited)
        check_model(student, "student")
        if not awaited and any(loss.uses_teacher for loss in losses):
            check_model(teacher, "teacher")
        # A tuple's items are not tracked, and __dir__ hides the property, so the teacher stays out
        # of the variables and of every file that Keras writes.
        object.__setattr__(self, "_untracked", (teacher, None))
        self.student = student
        self.student_loss_weight = student_loss_weight
        self.distillation_losses = losses
        self.distillation_loss_weights = as_weights(distillation_loss_weights, losses)
        # What a schedule multiplies the weights with; a variable, so that steps need no new trace.
        self.loss_factors = self.add_weight(
            shape=(len(losses),), dtype="float32", initializer="ones", trainable=False, name="loss_factors"
        )
        self._teacher_taps = all_taps(loss.teacher_layer for loss in losses if loss.uses_teacher)
        self._student_taps = all_taps(loss.student_layer for loss in losses)
        self._student_loss_tracker = keras.metrics.Mean(name="student_loss")
        self._distillation_loss_tracker = keras.metrics.Mean(name="distillation_loss")
        component_names = names.numbered([loss.name for loss in losses])
        self._component_trackers = [keras.metrics.Mean(name=name) for name in component_names]
        self._attach(None if awaited else teacher)
        self.built = student.built

    def __dir__(self):
        return [name for name in super().__dir__() if name not in ("teacher", "_untracked")]

    def __setattr__(self, name, value):
        # Past Keras, which would track the teacher before the property's setter saw it.
        if name == "teacher":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def teacher(self) -> keras.Model | None:
        """The teacher, used as it is; None while a distiller loaded from a file waits for it."""
        teacher = self._untracked[0]
        return None if isinstance(teacher, Awaited) else teacher

    @teacher.setter
    def teacher(self, teacher: keras.Model) -> None:
        check_model(teacher, "teacher")
        expected = self._untracked[0]
        if isinstance(expected, Awaited) and fingerprint(teacher) != expected.fingerprint:
            raise ValueError(
                f"`teacher` must be the one the distiller was saved with. Received: {teacher.name!r} with "
                "other weights. To go on with another, build a new Distiller around distiller.student."
            )
        self._attach(teacher)
        object.__setattr__(self, "_untracked", (teacher, None))
        self.train_function = None

    def _fingerprint(self):
        """The teacher's, computed once for each teacher; None without one."""
        teacher = self._untracked[0]
        if teacher is None or isinstance(teacher, Awaited):
            return teacher and teacher.fingerprint
        if self._untracked[1] is None:
            object.__setattr__(self, "_untracked", (teacher, fingerprint(teacher)))
        return self._untracked[1]

    def _attach(self, teacher):
        """Checks that what the losses look at is there, and has them made for it."""
        if teacher is not None:
            check_pair(teacher, self.student)
            # A step is compiled as a whole, and the teacher is not among the layers Keras asks.
            self.supports_jit = all(layer.supports_jit for layer in flatten_layers(teacher))
        for model, tapped in ((teacher, self._teacher_taps), (self.student, self._student_taps)):
            for tap in tapped:
                if model is not None and tap != taps.INPUT_GRADIENT:
                    taps.resolve(model, tap)
        outputs = [
            loss for loss in self.distillation_losses if not (loss.teacher_layer or loss.student_layer)
        ]
        if teacher is not None and any(loss.uses_teacher for loss in outputs):
            check_outputs(teacher, self.student)
        if any(isinstance(loss, SoftTargets | KerasLogits) for loss in outputs):
            for model, role in ((teacher, "teacher"), (self.student, "student")):
                if model is not None:
                    warn_of_probabilities(model, role)
        for loss in self.distillation_losses:
            loss.bind(teacher, self.student)
            if not loss.built:
                forward.build(loss, teacher, self.student)

    def call(self, inputs, training=None, **kwargs):
        return self.student(caching.unpack(inputs).inputs, training=training, **kwargs)

    def compile(self, optimizer="adam", loss=None, metrics=None, jit_compile="auto", **kwargs):
        """Configures training as `keras.Model.compile` does.

        Args:
            optimizer: optimizer of the student and of trained parts of the losses.
            loss: the labels' loss; may be None only where `student_loss_weight` is 0.
            metrics: metrics of the student's outputs.
            jit_compile: True, False, or "auto": XLA on an accelerator, the plain graph on a CPU,
                where convolutions are faster without XLA.
            **kwargs: passed to `keras.Model.compile`.

        Raises:
            ValueError: if a loss is needed and None is given.

        Warns:
            LogitsWarning: if the loss expects probabilities and the student visibly returns logits.
        """
        if loss is None and self.student_loss_weight > 0:
            raise ValueError(
                "`loss` cannot be None while `student_loss_weight` is "
                f"{self.student_loss_weight}. Give the labels' loss, or build the distiller with "
                "student_loss_weight=0.0 to train without labels."
            )
        warn_of_logits(loss, self.student)
        if optimizer is not None and kwargs.get("auto_scale_loss", True):
            optimizer = with_loss_scaling(optimizer, self.student)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, jit_compile=jit_compile, **kwargs)

    def load_weights(self, *args, **kwargs):
        # Else Keras would leave out the state of an optimizer that has not made a step.
        if self.compiled and not self.optimizer.built and self._parts_built:
            self.optimizer.build(self.trainable_variables)
        super().load_weights(*args, **kwargs)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self._parts_built:
            self.optimizer.build(self.trainable_variables)

    @property
    def _parts_built(self):
        return self.student.built and all(loss.built for loss in self.distillation_losses)

    def get_config(self):
        losses = [keras.saving.serialize_keras_object(loss) for loss in self.distillation_losses]
        return {
            "name": self.name,
            "teacher_fingerprint": self._fingerprint(),
            "student": keras.saving.serialize_keras_object(self.student),
            "distillation_losses": losses,
            "distillation_loss_weights": list(self.distillation_loss_weights),
            "student_loss_weight": self.student_loss_weight,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        known = config.pop("teacher_fingerprint")
        for key in ("student", "distillation_losses"):
            config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(None if known is None else Awaited(known), **config)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        # Keras leaves random states out of weight files; without them no run resumes exactly.
        if self._random_states:
            store["random_states"] = np.stack([state.numpy() for state in self._random_states])

    def load_own_variables(self, store):
        own = {name: store[name] for name in store.keys() if name != "random_states"}  # noqa: SIM118
        super().load_own_variables(own)
        if self._random_states and "random_states" in store.keys():  # noqa: SIM118
            for state, value in zip(self._random_states, store["random_states"], strict=True):
                state.assign(value)

    @property
    def _random_states(self):
        """Where random numbers come from: the student's dropout, a data-free distiller's own."""
        return [v for v in self.variables if v.path.endswith("seed_generator_state")]

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        batch = caching.unpack(x)
        teacher = self._ask_teacher(batch, y)
        with tf.GradientTape() as tape:
            student = forward.run(self.student, self._student_taps, batch.inputs, True, y)
            self.built = True
            context = {"labels": y, "index": batch.index, "sample_weight": sample_weight}
            distillation_loss = self._distill(teacher, student, context)
            loss = self._total_loss(y, student.output, distillation_loss, sample_weight)
            scaled = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        self._update(tape.gradient(scaled, variables), variables)
        self._loss_tracker.update_state(loss * _replicas(), sample_weight=_batch_size(student.output))
        if y is None:
            return self.get_metrics_result()
        return self.compute_metrics(batch.inputs, y, student.output, sample_weight)

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x = caching.unpack(x).inputs
        y_pred = self.student(x, training=False)
        not_measured = {tracker.name for tracker in self._training_trackers}
        if self._compile_loss is None:
            not_measured.add("loss")
        else:
            # Before the metrics: this updates the losses of single outputs.
            loss = self._labels_loss(y, y_pred, sample_weight) + self._regularization()
            self._loss_tracker.update_state(loss * _replicas(), sample_weight=_batch_size(y_pred))
        results = self.compute_metrics(x, y, y_pred, sample_weight)
        return {name: value for name, value in results.items() if name not in not_measured}

    def _get_metrics_result_or_logs(self, logs):
        # Keras would take the last step's values where not all metrics are among the logs.
        results = self.get_metrics_result()
        return {name: results.get(name, value) for name, value in logs.items()}

    def get_metrics_result(self):
        # Metrics given to `compile` are built on first use, which without labels is `evaluate`.
        results = {}
        for metric in self.metrics:
            if metric is self._compile_metrics and not metric.built:
                continue
            result = metric.result()
            results.update(result if isinstance(result, dict) else {metric.name: result})
        return results

    @property
    def _training_trackers(self):
        return [
            self._student_loss_tracker,
            self._distillation_loss_tracker,
            *self._component_trackers,
        ]

    def _ask_teacher(self, batch, labels):
        """What the teacher returns and what its taps see, computed or carried along; None if unused."""
        used = any(loss.uses_teacher for loss in self.distillation_losses)
        if not used or self.student_loss_weight == 1:
            return None
        teacher = self._untracked[0]
        if batch.made_by is not None:
            return forward.carried(batch, self._teacher_taps, self._fingerprint())
        if isinstance(teacher, Awaited):
            raise ValueError(
                "The distiller has no teacher, since files hold none. Set distiller.teacher = teacher "
                "after loading."
            )
        return forward.checked(forward.run(teacher, self._teacher_taps, batch.inputs, False, labels))

    def _distill(self, teacher, student, context):
        """Weighted sum of the distillation losses, each reduced as Keras reduces losses."""
        total = 0.0
        if self.student_loss_weight == 1:
            return total
        for i, (loss, weight, tracker) in enumerate(
            zip(
                self.distillation_losses,
                self.distillation_loss_weights,
                self._component_trackers,
                strict=True,
            )
        ):
            value = forward.compare(loss, teacher, student, context)
            tracker.update_state(value, sample_weight=_batch_size(student.output))
            total += weight * self.loss_factors[i] * value
        return total

    def _total_loss(self, y, y_pred, distillation_loss, sample_weight):
        """The loss to differentiate: under `tf.distribute` this replica's share of it."""
        student_loss = 0.0
        if self.student_loss_weight > 0:
            if y is None:
                raise ValueError(
                    "`y` is missing: there are no labels for the student's loss. Give them, or build the "
                    "distiller with student_loss_weight=0.0 to train without."
                )
            student_loss = self._labels_loss(y, y_pred, sample_weight)
        batch, replicas = _batch_size(y_pred), _replicas()
        self._student_loss_tracker.update_state(student_loss * replicas, sample_weight=batch)
        self._distillation_loss_tracker.update_state(distillation_loss, sample_weight=batch)
        share = self.student_loss_weight
        return share * student_loss + (1 - share) * distillation_loss / replicas + self._regularization()

    def _labels_loss(self, y, y_pred, sample_weight):
        return ops.cast(self._compile_loss(y, y_pred, sample_weight), "float32")

    def _regularization(self):
        return sum(ops.sum(ops.cast(loss, "float32")) for loss in self.losses) / _replicas()

    def _update(self, gradients, variables):
        """One step of the optimizer; parts of losses that this step did not use stay as they are."""
        if not self.optimizer.built:
            self.optimizer.build(variables)
        of_losses = {id(v) for loss in self.distillation_losses for v in loss.trainable_variables}
        pairs = zip(gradients, variables, strict=True)
        pairs = [(g, v) for g, v in pairs if g is not None or id(v) not in of_losses]
        if pairs:
            self.optimizer.apply_gradients(pairs)
        else:
            warnings.warn("The distiller has nothing to train: no trainable variables.", stacklevel=2)


class Awaited:
    """Stands for the teacher in a distiller that was loaded from a file, until it is set.

    Args:
        fingerprint: of the teacher the distiller was saved with.
    """

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint


def with_loss_scaling(optimizer, model: keras.Model) -> keras.optimizers.Optimizer:
    """The optimizer, scaling its loss if the model it trains computes in float16.

    Keras goes by the policy of the model that is fitted, which here is not the one that is trained.
    """
    optimizer = keras.optimizers.get(optimizer)
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    # Functional models of a file do not know the policy their layers have.
    half = any(layer.dtype_policy.name == "mixed_float16" for layer in flatten_layers(model))
    if scaled or not half:
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)


def _replicas():
    """How many replicas of the step add up their gradients."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def _batch_size(outputs):
    return ops.shape(tree.flatten(outputs)[0])[0]
