"""The contract of losses."""

import json
from collections.abc import Callable, Collection
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from tfkd.losses import KnowledgeLoss
from tfkd.testing._contract import check_clauses, expect, expect_close
from tfkd.testing._loss_calls import Inputs, Subject, with_gradients

_PADDING, _DIRECTIONS = 3, 4


def check_loss(
    loss: KnowledgeLoss | Callable[[Any, Any], Any],
    teacher,
    student,
    *,
    labels=None,
    index=None,
    oracle: Callable[[Any, Any], Any] | None = None,
    leave_out: Collection[str] = (),
) -> None:
    """Checks that a loss fulfils the contract of `tfkd.losses`.

    A `KnowledgeLoss` must pass all clauses, a function of `(teacher, student)` the first seven:

    - "precision": float32 values for inputs of any precision: a scalar, or one value per example or
      position.
    - "values": equal to the oracle's, if there is one.
    - "gradient": with respect to the student's values, equal to finite differences.
    - "compiled": the same values and gradients in a graph of unknown batch size, and under XLA.
    - "one_example": finite values and gradients of a batch of one.
    - "extremes": finite values and gradients where all is 0, and where all is 10,000 or -10,000.
    - "not_finite": NaN raises an error eagerly, as in `tfkd.losses.as_float32`.
    - "padding": sequences `(batch, positions, channels)` give the same values when padded.
    - "sample_weight": for a scalar loss, an example of weight w counts as w copies.
    - "training": all trainable parts get a gradient.
    - "configuration": a loss rebuilt from `get_config()` is equal; its class must be registered with
      `keras.saving.register_keras_serializable`.

    Args:
        loss: a loss object, with non-default options so that "configuration" can detect a missing one, or a
            function.
        teacher: values to compare, float32 `(batch, ...)` with at least two examples, of ordinary size;
            a list of arrays for several layers.
        student: the same for the student.
        labels: labels of the examples or positions, if the loss needs them.
        index: int `(batch,)`, indices of the examples in a data set, if the loss needs them.
        oracle: a NumPy reference implementation: a function of `(teacher, student)` in float64.
        leave_out: names of clauses that cannot hold for this loss.

    Raises:
        AssertionError: at the first failing clause, with the reason.
        ValueError: if a clause to leave out does not exist.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> teacher, student = rng.normal(size=(2, 6, 8, 5)).astype("float32")
        >>> tfkd.testing.check_loss(tfkd.losses.Hint("a", "b", projector=True), teacher, student)
    """
    subject = Subject(loss, Inputs(teacher, student, labels, index), oracle)
    known = _CLAUSES if subject.is_layer else _OF_FUNCTIONS
    name = loss.name if subject.is_layer else getattr(loss, "__name__", repr(loss))
    try:
        check_clauses(name, subject, known, leave_out)
    finally:
        subject.restore()


def _expect_finite(value, gradients, when):
    expect(np.isfinite(value).all(), f"Values must be finite {when}. Received: {np.asarray(value)}.")
    finite = all(np.isfinite(g).all() for g in gradients if g is not None)
    expect(finite, f"Gradients by the student's values must be finite {when}.")


def _precision(subject):
    for dtype in ("float32", "float16", "bfloat16"):
        inputs = subject.inputs.with_features(lambda x, dtype=dtype: tf.cast(x, dtype))
        value, _ = subject.run(inputs)
        expect(
            value.dtype == "float32", f"Values of {dtype} must be float32. Received: {value.dtype.name}."
        )
        expect(np.isfinite(value).all(), f"Values of {dtype} must be finite. Received: {value.numpy()}.")
    whole = tree.flatten(subject.inputs.student)[0].shape
    expect(
        value.shape == whole[: len(value.shape)] and len(value.shape) < len(whole),
        "Values must be a scalar, or one for each example or position. Received: shape "
        f"{tuple(value.shape)} for a student of shape {whole}.",
    )


def _values(subject):
    if subject.oracle is not None:
        inputs = subject.inputs.with_features(lambda x: x.astype("float64"))
        expected = subject.oracle(inputs.teacher, inputs.student)
        value, _ = subject.run()
        expect_close(value, expected, "Values must equal the oracle's.", rtol=2e-5, atol=2e-6)


def _gradient(subject):
    value, gradients = subject.run()
    expect(all(g is not None for g in gradients), "There must be a gradient by the student's values.")
    _expect_finite(value, gradients, "for ordinary values")
    # In float32, small differences lose precision, and larger ones cross kinks.
    sizes, rtol, atol = ((1e-5,), 2e-3, 1e-4) if subject.oracle else ((1e-2, 1e-3, 1e-1), 3e-2, 1e-3)
    atol *= max(1.0, np.abs(value).max())
    rng = np.random.default_rng(0)
    for _ in range(_DIRECTIONS):
        directions = [rng.normal(size=g.shape) for g in gradients]
        slope = sum(float((g.numpy() * d).sum()) for g, d in zip(gradients, directions, strict=True))
        differences = []
        for size in sizes:
            differences.append(_difference(subject, directions, size))
            if np.isclose(slope, differences[-1], rtol, atol):
                break
        else:
            differences = ", ".join(f"{difference:.6g}" for difference in differences)
            expect(
                False,
                "The gradient by the student's values must be that of the values. Received: slope "
                f"{slope:.6g} in a direction in which differences of the values give {differences}.",
            )


def _difference(subject, directions, size):
    """The directional derivative of the sum of the values, by differences."""
    inputs, sums = subject.inputs, []
    for sign in (1, -1):
        moved = [x + sign * size * d for x, d in zip(tree.flatten(inputs.student), directions, strict=True)]
        student = tree.pack_sequence_as(inputs.student, moved)
        if subject.oracle:
            teacher = tree.map_structure(lambda x: x.astype("float64"), inputs.teacher)
            sums.append(subject.oracle(teacher, student).sum())
        else:
            student = tree.map_structure(lambda x: x.astype("float32"), student)
            sums.append(float(np.sum(subject.run(inputs._replace(student=student))[0], dtype="float64")))
    return (sums[0] - sums[1]) / (2 * size)


def _compiled(subject):
    expected = subject.run()
    unknown = subject.inputs.each(lambda x: tf.TensorSpec((None, *x.shape[1:]), x.dtype))
    for how, jit_compile in (("in a graph", False), ("under XLA", True)):
        step = tf.function(lambda inputs: with_gradients(subject.values, inputs), jit_compile=jit_compile)
        step = step.get_concrete_function(unknown)
        subject.restore()
        compiled = step(subject.inputs.each(tf.convert_to_tensor))
        for received, eager in zip(tree.flatten(compiled), tree.flatten(expected), strict=True):
            # A missing gradient is reported by "gradient".
            if eager is not None:
                expect_close(received, eager, f"Values and gradients {how} must be those of eager calls.")


def _one_example(subject):
    _expect_finite(*subject.run(subject.inputs.each(lambda x: x[:1])), when="for a batch of one")


def _extremes(subject):
    for what, change in (("0", np.zeros_like), ("10,000 or -10,000", lambda x: 1e4 * np.sign(x))):
        inputs = subject.inputs.with_features(change)
        _expect_finite(*subject.run(inputs), when=f"where all of teacher and student is {what}")


def _not_finite(subject):
    def spoiled(x):
        return np.concatenate([np.full_like(x[:1], np.nan), x[1:]])

    student = tree.map_structure(spoiled, subject.inputs.student)
    try:
        subject.run(subject.inputs._replace(student=student))
    except ValueError:
        return
    expect(False, "NaN in the student's values must raise a ValueError, as tfkd.losses.as_float32 does.")


def _padding(subject):
    inputs = subject.inputs
    features = tree.flatten((inputs.teacher, inputs.student))
    if any(len(x.shape) != 3 for x in features):
        return
    n, positions = features[-1].shape[:2]
    rng = np.random.default_rng(1)

    def longer(x):
        return np.pad(x, [(0, 0), (0, _PADDING), *[(0, 0)] * (len(x.shape) - 2)])

    def refilled(mask):
        """The inputs with other numbers at masked positions."""
        return padded.with_features(
            lambda x: np.where(mask[..., None], x, rng.normal(0, 10, x.shape)).astype("float32")
        )

    labels = inputs.labels
    if labels is not None and labels.shape[1:2] == (positions,):
        labels = longer(labels)
    padded = inputs.with_features(longer)._replace(labels=labels)
    mask = longer(np.ones((n, positions), bool))
    value, gradients = subject.run(inputs, subject.total)
    same, others = subject.run(refilled(mask), lambda x: subject.total(x, mask))
    expect_close(same, value, "Padded sequences must have the same value as without padding.")
    for mine, other in zip(gradients, others, strict=True):
        expect_close(other, longer(mine), "Padding must not change gradients, and must have none itself.")

    lengths = 1 + np.arange(n) % positions
    mask = np.arange(positions + _PADDING) < lengths[:, None]
    first, second = (subject.run(refilled(mask), lambda x: subject.total(x, mask))[0] for _ in range(2))
    expect_close(first, second, "Values at padded positions must not matter, for sequences of any length.")


def _sample_weight(subject):
    value, _ = subject.run()
    if len(value.shape) > 0:
        # The distiller itself weights values per example.
        return
    counts = np.resize([1, 0, 3, 2], len(tree.flatten(subject.inputs.student)[0])).astype("float32")
    weighted, _ = subject.run(compute=lambda x: subject.total(x, sample_weight=counts))
    copies, _ = subject.run(subject.inputs.each(lambda x: np.repeat(x, counts.astype(int), 0)))
    sentence = "With `sample_weight`, a scalar loss must count an example of weight w as w copies."
    expect_close(weighted, copies * counts.mean(), sentence)
    nothing, gradients = subject.run(compute=lambda x: subject.total(x, sample_weight=0 * counts))
    zero = nothing == 0 and all(not np.any(g) for g in gradients)
    expect(zero, f"Examples of weight 0 must have no value and no gradient. Received: {float(nothing)}.")


def _training(subject):
    subject.restore()
    variables = subject.loss.trainable_variables
    with tf.GradientTape() as tape:
        total = subject.total(subject.inputs)
    for variable, gradient in zip(variables, tape.gradient(total, variables), strict=True):
        trained = gradient is not None and np.isfinite(gradient).all()
        expect(trained, f"There must be a finite gradient by the trained part {variable.path!r}.")


def _configuration(subject):
    config = keras.saving.serialize_keras_object(subject.loss)
    json.dumps(config)
    copy = keras.saving.deserialize_keras_object(config)
    again = keras.saving.serialize_keras_object(copy)
    expect(again == config, f"The config must survive a round trip. Expected: {config}. Received: {again}.")
    twin = Subject(copy, subject.inputs, None)
    counts = [len(each.loss.variables) for each in (twin, subject)]
    expect(counts[0] == counts[1], f"A copy must have {counts[1]} variables. Received: {counts[0]}.")
    value, _ = subject.run()
    subject.restore()
    for ours, theirs in zip(copy.variables, subject.loss.variables, strict=True):
        ours.assign(theirs)
    sentence = "A loss with the same config and variables must have the same values."
    expect_close(twin.values(subject.inputs), value, sentence)


_OF_FUNCTIONS = {
    "precision": _precision,
    "values": _values,
    "gradient": _gradient,
    "compiled": _compiled,
    "one_example": _one_example,
    "extremes": _extremes,
    "not_finite": _not_finite,
}
_CLAUSES = {
    **_OF_FUNCTIONS,
    "padding": _padding,
    "sample_weight": _sample_weight,
    "training": _training,
    "configuration": _configuration,
}
LOSS_CLAUSES = tuple(_CLAUSES)
