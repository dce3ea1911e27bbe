"""Distiller: teacher forward, one student forward, losses, update."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfkd import names, taps
from tfkd.losses import KnowledgeLoss


class Distiller(keras.Model):
    """Trains a student on labels and on a teacher's knowledge.

    Total loss: `student_loss_weight * student_loss + (1 - student_loss_weight) * sum of weighted
    distillation losses`, plus the student's own regularization losses. The teacher runs in
    inference mode outside the gradient tape, is never changed, and is not part of what `save_weights`
    writes. `evaluate`, `predict` and calling the distiller run the student alone.

    Args:
        teacher: a trained `keras.Model`.
        student: the `keras.Model` to train, with the teacher's input and output shapes.
        distillation_losses: one `tfkd.losses` object or a list of them.
        distillation_loss_weights: one weight for each loss; None for 1 each.
        student_loss_weight: weight of the labels' loss, in [0, 1]; 0 needs no labels.
        name: name of the model.
        **kwargs: passed to `keras.Model`.

    Raises:
        TypeError: if teacher or student is no Keras model, or a loss no knowledge loss.
        ValueError: if shapes disagree, weights are out of range, or a tapped layer does not exist.

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
        teacher: keras.Model,
        student: keras.Model,
        distillation_losses: KnowledgeLoss | Sequence[KnowledgeLoss],
        distillation_loss_weights: Sequence[float] | None = None,
        student_loss_weight: float = 0.5,
        name: str = "distiller",
        **kwargs,
    ) -> None:
        super().__init__(name=name, **kwargs)
        _check_models(teacher, student)
        if not 0 <= student_loss_weight <= 1:
            raise ValueError(
                "`student_loss_weight` must be between 0 (no labels) and 1 (labels only). "
                f"Received: student_loss_weight={student_loss_weight!r}."
            )
        # A tuple's items are not tracked, and __dir__ hides the property, so the teacher stays out
        # of the variables and of every file that Keras writes.
        object.__setattr__(self, "_untracked", (teacher,))
        self.student = student
        self.student_loss_weight = student_loss_weight
        self.distillation_losses = _as_losses(distillation_losses)
        self.distillation_loss_weights = _as_weights(distillation_loss_weights, self.distillation_losses)
        self._teacher_taps = [d.teacher_layer for d in self.distillation_losses if d.teacher_layer]
        self._student_taps = [d.student_layer for d in self.distillation_losses if d.student_layer]
        for model, tapped in ((teacher, self._teacher_taps), (student, self._student_taps)):
            for tap in tapped:
                taps.resolve(model, tap)
        self._student_loss_tracker = keras.metrics.Mean(name="student_loss")
        self._distillation_loss_tracker = keras.metrics.Mean(name="distillation_loss")
        component_names = names.numbered([loss.name for loss in self.distillation_losses])
        self._component_trackers = [keras.metrics.Mean(name=name) for name in component_names]
        self.built = student.built

    def __dir__(self):
        return [name for name in super().__dir__() if name not in ("teacher", "_untracked")]

    @property
    def teacher(self) -> keras.Model:
        """The teacher, used as it is."""
        return self._untracked[0]

    def call(self, inputs, training=None):
        return self.student(inputs, training=training)

    def compile(self, optimizer="adam", loss=None, metrics=None, jit_compile="auto", **kwargs):
        """Configures training as `keras.Model.compile` does.

        Args:
            optimizer: optimizer of the student.
            loss: the labels' loss; may be None only where `student_loss_weight` is 0.
            metrics: metrics of the student's outputs.
            jit_compile: True, False, or "auto": XLA on an accelerator, the plain graph on a CPU,
                where convolutions are faster without XLA.
            **kwargs: passed to `keras.Model.compile`.

        Raises:
            ValueError: if a loss is needed and None is given.
        """
        if loss is None and self.student_loss_weight > 0:
            raise ValueError(
                "`loss` cannot be None while `student_loss_weight` is "
                f"{self.student_loss_weight}. Give the labels' loss, or build the distiller with "
                "student_loss_weight=0.0 to train without labels."
            )
        if optimizer is not None and kwargs.get("auto_scale_loss", True):
            optimizer = with_loss_scaling(optimizer, self.student)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, jit_compile=jit_compile, **kwargs)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        # Keras leaves random states out of weight files; without them no run resumes exactly.
        if self._random_states:
            store["random_states"] = np.stack([state.numpy() for state in self._random_states])

    def load_own_variables(self, store):
        own = {name: store[name] for name in store.keys() if name != "random_states"}  # noqa: SIM118
        super().load_own_variables(own)
        if self._random_states:
            for state, value in zip(self._random_states, store["random_states"], strict=True):
                state.assign(value)

    @property
    def _random_states(self):
        """Where random numbers come from: the student's dropout, a data-free distiller's own."""
        return [v for v in self.variables if v.path.endswith("seed_generator_state")]

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        teacher_output, teacher_seen = self._run(self.teacher, self._teacher_taps, x, False)
        with tf.GradientTape() as tape:
            y_pred, student_seen = self._run(self.student, self._student_taps, x, True)
            distillation_loss = self._distill(
                teacher_output, teacher_seen, y_pred, student_seen, sample_weight
            )
            loss = self._total_loss(y, y_pred, distillation_loss, sample_weight)
            scaled = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(scaled, variables), variables, strict=True))
        self._loss_tracker.update_state(loss, sample_weight=ops.shape(y_pred)[0])
        if y is None:
            return self.get_metrics_result()
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        y_pred = self.student(x, training=False)
        results = self.compute_metrics(x, y, y_pred, sample_weight)
        for tracker in self._training_trackers:
            results.pop(tracker.name)
        if self._compile_loss is None:
            del results["loss"]
            return results
        loss = self._compile_loss(y, y_pred, sample_weight) + self._regularization()
        self._loss_tracker.update_state(loss, sample_weight=ops.shape(y_pred)[0])
        return {**results, "loss": self._loss_tracker.result()}

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

    def _run(self, model, tapped, x, training):
        with taps.record(model, tapped) as seen:
            return model(x, training=training), seen

    def _distill(self, teacher_output, teacher_seen, student_output, student_seen, sample_weight):
        """Weighted sum of the distillation losses, each reduced as Keras reduces losses."""
        total = 0.0
        for loss, weight, tracker in zip(
            self.distillation_losses,
            self.distillation_loss_weights,
            self._component_trackers,
            strict=True,
        ):
            values = loss(
                teacher_seen[loss.teacher_layer] if loss.teacher_layer else teacher_output,
                student_seen[loss.student_layer] if loss.student_layer else student_output,
            )
            if sample_weight is not None:
                values = values * ops.cast(sample_weight, values.dtype)
            value = ops.mean(values)
            tracker.update_state(value, sample_weight=ops.shape(student_output)[0])
            total += weight * value
        return total

    def _total_loss(self, y, y_pred, distillation_loss, sample_weight):
        student_loss = 0.0
        if self.student_loss_weight > 0:
            if y is None:
                raise ValueError(
                    "`y` is missing: there are no labels for the student's loss. Give them, or build the "
                    "distiller with student_loss_weight=0.0 to train without."
                )
            student_loss = self._compile_loss(y, y_pred, sample_weight)
        batch = ops.shape(y_pred)[0]
        self._student_loss_tracker.update_state(student_loss, sample_weight=batch)
        self._distillation_loss_tracker.update_state(distillation_loss, sample_weight=batch)
        share = self.student_loss_weight
        return share * student_loss + (1 - share) * distillation_loss + self._regularization()

    def _regularization(self):
        return sum(ops.cast(loss, "float32") for loss in self.losses)


def with_loss_scaling(optimizer, model: keras.Model) -> keras.optimizers.Optimizer:
    """The optimizer, scaling its loss if the model it trains computes in float16.

    Keras goes by the policy of the model that is fitted, which here is not the one that is trained.
    """
    optimizer = keras.optimizers.get(optimizer)
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if scaled or model.dtype_policy.name != "mixed_float16":
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)


def _check_models(teacher, student):
    for role, model in (("teacher", teacher), ("student", student)):
        if not isinstance(model, keras.Model):
            raise TypeError(
                f"`{role}` must be a keras.Model. Received: {model!r} of type {type(model)}. Load "
                "files with tfkd.load_teacher or keras.models.load_model."
            )
    fixed = {id(variable) for variable in teacher.variables}
    if any(id(variable) in fixed for variable in student.trainable_variables):
        raise ValueError(
            "`student` shares trainable weights with `teacher`, which must not change. Build the student "
            "on layers of its own, such as those of keras.models.clone_model(teacher)."
        )
    for what in ("input", "output"):
        shapes = [_shape(model, what) for model in (teacher, student)]
        if None in shapes:
            continue
        if len(shapes[0]) != len(shapes[1]) or any(
            t is not None and s is not None and t != s for t, s in zip(*shapes, strict=True)
        ):
            remedy = (
                "Give the student one output per class of the teacher."
                if what == "output"
                else "Build the student with the teacher's input shape."
            )
            raise ValueError(
                f"`teacher` and `student` must have the same {what} shape. Received: teacher "
                f"{shapes[0]}, student {shapes[1]}. {remedy}"
            )


def _shape(model, what):
    """The model's only input or output shape; None where it has no single known one."""
    try:
        shape = getattr(model, f"{what}_shape")
    except (AttributeError, ValueError):
        return None
    return shape if isinstance(shape, tuple) and None in shape[:1] else None


def _as_losses(losses):
    losses = list(losses) if isinstance(losses, (list, tuple)) else [losses]
    for loss in losses:
        if not isinstance(loss, KnowledgeLoss):
            raise TypeError(
                "`distillation_losses` must be a tfkd.losses object or a list of them. Received: "
                f"{loss!r} of type {type(loss)}."
            )
    if not losses:
        raise ValueError(
            "`distillation_losses` is empty. Give at least one, such as tfkd.losses.SoftTargets()."
        )
    return losses


def _as_weights(weights, losses):
    weights = [1.0] * len(losses) if weights is None else list(weights)
    if len(weights) != len(losses):
        raise ValueError(
            "`distillation_loss_weights` must have one weight for each of the "
            f"{len(losses)} losses. Received: {weights!r}."
        )
    if not all(0 <= weight < float("inf") for weight in weights):
        raise ValueError(
            f"`distillation_loss_weights` must be finite and at least 0. Received: {weights!r}."
        )
    return weights
