"""Distiller: teacher forward, one student forward, losses, update."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from typing_extensions import Self

from tfkd._core.keras_internals import flatten_layers, freeze
from tfkd._core.named_inputs import taken_by
from tfkd.distilling import _caching as caching
from tfkd.distilling import _forward as forward
from tfkd.distilling._arguments import as_losses, as_weights, check_share
from tfkd.distilling._compatibility import (
    check_model,
    check_outputs,
    check_pair,
    check_scope,
    feature_extractor,
    warn_of_logits,
    warn_of_probabilities,
)
from tfkd.distilling._distillation_model import DistillationModel
from tfkd.distilling._loss_set import LossSet
from tfkd.distilling._steps import (
    apply_gradients,
    batch_size,
    regularization,
    replicas,
    with_loss_scaling,
)
from tfkd.distilling._task_losses import check_with_labels_loss, losses_for, take_logits
from tfkd.distilling._teacher_reference import TeacherReference
from tfkd.losses import KnowledgeLoss
from tfkd.optimizers import DOT

_NOT_SAVED = "teacher", "_network", "_teacher_feature_extractor", "_student_feature_extractor"


@keras.saving.register_keras_serializable(package="tfkd")
class Distiller(DistillationModel):
    """Trains a student on labels and on a teacher's knowledge.

    A drop-in replacement for `keras.distillation.Distiller`.

    Total loss: `student_loss_weight * student_loss + (1 - student_loss_weight) * sum of weighted
    distillation losses`, plus the student's own regularization losses. The teacher is frozen
    (`trainable=False`) and runs in inference mode outside the gradient tape. It is not saved: to continue
    training a distiller from `keras.models.load_model`, set `distiller.teacher` to the same teacher first.
    `predict` and calling the distiller run only the student; `evaluate` also runs the teacher to compute
    `distillation_loss` and `total_loss`, unless `compile` disables that. On a data set from
    `tfkd.cache_teacher` the teacher does not run.

    Under a `tf.distribute` strategy, create the student, the losses and the distiller within
    `strategy.scope()`; a teacher created outside of it keeps its weights on one device. The batch size is
    for all replicas together. Losses with `over_batch` see the whole batch. Other losses are the mean of
    the replicas' means, as in Keras; this equals the mean over the batch if all replicas get equal shares.
    With several replicas, the steps of one execution (`steps_per_execution`) run one by one.

    Args:
        teacher: a trained `keras.Model`; None if no loss uses it.
        student: the `keras.Model` to train, with the teacher's input shape.
        distillation_losses: one `tfkd.losses` or `keras.distillation` loss, or a list of them. The
            latter are computed as Keras documents them. May be empty for training on labels only.
        distillation_loss_weights: one weight of at least 0 for each loss; None for 1 each; "published" for
            the weights from the methods' papers.
        student_loss_weight: the weight of the labels' loss, in [0, 1]; 0 needs no labels.
        name: the name of the model.
        resize_inputs: whether to resize images to the size that each network takes (bilinear, with
            antialiasing), so that teacher and student may take different sizes.
        **kwargs: passed to `keras.Model`.

    Raises:
        TypeError: if a loss is not a knowledge loss.
        ValueError: if teacher or student is not a Keras model, shapes disagree, weights are out of range,
            a tapped layer does not exist, or student and losses were created under another `tf.distribute`
            strategy than the distiller.

    Warns:
        LogitsWarning: if a loss that expects logits is given a model that visibly ends in a softmax or
            sigmoid.

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
        teacher: keras.Model | TeacherReference | None,
        student: keras.Model,
        distillation_losses: KnowledgeLoss | Sequence[KnowledgeLoss],
        distillation_loss_weights: Sequence[float] | str | None = None,
        student_loss_weight: float = 0.5,
        name: str = "distiller",
        resize_inputs: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(name=name, **kwargs)
        check_share(student_loss_weight)
        losses = as_losses(distillation_losses, student_loss_weight)
        reference = teacher if isinstance(teacher, TeacherReference) else TeacherReference(teacher)
        check_model(student, "student")
        check_scope(student, "student")
        for loss in losses:
            check_scope(loss, "distillation_losses")
        if not reference.awaited and any(loss.uses_teacher for loss in losses):
            check_model(reference.model, "teacher")
        self._reference, self.resize_inputs = reference, resize_inputs
        self.student = student
        with tf.init_scope():
            self._shares = tf.Variable(tf.zeros(2), trainable=False)
        self.student_loss_weight = student_loss_weight
        self.loss_set = LossSet(losses_for(reference.model, student, losses), distillation_loss_weights)
        self._student_loss_tracker = keras.metrics.Mean(name="student_loss")
        self._evaluates_teacher = True
        self._attach(reference.model)
        self.built = student.built

    def __dir__(self):
        # Keras saves everything it finds here, and the teacher must not be saved.
        return [name for name in super().__dir__() if name not in _NOT_SAVED]

    def __setattr__(self, name, value):
        # Bypass Keras, which would track the teacher before the property's setter is called.
        if name == "teacher":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def distillation_losses(self) -> list[KnowledgeLoss]:
        """The losses, in order."""
        return self.loss_set.knowledge_losses

    @property
    def distillation_loss_weights(self) -> list[float]:
        """The weights of the losses; like all their options, they may be changed between steps."""
        return self.loss_set.weights_of_losses

    @distillation_loss_weights.setter
    def distillation_loss_weights(self, weights: Sequence[float] | str | None) -> None:
        self.loss_set.weights_of_losses = as_weights(weights, self.distillation_losses)

    @property
    def student_loss_weight(self) -> float:
        """The weight of the labels' loss, in [0, 1]; a new value applies from the next step on."""
        return self._student_loss_weight

    @student_loss_weight.setter
    def student_loss_weight(self, share: float) -> None:
        check_share(share)
        if share > 0 and self.compiled and self._compile_loss is None:
            raise ValueError(
                "`student_loss_weight` must be 0 for a distiller that was compiled without a `loss`. "
                f"Received: {share!r}. Compile it with the labels' loss first."
            )
        self._student_loss_weight = share
        with tf.init_scope():
            self._shares.assign([share, 1 - share])

    @property
    def _teacher_feature_extractor(self):
        return self.teacher and feature_extractor(self.teacher, self.loss_set.teacher_taps)

    @property
    def _student_feature_extractor(self):
        return feature_extractor(self.student, self.loss_set.student_taps)

    @property
    def students(self) -> list[keras.Model]:
        """The student in a list, for callbacks and stages."""
        return [self.student]

    @property
    def loss_sets(self) -> list[LossSet]:
        """The loss set in a list, for callbacks and stages."""
        return [self.loss_set]

    @property
    def _network(self):
        """The network that a step runs: the student, and anything that a scheme adds for training."""
        return self.student

    @property
    def teacher(self) -> keras.Model | None:
        """The teacher; None if there is none, or if a distiller loaded from a file still lacks it."""
        return self._reference.model

    @teacher.setter
    def teacher(self, teacher: keras.Model) -> None:
        check_model(teacher, "teacher")
        self._reference.check_replacement(teacher)
        self._attach(teacher)
        self._reference = TeacherReference(teacher)
        self.train_function = self.test_function = None

    def _attach(self, teacher):
        """Checks that the layers that the losses use exist, and builds the losses for them."""
        if teacher is not None:
            check_pair(teacher, self.student, self.resize_inputs)
            # A step is compiled as a whole, but Keras does not check the teacher's layers.
            self.supports_jit = all(layer.supports_jit for layer in flatten_layers(teacher))
            freeze(teacher)
        outputs = [
            loss for loss in self.distillation_losses if not (loss.teacher_layer or loss.student_layer)
        ]
        if teacher is not None and any(loss.uses_teacher for loss in outputs):
            check_outputs(teacher, self.student)
        if take_logits(outputs):
            for model, role in ((teacher, "teacher"), (self.student, "student")):
                if model is not None:
                    warn_of_probabilities(model, role)
        self.loss_set.bind(teacher, self._network)

    def call(self, inputs, training: bool | None = None, **kwargs):
        inputs = taken_by(self.student, caching.unpack(inputs).inputs)
        return self.student(self._fitting(self.student, inputs), training=training, **kwargs)

    def _fitting(self, model, inputs):
        """Images resized for a network, if `resize_inputs` is set."""
        return forward.resized(model, inputs) if self.resize_inputs else inputs

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | str | None = "adam",
        loss: Any = None,
        metrics: Any = None,
        jit_compile: bool | str = "auto",
        evaluate_teacher: bool = True,
        **kwargs,
    ) -> None:
        """Configures training as `keras.Model.compile` does.

        Args:
            optimizer: the optimizer of the student and of trained parts of the losses.
            loss: the labels' loss; may be None only if `student_loss_weight` is 0.
            metrics: metrics of the student's outputs.
            jit_compile: True, False, or "auto": XLA on an accelerator, but the plain graph on a CPU,
                where convolutions are faster without XLA.
            evaluate_teacher: whether `evaluate` and validation also run the teacher, so that
                `distillation_loss` and `total_loss` can be monitored; if not, `loss` is the labels' loss.
            **kwargs: passed to `keras.Model.compile`.

        Raises:
            ValueError: if a loss is needed but None is given, or if the labels' loss treats outputs as
                independent labels and a distillation loss treats them as one softmax.

        Warns:
            LogitsWarning: if the loss expects probabilities, but the student visibly returns logits.
        """
        if loss is None and self.student_loss_weight > 0:
            raise ValueError(
                "`loss` cannot be None while `student_loss_weight` is "
                f"{self.student_loss_weight}. Pass the labels' loss, or build the distiller with "
                "student_loss_weight=0.0 to train without labels."
            )
        check_with_labels_loss(self.teacher, self.distillation_losses, loss)
        self._evaluates_teacher = evaluate_teacher
        warn_of_logits(loss, self.student)
        if optimizer is not None and kwargs.get("auto_scale_loss", True):
            optimizer = with_loss_scaling(optimizer, self.student)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, jit_compile=jit_compile, **kwargs)

    def constants(self) -> tuple:
        share = self.student_loss_weight
        return share == 0, share == 1, self._evaluates_teacher, *super().constants()

    def export(self, filepath: str | os.PathLike, *args, **kwargs) -> None:
        """Exports the student, as `keras.Model.export` does."""
        self.student.export(filepath, *args, **kwargs)

    def get_config(self) -> dict:
        losses = [keras.saving.serialize_keras_object(loss) for loss in self.distillation_losses]
        return {
            "name": self.name,
            "teacher": self._reference.get_config(),
            "student": keras.saving.serialize_keras_object(self.student),
            "distillation_losses": losses,
            "distillation_loss_weights": list(self.distillation_loss_weights),
            "student_loss_weight": self.student_loss_weight,
            "resize_inputs": self.resize_inputs,
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        config = dict(config)
        if "teacher_fingerprint" in config:
            # The format of older files.
            known = config.pop("teacher_fingerprint")
            config["teacher"] = known and {"fingerprint": known}
        config["teacher"] = TeacherReference.from_config(config["teacher"])
        for key in ("student", "distillation_losses"):
            config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)

    def load_own_variables(self, store) -> None:
        own = {name: store[name] for name in store.keys()}  # noqa: SIM118
        if "0" in own and not self._own_variables:
            # Older files, without loss sets: the factors belonged to the distiller.
            self.loss_set.factors.assign(own.pop("0"))
        super().load_own_variables(own)

    @property
    def _own_variables(self):
        return [*self._trainable_variables, *self._non_trainable_variables]

    def train_step(self, data) -> dict:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        batch = caching.unpack(x)
        teacher = self.ask_teacher(batch, y)
        separate = isinstance(self.optimizer, DOT)
        with tf.GradientTape(persistent=separate) as tape:
            inputs = self._fitting(self._network, batch.inputs)
            student = forward.forward_pass(self._network, self.loss_set.student_taps, inputs, True, y)
            self.built = True
            distillation_loss = 0.0
            if self.student_loss_weight < 1:
                distillation_loss = self.loss_set.total(
                    teacher, student, labels=y, index=batch.index, sample_weight=sample_weight
                )
            of_labels, of_teacher = self.loss_terms(y, student.output, distillation_loss, sample_weight)
            loss = of_labels + of_teacher
            scaled = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        if separate:
            terms = of_labels, of_teacher
            gradients = (self.settled(tape.gradient(term, variables), variables) for term in terms)
            self.optimizer.apply_terms(*gradients, variables)
        else:
            self.update(self.settled(tape.gradient(scaled, variables), variables), variables)
        self._loss_tracker.update_state(loss * replicas(), sample_weight=batch_size(student.output))
        if y is None:
            return self.get_metrics_result()
        return self.compute_metrics(batch.inputs, y, student.output, sample_weight)

    def test_step(self, data) -> dict:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        batch = caching.unpack(x)
        compares = self._can_compare(batch, y)
        tapped = self.loss_set.student_taps if compares else []
        student = forward.forward_pass(
            self._network, tapped, self._fitting(self._network, batch.inputs), False, y
        )
        # Before the metrics: this updates the losses of single outputs.
        measured = self._evaluation_losses(batch, y, sample_weight, student, compares)
        if y is None and not compares:
            raise ValueError(
                "`y` is missing: without labels there is nothing to evaluate, since a distillation loss "
                "needs them or the teacher does not run (student_loss_weight=1, evaluate_teacher=False). "
                "Pass the labels."
            )
        for tracker, value in measured.items():
            tracker.update_state(value * replicas(), sample_weight=batch_size(student.output))
        if y is None:
            results = self.get_metrics_result()
        else:
            results = self.compute_metrics(batch.inputs, y, student.output, sample_weight)
        known = [*measured, *(self.loss_set.trackers if compares else [])]
        unknown = {self._loss_tracker, *self._training_trackers}.difference(known)
        left_out = {tracker.name for tracker in unknown}
        if not compares or self._loss_tracker in unknown:
            left_out.add("total_loss")
        if y is None and self._compile_metrics is not None:
            left_out.update(self._compile_metrics.result() if self._compile_metrics.built else ())
        return {name: value for name, value in results.items() if name not in left_out}

    def _evaluation_losses(self, batch, y, sample_weight, student, compares):
        """The losses that can be evaluated, by tracker; only the labels' loss without a teacher."""
        measured, labels_loss, share = {}, None, self.student_loss_weight
        if y is not None and self._compile_loss is not None:
            labels_loss = self.labels_loss(y, student.output, sample_weight)
            measured[self._student_loss_tracker] = labels_loss
        if compares:
            distillation_loss = self.loss_set.total(
                self.ask_teacher(batch, y),
                student,
                labels=y,
                index=batch.index,
                sample_weight=sample_weight,
                training=False,
            )
            if share == 0:
                measured[self._loss_tracker] = sum(self._terms(0.0, distillation_loss))
            elif labels_loss is not None:
                measured[self._loss_tracker] = sum(self._terms(labels_loss, distillation_loss))
        elif labels_loss is not None:
            measured[self._loss_tracker] = labels_loss + regularization(self.losses)
        return measured

    def _can_compare(self, batch, labels):
        """Whether evaluation has everything that the distillation losses need."""
        if not self._evaluates_teacher or self.student_loss_weight == 1:
            return False
        losses = self.loss_set
        if losses.uses_teacher:
            if batch.teacher_fingerprint is not None and not batch.has_taps(losses.teacher_taps):
                return False
            if batch.teacher_fingerprint is None and self.teacher is None:
                return False
        return not losses.lacks(labels=labels, index=batch.index)

    def get_metrics_result(self) -> dict:
        results = super().get_metrics_result()
        # Keras's distiller logs the loss under this name as well.
        results["total_loss"] = results["loss"]
        return results

    @property
    def _training_trackers(self):
        return [self._student_loss_tracker, *self.loss_set.trackers]

    def ask_teacher(self, batch, labels):
        """The teacher's output and taps, computed or cached; None if they are not used."""
        if not self.loss_set.uses_teacher or self.student_loss_weight == 1:
            return None
        if batch.teacher_fingerprint is not None:
            return forward.from_cache(batch, self.loss_set.teacher_taps, self._reference.fingerprint())
        if self._reference.awaited:
            raise ValueError(
                "The distiller has no teacher, since files do not hold teachers. Set distiller.teacher = "
                "teacher after loading."
            )
        inputs = self._fitting(self.teacher, batch.inputs)
        return forward.assert_finite(
            forward.forward_pass(self.teacher, self.loss_set.teacher_taps, inputs, False, labels)
        )

    def loss_terms(self, y, y_pred, distillation_loss, sample_weight):
        """The two terms of the loss to differentiate: labels and regularization, and distillation.

        Args:
            y: labels; None if they are not used.
            y_pred: the student's output for them.
            distillation_loss: the result of `loss_set.total`.
            sample_weight: weights of the examples, or None.

        Returns:
            Two float32 scalars: under `tf.distribute` this replica's share of them.
        """
        student_loss = 0.0
        if self.student_loss_weight > 0:
            if y is None:
                raise ValueError(
                    "`y` is missing: the student's loss needs labels. Pass them, or build the distiller "
                    "with student_loss_weight=0.0 to train without labels."
                )
            student_loss = self.labels_loss(y, y_pred, sample_weight)
        examples = batch_size(y_pred)
        self._student_loss_tracker.update_state(student_loss * replicas(), sample_weight=examples)
        return self._terms(student_loss, distillation_loss)

    def _terms(self, student_loss, distillation_loss):
        of_labels, of_teacher = tf.unstack(self._shares)
        of_labels = of_labels * student_loss + regularization(self.losses)
        return of_labels, of_teacher * distillation_loss / replicas()

    def settled(self, gradients, variables) -> list:
        """The gradients to apply; schemes may change them."""
        return gradients

    def update(self, gradients, variables):
        """One optimizer step; parts of losses that this step did not use are unchanged."""
        apply_gradients(self.optimizer, gradients, variables, self.loss_set.trainable_variables)
