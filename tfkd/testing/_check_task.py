"""The contract of tasks."""

from collections.abc import Collection
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfkd.losses import KnowledgeLoss
from tfkd.tasks import ClassTask, Task
from tfkd.testing._contract import check_clauses, expect, expect_close


def check_task(
    task: Task, teacher_outputs, student_outputs, *, labels=None, leave_out: Collection[str] = ()
) -> None:
    """Checks that a task fulfils the contract of `tfkd.tasks`.

    - "agreement": float32 values in [0, 1], one per example; 1 for equal outputs.
    - "divergence": float32 values of at least 0, one per example; 0 for equal outputs, with a gradient in
      the student's.
    - "precision": the same for half precision, up to rounding.
    - "compiled": the same in a graph of unknown batch size, and under XLA.
    - "one_example": finite values for a batch of one.
    - "extremes": finite values where outputs are 0, and where they are 10,000 or -10,000.
    - "targets": the requested number, the same for the same seed, with a finite loss.
    - "soft_loss": a `KnowledgeLoss` that is smaller for equal outputs than for different ones.
    - "constant": one output, and an agreement in [0, 1].
    - "words": a caption for each output, and a diagnosis that is a string or None.
    - "classes": groups, probabilities, confidence and shares, for a task with classes.
    - "labels": scores by name, and a loss and a metric that accept the labels, if labels are given.

    Args:
        task: the task, created for the shape of the outputs.
        teacher_outputs: float32 `(batch, *task.output_shape)`, at least three different examples.
        student_outputs: other outputs of the same shape.
        labels: true labels of the examples.
        leave_out: names of clauses that cannot hold for this task.

    Raises:
        AssertionError: at the first failing clause, with the reason.
        ValueError: if a clause to leave out does not exist.

    Example:
        >>> teacher, student = np.random.default_rng(0).normal(size=(2, 8, 5)).astype("float32")
        >>> check_task(tfkd.tasks.Classification((5,)), teacher, student, labels=np.arange(8) % 5)
    """
    teacher, student = (np.asarray(each, "float32") for each in (teacher_outputs, student_outputs))
    clauses = dict(_CLAUSES)
    if not task.has_classes:
        clauses.pop("classes")
    if labels is None:
        clauses.pop("labels")
    check_clauses(repr(task), _Subject(task, teacher, student, labels), clauses, leave_out)


class _Subject(NamedTuple):
    task: Task
    teacher: np.ndarray
    student: np.ndarray
    labels: Any

    @property
    def n(self):
        return len(self.teacher)


def _agreement(subject):
    task, teacher, student, _ = subject
    values = _per_example(task.agreement(teacher, student), subject.n, "agreement")
    expect(values.min() >= 0 and values.max() <= 1, f"agreement must be in [0, 1]. Received: {values}.")
    expect_close(task.agreement(teacher, teacher), np.ones(subject.n), "Equal outputs must agree.")


def _divergence(subject):
    task, teacher, student, _ = subject
    values = _per_example(task.divergence(teacher, student), subject.n, "divergence")
    expect(values.min() >= 0, f"divergence must be at least 0. Received: {values}.")
    expect(values.max() > 0, "divergence must be above 0 for different outputs.")
    same = np.asarray(task.divergence(teacher, teacher))
    expect_close(same, np.zeros(subject.n), "Equal outputs must not diverge.", atol=1e-4)
    watched = tf.constant(student)
    with tf.GradientTape() as tape:
        tape.watch(watched)
        total = tf.reduce_sum(task.divergence(teacher, watched))
    gradient = tape.gradient(total, watched)
    expect(gradient is not None, "divergence must have a gradient with respect to the student's outputs.")
    slope = np.asarray(gradient)
    expect(bool(np.isfinite(slope).all() and slope.any()), f"The gradient is {slope}.")


def _precision(subject):
    task, *outputs, _ = subject
    halves = [each.astype("float16") for each in outputs]
    rounded = [each.astype("float32") for each in halves]
    for name in ("agreement", "divergence"):
        compare = getattr(task, name)
        values = _per_example(compare(*map(tf.constant, halves)), subject.n, name)
        expect_close(values, compare(*rounded), f"{name} must be computed in float32.", rtol=1e-3)


def _compiled(subject):
    task, teacher, student, _ = subject
    spec = tf.TensorSpec((None, *teacher.shape[1:]), "float32")
    for name in ("agreement", "divergence"):
        compare = getattr(task, name)
        expected = np.asarray(compare(teacher, student))
        for jit_compile in (False, True):
            compiled = tf.function(compare, input_signature=[spec, spec], jit_compile=jit_compile)
            how = "under XLA" if jit_compile else "in a graph"
            expect_close(compiled(teacher, student), expected, f"{name} must be the same {how}.", 1e-3)


def _one_example(subject):
    task, teacher, student, _ = subject
    for name in ("agreement", "divergence"):
        _per_example(getattr(task, name)(teacher[:1], student[:1]), 1, name)
    expect_close(task.agreement(teacher[:1], teacher[:1]), [1.0], "One example agrees with itself.")


def _extremes(subject):
    task, teacher, student, _ = subject
    zeros, large = np.zeros_like(teacher), 1e4 * np.sign(student)
    for pair in ((zeros, zeros), (large, -large), (zeros, large), (large, zeros)):
        for name in ("agreement", "divergence"):
            _per_example(getattr(task, name)(*pair), subject.n, name)


def _targets(subject):
    task, teacher, student, _ = subject
    drawn = [
        np.asarray(task.draw_targets(subject.n, keras.random.SeedGenerator(1), teacher)) for _ in range(2)
    ]
    expect(len(drawn[0]) == subject.n, f"There must be {subject.n} targets. Received: {drawn[0].shape}.")
    expect(np.array_equal(drawn[0], drawn[1]), "The same seed must draw the same targets.")
    _per_example(task.target_loss(drawn[0], student), subject.n, "target_loss")


def _soft_loss(subject):
    task, teacher, student, _ = subject
    loss = task.soft_loss(2.0)
    expect(isinstance(loss, KnowledgeLoss), f"soft_loss must be a KnowledgeLoss. Received: {loss!r}.")
    same, different = (float(np.mean(loss(teacher, each))) for each in (teacher, student))
    expect(same < different, f"soft_loss must favour equal outputs. Received: {same} against {different}.")


def _constant(subject):
    constant = np.asarray(subject.task.constant(subject.teacher))
    shape = subject.teacher.shape[1:]
    expect(constant.shape == shape, f"constant must have shape {shape}. Received: {constant.shape}.")
    guess = subject.task.guess(subject.teacher)
    expect(0 <= guess <= 1, f"guess must be in [0, 1]. Received: {guess}.")


def _words(subject):
    captions = subject.task.captions(subject.teacher)
    fit = len(captions) == subject.n and all(isinstance(each, str) for each in captions)
    expect(fit, f"captions must be {subject.n} strings. Received: {captions!r}.")
    diagnosis = subject.task.diagnose(subject.teacher)
    expect(diagnosis is None or isinstance(diagnosis, str), f"diagnose returned {diagnosis!r}.")
    text = subject.task.agreement_text("97.5 %")
    expect("97.5 %" in text, f"agreement_text must contain the percentage. Received: {text!r}.")


def _classes(subject):
    task, teacher, *_ = subject
    expect(isinstance(task, ClassTask), "A task with `has_classes` must derive from ClassTask.")
    groups = np.asarray(task.group(teacher))
    inside = groups.shape == (subject.n,) and groups.min() >= 0 and groups.max() < task.groups
    expect(inside, f"group must be {subject.n} numbers below {task.groups}. Received: {groups}.")
    log_p = np.asarray(task.log_probabilities(teacher))
    fit = log_p.shape == (subject.n, task.classes) and log_p.dtype == "float32" and log_p.max() <= 0
    expect(fit, f"log_probabilities must be float32 (batch, classes), at most 0. Received: {log_p}.")
    confidence = _per_example(task.confidence(teacher), subject.n, "confidence")
    expect(confidence.min() >= 0 and confidence.max() <= 1, f"confidence is {confidence}, not in [0, 1].")
    shares = task.shares(teacher)
    expect(shares.shape == (task.groups,), f"shares must be ({task.groups},). Received: {shares.shape}.")
    accepted = task.check_targets(np.zeros(2), 2)
    expect(accepted.dtype == "int32", f"check_targets must return int32. Received: {accepted.dtype}.")
    try:
        task.check_targets(np.array([0, task.classes]), 2)
    except ValueError:
        return
    expect(False, f"check_targets must reject class {task.classes}.")


def _labels(subject):
    task, teacher, _, labels = subject
    labels = task.check_labels(labels, subject.n, "`labels`")
    scores = task.score(teacher, labels)
    fit = bool(scores) and all(isinstance(value, float) for value in scores.values())
    expect(fit, f"score must be floats by name. Received: {scores!r}.")
    expect(isinstance(task.is_chance(teacher, labels), bool), "is_chance must be True or False.")
    loss = float(np.mean(task.label_loss()(labels, teacher)))
    metric = task.metric()
    metric.update_state(labels, teacher)
    expect(bool(np.isfinite([loss, float(metric.result())]).all()), "label_loss and metric must be finite.")
    try:
        task.check_labels(labels, subject.n + 1, "`labels`")
    except ValueError as error:
        expect("`labels`" in str(error), f"check_labels must name its argument. Received: {error}")
        return
    expect(False, "check_labels must reject labels for fewer examples.")


def _per_example(values, n, name):
    values = np.asarray(values)
    fit = values.shape == (n,) and values.dtype == "float32"
    expect(fit, f"{name} must be float32 ({n},). Received: {values.dtype} {values.shape}.")
    expect(bool(np.isfinite(values).all()), f"{name} must be finite. Received: {values}.")
    return values


_CLAUSES = {
    "agreement": _agreement,
    "divergence": _divergence,
    "precision": _precision,
    "compiled": _compiled,
    "one_example": _one_example,
    "extremes": _extremes,
    "targets": _targets,
    "soft_loss": _soft_loss,
    "constant": _constant,
    "words": _words,
    "classes": _classes,
    "labels": _labels,
}
