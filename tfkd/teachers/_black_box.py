"""A black-box teacher: a Python function from inputs to outputs."""

import threading
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfkd.tasks import Classification, Task, as_task, mark
from tfkd.tasks._endings import are_probabilities, logits_of


class BlackBoxTeacher(keras.Model):
    """A teacher that only makes predictions, such as a service or a file for another runtime.

    It has no gradients and no inner layers, so it suits losses and recipes that use only the teacher's
    outputs. It works inside `tf.function`, but not under XLA.

    Probabilities p of classes become the logits log p - mean_k log p, which a softmax turns back into p;
    probabilities of independent labels become log p - log(1 - p). Numbers are unchanged.

    Args:
        function: a function from float32 NumPy inputs `(n, *input_shape)`, images in [0, 1], to an array
            `(n, classes)` of probabilities, logits or numbers. It is never called concurrently.
        input_shape: shape of one input, such as `(height, width, channels)` or `(features,)`.
        classes: number of outputs: classes, labels or numbers; or the shape of one output if it has several
            axes.
        from_logits: whether `function` returns logits instead of probabilities; no effect on tasks with
            numbers.
        name: name of the model.
        task: the task of its outputs, by name, class or object of `tfkd.tasks`.

    Attributes:
        queries: number of inputs it has been queried with so far.

    Raises:
        TypeError: if `function` is not callable, or `task` is not a task.
        ValueError: if `input_shape` or `classes` is invalid, or `classes` does not fit the task; on use, if
            an output has the wrong shape, is not finite, or its rows are not probabilities.

    Example:
        >>> teacher = tfkd.BlackBoxTeacher(ask_service, input_shape=(32, 32, 3), classes=10)
        >>> distiller = tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets(temperature=4))

    Reference:
        Truong, Maini, Walls, Papernot, "Data-Free Model Extraction", 2021, section 4.3, for logits from
        probabilities. Here probabilities are clipped at 1e-7 first.
    """

    black_box = True

    def __init__(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        input_shape: tuple[int, ...],
        classes: int | tuple[int, ...],
        from_logits: bool = False,
        name: str = "black_box",
        task: str | type[Task] | Task = Classification,
    ) -> None:
        super().__init__(name=name, trainable=False)
        if not callable(function):
            raise TypeError(
                "`function` must be callable, from inputs (n, *input_shape) to (n, classes). Received: "
                f"{function!r} of type {type(function)}."
            )
        if not input_shape or not all(_is_count(size) for size in input_shape):
            raise ValueError(
                "`input_shape` must be the shape of one input, such as (height, width, channels), "
                f"integers above 0. Received: {input_shape!r}."
            )
        answer = classes if isinstance(classes, tuple) else (classes,)
        if not answer or not all(_is_count(size) for size in answer):
            raise ValueError(
                f"`classes` must be an integer above 0, or the shape of one output. Received: {classes!r}."
            )
        try:
            self.task = as_task(task, answer)
        except ValueError as error:
            raise ValueError(f"`classes` must fit the `task`. {error}") from error
        mark(self, self.task)
        self.function, self.classes, self.from_logits = function, answer[-1], from_logits
        self.queries = 0
        self._example_shape, self._answer_shape = tuple(input_shape), answer
        self._one_at_a_time = threading.Lock()
        self.supports_jit = False
        self.built = True

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        return (None, *self._example_shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        return (None, *self._answer_shape)

    def call(self, inputs, training: bool | None = None):
        inputs = ops.cast(inputs, "float32")
        answers = tf.numpy_function(self._ask, [inputs], tf.float32)
        answers.set_shape((inputs.shape[0], *self._answer_shape))
        return answers

    def _ask(self, inputs):
        with self._one_at_a_time:
            self.queries += len(inputs)
            answers = np.asarray(self.function(inputs))
        activation = None if self.from_logits else next(iter(self.task.activations), None)
        self._check(answers, len(inputs), activation)
        if activation is None:
            return answers.astype("float32")
        logits = logits_of(answers, activation)
        return logits - logits.mean(axis=-1, keepdims=True) if activation == "softmax" else logits

    def _check(self, answers, n, activation):
        expected = (n, *self._answer_shape)
        if answers.shape != expected or not np.issubdtype(answers.dtype, np.number):
            raise ValueError(
                f"`function` of {self.name!r} must return numbers of shape {expected} for {n} inputs. "
                f"Received: shape {answers.shape}, dtype {answers.dtype}."
            )
        if not np.isfinite(answers).all():
            raise ValueError(f"`function` of {self.name!r} returned NaN or infinite values.")
        if activation is not None and not are_probabilities(answers, activation):
            rows = "rows from 0 to 1 that sum to 1" if activation == "softmax" else "values from 0 to 1"
            raise ValueError(
                f"`function` of {self.name!r} must return probabilities, {rows}. Received: values from "
                f"{answers.min():.4g} to {answers.max():.4g}, sums from {answers.sum(-1).min():.4g} to "
                f"{answers.sum(-1).max():.4g}. If they are logits, pass from_logits=True."
            )


def _is_count(value):
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and value > 0
