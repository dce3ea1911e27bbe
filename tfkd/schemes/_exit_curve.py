"""Cost and accuracy of early exits, and the choice of thresholds."""

import dataclasses
import io
import itertools
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfkd._core import files
from tfkd._core.asking import answers
from tfkd._core.checks import check_number
from tfkd._core.exit_graphs import check_exits
from tfkd._core.flops import count_flops
from tfkd.schemes._early_exit import check_thresholds, class_task_of, flops_of_exits
from tfkd.schemes._exits import drop_exits

# Above any confidence: the exit is never taken.
_NEVER = 1.1
# Resolution of the search at one exit, and number of passes over the exits.
_CANDIDATES, _ROUNDS = 100, 3
_STANDARD_ERRORS = 2


@dataclasses.dataclass(frozen=True)
class ExitCurve:
    """Accuracy against floating-point operations of a network with early exits.

    Attributes:
        thresholds: thresholds of each point, one for each exit but the last.
        accuracy: accuracy of each point, in [0, 1].
        flops: mean operations per example of each point, including heads.
        shares: fractions of examples that take each exit, `(points, exits)`.
        exit_accuracy: accuracy of each exit alone; the last exit is the plain network.
        exit_flops: operations up to each exit.
        full_flops: operations of the plain network, without heads.
    """

    thresholds: list[list[float]]
    accuracy: np.ndarray
    flops: np.ndarray
    shares: np.ndarray
    exit_accuracy: np.ndarray
    exit_flops: np.ndarray
    full_flops: int

    def __str__(self) -> str:
        """A table with one line per point."""
        lines = [
            "thresholds | accuracy | FLOPs | of the full network | shares of the exits",
            " | ".join(["---"] * 5),
        ]
        points = zip(self.thresholds, self.accuracy, self.flops, self.shares, strict=True)
        for thresholds, accuracy, flops, shares in points:
            lines.append(
                f"{' '.join(f'{each:.3f}' for each in thresholds)} | {accuracy:.2%} | {flops:,.0f} | "
                f"{flops / self.full_flops:.1%} | {' '.join(f'{share:.1%}' for share in shares)}"
            )
        return "\n".join(f"| {line} |" for line in lines)

    def plot(self, path: str | os.PathLike) -> None:
        """Draws the curve, with the exits alone and the plain network.

        Args:
            path: the PNG file to write.

        Raises:
            ImportError: if matplotlib is missing.
        """
        from matplotlib.figure import Figure

        axes = (figure := Figure(figsize=(6, 4), layout="constrained")).subplots()
        order = np.argsort(self.flops)
        axes.plot(self.flops[order], 100 * self.accuracy[order], label="early exits")
        axes.plot(self.exit_flops, 100 * self.exit_accuracy, "o", label="each exit alone")
        axes.plot([self.full_flops], [100 * self.exit_accuracy[-1]], "*", label="plain network")
        axes.set(xlabel="FLOPs per example", ylabel="accuracy, %")
        axes.legend()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120)
        files.write_bytes(path, buffer.getvalue())


def exit_curve(
    model: keras.Model, x: Any, y: Any, thresholds: Sequence[float | Sequence[float]] | None = None
) -> ExitCurve:
    """Measures cost and accuracy of early exits; the network runs once.

    Args:
        model: a trained model from `attach_exits`, or a `SelfDistiller.network`.
        x: inputs `(n, ...)`.
        y: class indices `(n,)`.
        thresholds: for each point of the curve, one threshold for all exits, or one for each but the last;
            None for common thresholds at quantiles of confidence.

    Returns:
        An `ExitCurve`.

    Raises:
        TypeError: if the model is not a Keras model.
        ValueError: if it has no exits, labels are invalid, or a point does not have one threshold per exit.

    Example:
        >>> curve = exit_curve(distiller.network, x_test, y_test, [chosen])
        >>> print(curve)
    """
    measured = _Measured(model, x, y)
    if thresholds is None:
        quantiles = np.quantile(measured.confidence[:, :-1], np.linspace(0, 1, 21))
        thresholds = [*np.unique(quantiles).tolist(), _NEVER]
    several = [
        check_thresholds(
            model, [each] * (len(model.outputs) - 1) if isinstance(each, int | float) else each
        )
        for each in thresholds
    ]
    taken = [measured.taken(each) for each in several]
    return ExitCurve(
        thresholds=several,
        accuracy=np.array([measured.right(each).mean() for each in taken]),
        flops=np.array([measured.cost(each) for each in taken]),
        shares=np.array([measured.shares(each) for each in taken]),
        exit_accuracy=measured.correct.mean(axis=0),
        exit_flops=measured.flops,
        full_flops=count_flops(drop_exits(model), np.shape(x)[1:]),
    )


def choose_thresholds(
    model: keras.Model,
    x: Any,
    y: Any,
    *,
    flops: float | None = None,
    accuracy_drop: float | None = None,
) -> list[float]:
    """Finds thresholds on validation data, for a budget or an accuracy.

    The search starts with one threshold for all exits and then improves one at a time, over quantiles of
    the observed confidences. The network runs once.

    Args:
        model: as for `exit_curve`.
        x: validation inputs `(n, ...)`, other than those the result is reported on.
        y: class indices `(n,)`.
        flops: maximum mean operations per example; accuracy is maximized under this limit; or
        accuracy_drop: maximum loss of accuracy against the last exit, in [0, 1], such as 0.003; operations
            are minimized under this limit. The loss on these inputs is kept two standard errors below it,
            since the best of many thresholds looks better on them than it is.

    Returns:
        A threshold for each exit but the last.

    Raises:
        TypeError: if the model is not a Keras model.
        ValueError: if it has no exits, labels are invalid, not exactly one of `flops` and `accuracy_drop`
            is given, or the budget is below the cost of the first exit.

    Example:
        >>> early_exit(network, choose_thresholds(network, x_val, y_val, accuracy_drop=0.003))
    """
    if (flops is None) == (accuracy_drop is None):
        raise ValueError(
            f"Give either `flops` or `accuracy_drop`. Received: flops={flops!r}, "
            f"accuracy_drop={accuracy_drop!r}."
        )
    measured = _Measured(model, x, y)
    if flops is not None:
        least = int(measured.flops[0])
        check_number(
            "flops", flops, least=least, remedy=f"The first exit already needs {least} per example."
        )

        def rank(taken):
            cost = measured.cost(taken)
            return cost <= flops, measured.right(taken).mean(), -cost

        return measured.best(rank)
    drop = 0.0 if accuracy_drop is None else check_number("accuracy_drop", accuracy_drop, least=0, most=1)
    # Never exiting early loses nothing, so at least that is always allowed.
    return measured.best(lambda taken: (measured.most_lost(taken) <= drop, -measured.cost(taken)))


class _Measured:
    """Confidence and correctness of each exit for each example."""

    def __init__(self, model, x, y):
        check_exits(model)
        task = class_task_of(model)
        outputs = answers(model, x)
        labels = task.check_labels(y, len(outputs[0]), "y")
        self.confidence = np.stack([np.asarray(task.confidence(each)) for each in outputs], axis=1)
        self.correct = np.stack([each.argmax(-1) == labels for each in outputs], axis=1)
        self.flops = np.array(flops_of_exits(model, np.shape(x)[1:]))

    def taken(self, thresholds):
        """The exit that each example takes."""
        sure = self.confidence[:, :-1] >= np.asarray(thresholds, "float32")
        return np.concatenate([sure, np.ones((len(sure), 1), bool)], axis=1).argmax(axis=1)

    def shares(self, taken):
        return np.bincount(taken, minlength=len(self.flops)) / len(taken)

    def cost(self, taken):
        """Mean operations per example."""
        return float(self.shares(taken) @ self.flops)

    def right(self, taken):
        """Which examples are classified correctly."""
        return self.correct[np.arange(len(taken)), taken]

    def most_lost(self, taken):
        """Upper estimate of the accuracy lost against the last exit: observed plus two standard errors."""
        lost = self.correct[:, -1].astype("float64") - self.right(taken)
        return lost.mean() + _STANDARD_ERRORS * lost.std() / np.sqrt(len(lost))

    def best(self, rank):
        """The thresholds that rank highest by the exits taken."""

        def ranked(thresholds):
            return rank(self.taken(thresholds))

        exits = range(len(self.flops) - 1)
        grid = np.linspace(0, 1, _CANDIDATES + 1)
        of_all = [*np.quantile(self.confidence[:, :-1], grid).tolist(), _NEVER]
        best = max(([each] * len(exits) for each in of_all), key=ranked)
        for _, i in itertools.product(range(_ROUNDS), exits):
            own = [best[i], *np.quantile(self.confidence[:, i], grid).tolist(), _NEVER]
            best = max(([*best[:i], each, *best[i + 1 :]] for each in own), key=ranked)
        return best
