"""Inference with early exits: each example runs only until an exit is confident enough."""

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
    """The outputs of a network with early exits.

    Args:
        outputs: logits `(n, classes)`, each from the exit taken.
        exits: indices of the exits taken, `(n,)`.
    """

    outputs: np.ndarray
    exits: np.ndarray


def early_exit(model: keras.Model, thresholds: Sequence[float]) -> "EarlyExit":
    """A network that answers at the first exit that is confident enough.

    Args:
        model: a trained model from `attach_exits`, or a `SelfDistiller.network`.
        thresholds: for each exit but the last, the confidence (largest softmax probability) at which it
            answers, at least 0; above 1 for never. `choose_thresholds` finds them on validation data.

    Returns:
        An `EarlyExit`, whose `predict` and `evaluate` compute nothing beyond the exit that an example
        takes.

    Raises:
        TypeError: if the model is not a Keras model, or thresholds are not a sequence.
        ValueError: if it has no exits, they are not in sequence, or there is not one threshold of at least
            0 for each but the last.

    Example:
        >>> early = early_exit(distiller.network, [0.9, 0.8])
        >>> outputs, exits = early.predict(images)
    """
    return EarlyExit(model, thresholds)


class EarlyExit:
    """The result of `early_exit`.

    Args:
        model: as for `early_exit`.
        thresholds: as for `early_exit`.

    Attributes:
        network: the model.
        thresholds: one threshold for each exit but the last.

    Example:
        >>> early.evaluate(x_test, y_test)  # {"accuracy": 0.91, "flops": 2.1e6, "shares": [0.6, 0.3, 0.1]}
    """

    def __init__(self, model: keras.Model, thresholds: Sequence[float]) -> None:
        check_exits(model)
        self.network, self.thresholds = model, check_thresholds(model, thresholds)
        self._segments, self._task = list(map(_compiled, segments(model))), class_task_of(model)

    @functools.cached_property
    def flops(self) -> list[int]:
        """Floating-point operations for one example up to each exit, including heads on the way."""
        return flops_of_exits(self.network)

    def __call__(self, inputs: Any) -> ExitAnswers:
        """Predicts a batch.

        Args:
            inputs: one batch of inputs of the network.

        Returns:
            Logits and exits, as arrays.
        """
        places, outputs, exits = map(np.concatenate, zip(*self._answered(inputs), strict=True))
        order = np.argsort(places)
        return ExitAnswers(outputs[order], exits[order])

    def predict(self, x: Any, batch_size: int = MOST_AT_ONCE) -> ExitAnswers:
        """Predicts many inputs in batches.

        Args:
            x: inputs `(n, ...)`, n at least 1.
            batch_size: maximum number of examples in a batch.

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
            y: class indices `(n,)`.
            batch_size: as for `predict`.

        Returns:
            `accuracy` in [0, 1]; `flops`, the mean per example; `shares`, the fractions of examples by
            exit.
        """
        outputs, exits = self.predict(x, batch_size)
        # With the length of these inputs if a network takes any length.
        flops = flops_of_exits(self.network, np.shape(x)[1:])
        labels = self._task.check_labels(y, len(outputs), "y")
        shares = np.bincount(exits, minlength=len(flops)) / len(exits)
        return {
            **self._task.score(outputs, labels),
            "flops": float(shares @ flops),
            "shares": shares.tolist(),
        }

    def _answered(self, inputs):
        """For each exit reached: the indices and outputs of the examples that stop there."""
        values, mask, places = inputs, None, np.arange(len(keras.tree.flatten(inputs)[0]))
        for i, segment in enumerate(self._segments):
            # Never with an empty batch: oneDNN's convolutions then give wrong shapes.
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
    """A segment as a function from features and mask to logits, next features and mask."""

    def run(values, mask):
        values = values if mask is None else with_mask(values, mask)
        logits, *features = keras.tree.flatten(segment(values, training=False))
        return logits, *([features[0], mask_of(features[0])] if features else [None, None])

    return tf.function(run, autograph=False, reduce_retracing=True)


def class_task_of(model: keras.Model) -> Classification:
    """The task of a classifier's exits.

    Raises:
        ValueError: if the exits do not classify into one of several classes.
    """
    task = task_of(drop_exits(model))
    if not isinstance(task, Classification):
        raise ValueError(
            f"`model`: confidence is defined for one class among several, but {model.name!r} has the task "
            f"{task.name!r}. Its exits can be used one by one, as model.outputs."
        )
    return task


def flops_of_exits(model: keras.Model, input_shape: Sequence | None = None) -> list[int]:
    """Floating-point operations for one example up to each exit, including heads on the way."""
    return [count_flops(part, input_shape) for part in up_to_exits(model)]


def check_thresholds(model: keras.Model, thresholds: Sequence[float]) -> list[float]:
    """Thresholds as a list.

    Raises:
        TypeError: if they are not a sequence.
        ValueError: if there is not one number of at least 0 for each exit but the last.
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
