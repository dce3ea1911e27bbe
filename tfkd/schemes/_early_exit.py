"""Early exits at work: each example runs only as far as it takes to be sure."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfkd._core.asking import MOST_AT_ONCE, in_parts
from tfkd._core.checks import check_number
from tfkd._core.exit_graphs import check_exits, segments, up_to_exits
from tfkd._core.flops import count_flops
from tfkd._core.keras_internals import mask_of, with_mask
from tfkd.schemes._exits import drop_exits
from tfkd.tasks import Classification, task_of


class ExitAnswers(NamedTuple):
    """What a network with early exits said.

    Args:
        outputs: logits `(n, classes)`, each of the exit that was taken.
        exits: which exit that was, `(n,)`, counted from 0.
    """

    outputs: np.ndarray
    exits: np.ndarray


def early_exit(model: keras.Model, thresholds: Sequence[float]) -> "EarlyExit":
    """A network that answers at the first exit that is sure enough.

    Args:
        model: of `attach_exits`, trained; or a `SelfDistiller.network`.
        thresholds: for each exit but the last the confidence, the largest softmax probability, from which
            on it answers, at least 0; above 1 for never. `choose_thresholds` finds them on validation data.

    Returns:
        An `EarlyExit`, whose `predict` and `evaluate` compute nothing behind the exit that an
        example takes.

    Raises:
        TypeError: if the model is not a Keras model, or thresholds are not a sequence.
        ValueError: if it has no exits, they cannot be reached one after another, or there is not one
            threshold of at least 0 for each but the last.

    Example:
        >>> early = early_exit(distiller.network, [0.9, 0.8])
        >>> outputs, exits = early.predict(images)
    """
    return EarlyExit(model, thresholds)


class EarlyExit:
    """What `early_exit` returns.

    Args:
        model: as of `early_exit`.
        thresholds: likewise.

    Attributes:
        network: the model.
        thresholds: one for each exit but the last.

    Example:
        >>> early.evaluate(x_test, y_test)  # {"accuracy": 0.91, "flops": 2.1e6, "shares": [0.6, 0.3, 0.1]}
    """

    def __init__(self, model: keras.Model, thresholds: Sequence[float]) -> None:
        check_exits(model)
        self.network, self.thresholds = model, check_thresholds(model, thresholds)
        self._segments, self._task = list(map(_compiled, segments(model))), class_task_of(model)

    @functools.cached_property
    def flops(self) -> list[int]:
        """Floating-point operations of one example up to each exit, heads on the way included."""
        return flops_of_exits(self.network)

    def __call__(self, inputs: Any) -> ExitAnswers:
        """Answers a batch.

        Args:
            inputs: one batch, as the network takes it.

        Returns:
            Logits and exits, as arrays.
        """
        places, outputs, exits = map(np.concatenate, zip(*self._answered(inputs), strict=True))
        order = np.argsort(places)
        return ExitAnswers(outputs[order], exits[order])

    def predict(self, x: Any, batch_size: int = MOST_AT_ONCE) -> ExitAnswers:
        """Answers many inputs in batches.

        Args:
            x: inputs `(n, ...)`, n at least 1.
            batch_size: examples in a batch at most.

        Returns:
            Logits and exits, as arrays.

        Raises:
            ValueError: if there are no inputs, or they are not arrays.
        """
        if isinstance(x, tf.data.Dataset) or not len(keras.tree.flatten(x)[0]):
            raise ValueError(f"`x` must be an array of at least one input. Received: x={x!r}.")
        parts = [self(part) for part in in_parts(self.network, x, batch_size)]
        return ExitAnswers(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def evaluate(self, x: Any, y: Any, batch_size: int = MOST_AT_ONCE) -> dict[str, Any]:
        """Measures accuracy and cost.

        Args:
            x: inputs `(n, ...)`.
            y: class numbers `(n,)`.
            batch_size: as of `predict`.

        Returns:
            `accuracy` in [0, 1]; `flops`, the mean for an example; `shares` of examples by exit.
        """
        outputs, exits = self.predict(x, batch_size)
        # As long as these inputs are, where a network takes any length.
        flops = flops_of_exits(self.network, np.shape(x)[1:])
        labels = self._task.check_labels(y, len(outputs), "y")
        shares = np.bincount(exits, minlength=len(flops)) / len(exits)
        return {
            **self._task.score(outputs, labels),
            "flops": float(shares @ flops),
            "shares": shares.tolist(),
        }

    def _answered(self, inputs):
        """For each exit that is reached: which examples answer there, and what."""
        values, mask, places = inputs, None, np.arange(len(keras.tree.flatten(inputs)[0]))
        for i, segment in enumerate(self._segments):
            # Not with nothing: oneDNN's convolutions of no examples have wrong shapes.
            if not len(places):
                return
            logits, values, mask = segment(values, mask)
            sure = np.ones(len(places), bool)
            if i < len(self.thresholds):
                sure = np.asarray(self._task.confidence(logits)) >= np.float32(self.thresholds[i])
            yield places[sure], np.asarray(logits, "float32")[sure], np.full(sure.sum(), i)
            places = places[~sure]
            values, mask = (
                None if each is None else tf.boolean_mask(each, ~sure) for each in (values, mask)
            )


def _compiled(segment):
    """A segment as a function of features and their mask, which returns logits and the next of these."""

    def run(values, mask):
        values = values if mask is None else with_mask(values, mask)
        logits, *features = keras.tree.flatten(segment(values, training=False))
        return logits, *([features[0], mask_of(features[0])] if features else [None, None])

    return tf.function(run, autograph=False, reduce_retracing=True)


def class_task_of(model: keras.Model) -> Classification:
    """The task of a classifier's exits.

    Raises:
        ValueError: if they do not say which one of several classes is right.
    """
    task = task_of(drop_exits(model))
    if not isinstance(task, Classification):
        raise ValueError(
            f"`model`: confidence is that of one class among several, and {model.name!r} is of the task "
            f"{task.name!r}. Its exits can be used one by one, as model.outputs."
        )
    return task


def flops_of_exits(model: keras.Model, input_shape: Sequence | None = None) -> list[int]:
    """Floating-point operations of one example up to each exit, heads on the way included."""
    return [count_flops(part, input_shape) for part in up_to_exits(model)]


def check_thresholds(model: keras.Model, thresholds: Sequence[float]) -> list[float]:
    """Thresholds as a list.

    Raises:
        TypeError: if they are not a sequence.
        ValueError: if there is not one of at least 0 for each exit but the last.
    """
    if not isinstance(thresholds, Sequence | np.ndarray) or isinstance(thresholds, str):
        raise TypeError(
            f"`thresholds` must be a list of numbers, such as [0.9]. Received: {thresholds!r} of type "
            f"{type(thresholds)}."
        )
    given, wanted = list(thresholds), len(model.outputs) - 1
    if len(given) != wanted:
        raise ValueError(
            f"`thresholds` must be one number for each of the {wanted} exits before the last, which always "
            f"answers. Received: {given!r}."
        )
    for threshold in given:
        check_number("thresholds", threshold, least=0)
    return [float(threshold) for threshold in given]
