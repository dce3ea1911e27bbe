"""Calibration: whether a classifier's confidence matches its accuracy."""

import os
from typing import Any, NamedTuple

import keras
import numpy as np

from tfkd._core.asking import answers
from tfkd._core.checks import check_int
from tfkd.analysis._figures import new_figure, save_figure
from tfkd.tasks import Classification, Task, task_of


class Reliability(NamedTuple):
    """A classifier's predictions in confidence bins of equal width.

    Args:
        confidence: the mean confidence in each bin, float64 `(bins,)`; NaN for an empty bin.
        accuracy: the accuracy in each bin, float64 `(bins,)`; NaN for an empty bin.
        count: the number of predictions in each bin, int64 `(bins,)`.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error (ECE): the mean gap between confidence and accuracy."""
        gaps = np.nan_to_num(np.abs(self.confidence - self.accuracy))
        return float(np.sum(gaps * self.count) / np.sum(self.count))


def reliability(
    model: keras.Model, inputs: Any, labels: np.ndarray, bins: int = 15, task: Task | None = None
) -> Reliability:
    """Measures a classifier's accuracy by confidence.

    Args:
        model: a classifier that returns logits, such as one from `tfkd.load_teacher`.
        inputs: an array `(n, ...)`, or several in the structure of the model's inputs.
        labels: class indices `(n,)`.
        bins: the number of equal bins that divide the confidences in (0, 1]; each excludes its lower and
            includes its upper end.
        task: the task; None for the model's own.

    Returns:
        A `Reliability`, whose `error` is the expected calibration error.

    Raises:
        ValueError: if the model is not a classifier, or the labels do not match the inputs and classes.

    Example:
        >>> tfkd.analysis.reliability(student, x_test, y_test).accuracy

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    check_int("bins", bins)
    task = task or task_of(model)
    if not isinstance(task, Classification):
        raise ValueError(
            f"`model` must be a classifier with one right class per example. Received: {task!r}."
        )
    outputs = answers(model, inputs)
    labels = task.check_labels(labels, len(outputs), "`labels`")
    confidence = np.asarray(task.confidence(outputs), "float64")
    right = np.asarray(task.group(outputs)) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)

    def means(values):
        sums = np.bincount(place, values, minlength=bins)
        return np.divide(sums, count, out=np.full(bins, np.nan), where=count > 0)

    return Reliability(means(confidence), means(right), count)


def expected_calibration_error(
    model: keras.Model, inputs: Any, labels: np.ndarray, bins: int = 15, task: Task | None = None
) -> float:
    """Expected calibration error (ECE): the mean gap between a classifier's confidence and accuracy.

    Args:
        model: as for `reliability`.
        inputs: as for `reliability`.
        labels: as for `reliability`.
        bins: as for `reliability`.
        task: as for `reliability`.

    Returns:
        The mean gap over bins, weighted by their counts, from 0 to 1.

    Raises:
        ValueError: as for `reliability`.

    Example:
        >>> tfkd.analysis.expected_calibration_error(student, x_test, y_test)
        0.021

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    return reliability(model, inputs, labels, bins, task).error


def reliability_plot(measured: dict[str, Reliability], path: str | os.PathLike) -> None:
    """Draws reliability diagrams side by side: accuracy against confidence, with the share of each bin.

    Args:
        measured: results of `reliability`, by the names of the networks.
        path: the image file to write.

    Raises:
        ImportError: if matplotlib is missing.
        ValueError: if there is nothing to draw.

    Example:
        >>> reliability_plot({"student": reliability(student, x_test, y_test)}, "reliability.png")
    """
    if not measured:
        raise ValueError("`measured` must have the reliability of at least one network. Received: {}.")
    figure, axes = new_figure(3 * len(measured) + 0.4, 3.5, columns=len(measured))
    for axis, (name, each) in zip(axes[0], measured.items(), strict=True):
        bins = len(each.count)
        centers = (np.arange(bins) + 0.5) / bins
        axis.bar(
            centers, each.count / each.count.sum(), 1 / bins, color="#d8d8d8", label="share of answers"
        )
        axis.plot([0, 1], [0, 1], color="#909090", linestyle="--", linewidth=1)
        axis.plot(each.confidence, each.accuracy, "o-", color="#3b7dd8", markersize=4, label="accuracy")
        axis.set(title=f"{name}, ECE {each.error:.3f}", xlabel="confidence", xlim=(0, 1), ylim=(0, 1))
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
    )
    save_figure(figure, path)
