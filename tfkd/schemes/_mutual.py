"""MutualDistiller: networks that teach each other during training."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops
from typing_extensions import Self

from tfkd._core.copies import clone
from tfkd._core.keras_internals import mask_of, with_mask
from tfkd._core.named_inputs import taken_by
from tfkd.distilling import DistillationModel, ForwardResult, LossSet, forward_pass, unpack
from tfkd.distilling._arguments import as_losses
from tfkd.distilling._compatibility import (
    check_model,
    check_outputs,
    check_pair,
    check_scope,
    warn_of_logits,
    warn_of_probabilities,
)
from tfkd.distilling._steps import (
    apply_gradients,
    batch_size,
    regularization,
    replicas,
    with_loss_scaling,
)
from tfkd.distilling._task_losses import check_with_labels_loss, losses_for, take_logits
from tfkd.losses import KnowledgeLoss, SoftTargets
from tfkd.optimizers import DOT, OptimizerGroup
from tfkd.schemes._named_metrics import NamedMetrics

Losses = KnowledgeLoss | Sequence[KnowledgeLoss]


@keras.saving.register_keras_serializable(package="tfkd")
class MutualDistiller(DistillationModel):
    """Trains networks that learn from labels and from each other: deep mutual learning (DML).

    Each of K students minimizes `labels' loss + sum of weighted losses / (K - 1)`, the sum over its peers
    as teachers (without gradients through them), with its own optimizer. Calling the model, `predict`, and
    metrics named as in `compile` use the ensemble, the mean of the students' outputs; `student_0_accuracy`
    and so on are for the students.

    It needs data: data-free training depends on a trained teacher, and here no network is trained yet.

    Args:
        students: two or more networks with the same input and output shapes, of any architecture.
        loss: one knowledge loss or a list of them, copied for each pair of a student and a peer; or a
            function of `(peer, student)` that creates them, for networks with different layer names. None
            for `tfkd.losses.SoftTargets(1)`, the paper's.
        loss_weights: one weight of at least 0 for each loss; None for 1 each, the paper's.
        together: whether all students are updated from their outputs at the beginning of the step, which
            takes one forward pass each. Otherwise they are updated one after another, as in the paper's
            algorithm 1: for a student, earlier peers are already updated; peers then run in inference mode,
            and a step takes nearly three passes each.
        name: name of the model.
        **kwargs: passed to `keras.Model`.

    Attributes:
        students: the networks, in order.
        student: the first of them, which `export` exports.
        loss_sets: one for each student and each of its peers, grouped by student.

    Raises:
        TypeError: if a loss is not a knowledge loss.
        ValueError: if there are fewer than two students, two of them share weights, or their shapes differ.

    Warns:
        LogitsWarning: if a loss that expects logits is visibly given probabilities.

    Example:
        >>> distiller = tfkd.schemes.MutualDistiller([small, other])
        >>> distiller.compile(keras.optimizers.SGD(0.1, 0.9), loss=labels_loss, metrics=["accuracy"])
        >>> distiller.fit(x_train, y_train, epochs=20, validation_data=(x_val, y_val))
        >>> distiller.students[0].save("student.keras")

    Reference:
        Zhang et al., "Deep Mutual Learning", 2018. Deviation: divergences come from logits in float32,
        whereas the authors' code adds 1e-8 in the logarithm.
    """

    def __init__(
        self,
        students: Sequence[keras.Model],
        loss: Losses | Callable[[keras.Model, keras.Model], Losses] | None = None,
        loss_weights: Sequence[float] | None = None,
        together: bool = True,
        name: str = "mutual_distiller",
        **kwargs,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.students = _checked(students)
        self.together = together
        loss = SoftTargets(1.0) if loss is None else loss
        self._pairs = [(i, j) for i in range(len(students)) for j in range(len(students)) if i != j]
        self.loss_sets = [self._loss_set(i, j, loss, loss_weights) for i, j in self._pairs]
        self._warn_of_probabilities()
        self._of_students = NamedMetrics([f"student_{i}" for i, _ in enumerate(self.students)])
        self.built = True

    @property
    def student(self) -> keras.Model:
        """The first of the students."""
        return self.students[0]

    def _loss_set(self, i, j, loss, weights):
        """The losses of student i with peer j."""
        student, peer = self.students[i], self.students[j]
        # A loss is also callable, and a class of losses is not a function of networks.
        is_function = callable(loss) and not isinstance(loss, KnowledgeLoss | type)
        made = loss(peer, student) if is_function else loss
        made = [clone(each) for each in as_losses(made, student_loss_weight=0.5)]
        made = losses_for(peer, student, made)
        if any(not (each.teacher_layer or each.student_layer) for each in made):
            check_outputs(peer, student)
        loss_set = LossSet(made, weights, prefix=f"student_{i}_", name=f"losses_{i}_from_{j}")
        loss_set.bind(peer, student)
        return loss_set

    def _warn_of_probabilities(self):
        if any(take_logits(each.knowledge_losses) for each in self.loss_sets):
            for student in self.students:
                warn_of_probabilities(student, "student")

    def call(self, inputs, training: bool | None = None):
        """The mean of the students' outputs."""
        inputs = unpack(inputs).inputs
        return _mean([student(taken_by(student, inputs), training=training) for student in self.students])

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        metrics: Any = None,
        jit_compile: bool | str = "auto",
        **kwargs,
    ) -> None:
        """Configures training as `keras.Model.compile` does.

        Args:
            optimizer: a Keras optimizer, or its name, copied for each student; or a list with one for each
                student. Callbacks that set the learning rate set it for all, in the given proportions.
            loss: the labels' loss.
            metrics: metrics of the ensemble and, under `student_0_...`, of each student.
            jit_compile: True, False, or "auto": XLA on an accelerator, the plain graph on a CPU.
            **kwargs: passed to `keras.Model.compile`.

        Raises:
            TypeError: for `tfkd.optimizers.DOT`, which is for one student.
            ValueError: if there is no `loss`, the number of optimizers is not the number of students, or
                the loss treats outputs as independent labels but a knowledge loss as one softmax.

        Warns:
            LogitsWarning: if the loss expects probabilities and the students visibly return logits.
        """
        if loss is None:
            raise ValueError("`loss` is missing: give the labels' loss, which every student minimizes.")
        for student in self.students:
            warn_of_logits(loss, student)
        for each, (_, j) in zip(self.loss_sets, self._pairs, strict=True):
            check_with_labels_loss(self.students[j], each.knowledge_losses, loss)
        optimizers = self._one_for_each(optimizer, kwargs.get("auto_scale_loss", True))
        kwargs["auto_scale_loss"] = False
        group = OptimizerGroup(optimizers)
        super().compile(group, loss, metrics=metrics, jit_compile=jit_compile, **kwargs)
        self._of_students.compile(metrics, kwargs.get("weighted_metrics"))
        self.build_optimizer()

    def _one_for_each(self, optimizer, scaled):
        if isinstance(optimizer, DOT):
            raise TypeError(
                "`optimizer`: tfkd.optimizers.DOT splits the momentum of one student of tfkd.Distiller. "
                f"Received: {optimizer!r}. Give the SGD it wraps."
            )
        if isinstance(optimizer, OptimizerGroup):
            # As stored in a file.
            optimizer = optimizer.members
        if not isinstance(optimizer, list | tuple):
            optimizer = [clone(keras.optimizers.get(optimizer)) for _ in self.students]
        if len(optimizer) != len(self.students) or len({id(each) for each in optimizer}) < len(optimizer):
            raise ValueError(
                f"`optimizer` must be one optimizer, or a list of {len(self.students)} different ones, one "
                f"for each student. Received: {optimizer!r}."
            )
        optimizers = [keras.optimizers.get(each) for each in optimizer]
        if not scaled:
            return optimizers
        pairs = zip(optimizers, self.students, strict=True)
        return [with_loss_scaling(each, student) for each, student in pairs]

    def build_optimizer(self) -> None:
        if not self.optimizer.built and all(each.parts_built for each in self.loss_sets):
            with self.distribute_strategy.scope():
                self.optimizer.build([self._trained(i) for i in range(len(self.students))])

    def _sets(self, i):
        """The loss sets of student i and the indices of the peers they belong to."""
        return [(each, j) for each, (k, j) in zip(self.loss_sets, self._pairs, strict=True) if k == i]

    def _trained(self, i):
        """The variables that the optimizer of student i trains."""
        parts = [variable for each, _ in self._sets(i) for variable in each.trainable_variables]
        return [*self.students[i].trainable_variables, *parts]

    def train_step(self, data) -> dict:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        batch, context = _batch_and_context(x, y, sample_weight)
        step = self._step_together if self.together else self._step_in_turn
        outputs, totals = step(batch.inputs, context)
        self._loss_tracker.update_state(_mean(totals) * replicas(), sample_weight=batch_size(outputs[0]))
        return self.compute_metrics(batch.inputs, y, outputs, sample_weight)

    def _step_together(self, inputs, context):
        """Updates all students after one forward pass each."""
        with tf.GradientTape() as tape:
            passes = [self._pass(i, inputs, True, context["labels"]) for i in range(len(self.students))]
            fixed = [each.fixed() for each in passes]
            totals = [self._total(i, passes[i], fixed, context) for i in range(len(passes))]
            # The outputs of others are constant, so a student's gradients come from its own loss alone.
            pairs = zip(self.optimizer.members, totals, strict=True)
            scaled = ops.sum([own.scale_loss(total) for own, total in pairs])
        trained = [self._trained(i) for i in range(len(self.students))]
        gradients = iter(tape.gradient(scaled, [variable for own in trained for variable in own]))
        for i, own in enumerate(trained):
            self._update(i, [next(gradients) for _ in own])
        return [each.output for each in passes], totals

    def _step_in_turn(self, inputs, context):
        """Updates the students one after another, each with the outputs of the already updated ones."""
        labels = context["labels"]
        last = len(self.students) - 1
        # The first one's output is not needed before its update, nor the last one's after it.
        answers = {i: self._pass(i, inputs, False, labels).fixed() for i in range(1, last + 1)}
        outputs, totals = [], []
        for i in range(last + 1):
            with tf.GradientTape() as tape:
                passed = self._pass(i, inputs, True, labels)
                total = self._total(i, passed, answers, context)
                scaled = self.optimizer.members[i].scale_loss(total)
            self._update(i, tape.gradient(scaled, self._trained(i)))
            if i < last:
                answers[i] = self._pass(i, inputs, False, labels).fixed()
            outputs.append(passed.output)
            totals.append(total)
        return outputs, totals

    def _pass(self, i, inputs, training, labels) -> ForwardResult:
        """The output of student i, and everything that it and its peers tap in it."""
        tapped = [tap for each, _ in self._sets(i) for tap in each.student_taps]
        pairs = zip(self.loss_sets, self._pairs, strict=True)
        tapped += [tap for each, (_, j) in pairs if j == i for tap in each.teacher_taps]
        return forward_pass(self.students[i], list(dict.fromkeys(tapped)), inputs, training, labels)

    def _total(self, i, passed, answers, context, training=True):
        """The loss of student i; under `tf.distribute`, this replica's part of it."""
        labels, sample_weight = context["labels"], context["sample_weight"]
        of_labels = self.labels_loss(labels, passed.output, sample_weight)
        learned = [
            each.total(answers[j], passed, training=training, **context) for each, j in self._sets(i)
        ]
        return of_labels + _mean(learned) / replicas() + regularization(self.students[i].losses)

    def _update(self, i, gradients):
        parts = [v for each, _ in self._sets(i) for v in each.trainable_variables]
        apply_gradients(self.optimizer.members[i], gradients, self._trained(i), parts)

    def test_step(self, data) -> dict:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        batch, context = _batch_and_context(x, y, sample_weight)
        passes = [self._pass(i, batch.inputs, False, y) for i in range(len(self.students))]
        totals = [self._total(i, passes[i], passes, context, training=False) for i in range(len(passes))]
        self._loss_tracker.update_state(
            _mean(totals) * replicas(), sample_weight=batch_size(passes[0].output)
        )
        return self.compute_metrics(batch.inputs, y, [each.output for each in passes], sample_weight)

    def compute_metrics(self, x, y, y_pred, sample_weight=None) -> dict:
        """Updates the metrics of the ensemble and of each student.

        Args:
            x: inputs.
            y: labels; None if Keras builds metrics without them.
            y_pred: the outputs of each student; a single tensor if Keras builds the metrics.
            sample_weight: weights of the examples, or None.

        Returns:
            All current values, by name.
        """
        outputs = y_pred if isinstance(y_pred, list) else [y_pred] * len(self.students)
        each = zip(self._of_students.outputs, outputs, strict=True)
        if y is not None:
            self._of_students.update_state(y, dict(each), sample_weight)
        return super().compute_metrics(x, y, _mean(outputs), sample_weight)

    def get_metrics_result(self) -> dict:
        results = super().get_metrics_result()
        # A student has one loss of each name per peer.
        named: dict[str, list] = {}
        for metric in (tracker for each in self.loss_sets for tracker in each.trackers):
            named.setdefault(metric.name, []).append(metric.result())
        return {**results, **{name: _mean(values) for name, values in named.items()}}

    def export(self, filepath, *args, **kwargs) -> None:
        """Exports the first student, as `keras.Model.export` does."""
        self.student.export(filepath, *args, **kwargs)

    def get_config(self) -> dict:
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "students": [serialize(student) for student in self.students],
            "loss": [[serialize(loss) for loss in each.knowledge_losses] for each in self.loss_sets],
            "loss_weights": list(self.loss_sets[0].weights_of_losses),
            "together": self.together,
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        deserialize = keras.saving.deserialize_keras_object
        students = [deserialize(student) for student in config["students"]]
        # In the order of the constructor's checks.
        saved = iter([[deserialize(loss) for loss in losses] for losses in config["loss"]])
        return cls(**{**config, "students": students, "loss": lambda peer, student: next(saved)})


def _checked(students):
    students = list(students)
    if len(students) < 2:
        raise ValueError(
            f"`students` must be at least two networks that teach each other. Received: {len(students)}. "
            "For one network with a teacher, use tfkd.Distiller."
        )
    for i, student in enumerate(students):
        check_model(student, f"students[{i}]")
        check_scope(student, f"students[{i}]")
        if not student.built:
            raise ValueError(
                f"`students[{i}]` {student.name!r} is not built. Call it on an input, or build it."
            )
        for other in students[:i]:
            check_pair(other, student)
            check_outputs(other, student)
    return students


def _batch_and_context(x, y, sample_weight):
    """The inputs of a batch, and what losses may use besides the networks' outputs."""
    batch = unpack(x)
    if batch.teacher_fingerprint is not None:
        raise ValueError(
            "The data set contains a teacher's outputs, but these students teach each other. Train on the "
            "data set without tfkd.cache_teacher."
        )
    if y is None:
        raise ValueError("`y` is missing: students that teach each other also learn from labels.")
    return batch, {"labels": y, "index": batch.index, "sample_weight": sample_weight}


def _mean(values):
    """The mean of several tensors, or structures of them, in float32, with the mask of the first."""

    def mean(*each):
        total = sum(ops.cast(value, "float32") for value in each) / len(each)
        return with_mask(total, mask_of(each[0]))

    return keras.tree.map_structure(mean, *values)
