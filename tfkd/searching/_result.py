"""Results of a search."""

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import keras

from tfkd._core import files
from tfkd._core.checks import check_choice
from tfkd.searching import _pareto_plot
from tfkd.searching._budget import QUANTITIES, Budget, number_text
from tfkd.searching._record import load_student
from tfkd.searching._space import Point, point_text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """A student tried by a search.

    Attributes:
        point: the choices.
        objective: objective of the trained student, larger is better; None if its outputs were not finite.
        parameters: how many it has.
        flops: floating-point operations for one input; None if they cannot be counted.
        milliseconds: time of its TFLite file; None if not timed.
        seconds: duration of training and evaluation.
        student: name of its file in the folder of the search; None for the teacher.
    """

    point: Point
    objective: float | None
    parameters: int
    flops: int | None
    milliseconds: float | None
    seconds: float
    student: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The result of `tfkd.search`.

    Attributes:
        trials: all trials, in order; each is within the budget.
        objective: name of their `objective`: "agreement", "accuracy" or another figure of the task.
        budget: the budget of the search.
        teacher: the teacher's own figures, as a `Trial` without a point; None for a black box. Its
            objective is too optimistic if it was trained on the examples held out from students.
        over_budget: number of points skipped because of the budget.
        impossible: points for which no student exists, with the reason.
        folder: the folder with the students and `search.json`.

    Example:
        >>> found = tfkd.search(teacher, {"width": [0.25, 0.5]}, trials=2)
        >>> found.student().save("student.keras")
        >>> print(found.table())
    """

    trials: Sequence[Trial]
    objective: str
    budget: Budget
    teacher: Trial | None
    over_budget: int
    impossible: Sequence[tuple[Point, str]]
    folder: str
    _scratch: tempfile.TemporaryDirectory | None = dataclasses.field(default=None, repr=False)

    @property
    def best(self) -> Trial:
        """The trial with the highest objective; the cheapest one if there are several."""
        quantity = self.budget.main_quantity
        return max(self._judged(quantity), key=lambda trial: (trial.objective, -getattr(trial, quantity)))

    @property
    def front(self) -> list[Trial]:
        """The Pareto front over time if measured, otherwise over FLOPs or parameters."""
        return self.pareto_front(self.budget.main_quantity)

    def pareto_front(self, quantity: str) -> list[Trial]:
        """The Pareto-optimal trials: any better one costs more. Cheapest first.

        Args:
            quantity: "parameters", "flops" or "milliseconds".

        Raises:
            ValueError: for another quantity, or one that was not measured.
        """
        check_choice("quantity", quantity, QUANTITIES)
        front: list[Trial] = []
        for trial in sorted(
            self._judged(quantity), key=lambda trial: (getattr(trial, quantity), -_objective(trial))
        ):
            if not front or _objective(trial) > _objective(front[-1]):
                front.append(trial)
        return front

    def _judged(self, quantity):
        judged = [trial for trial in self.trials if trial.objective is not None]
        if any(getattr(trial, quantity) is None for trial in judged):
            raise ValueError(
                f"`quantity`: {quantity} were not measured for all trials. Choose another of "
                f"{', '.join(QUANTITIES)}; Budget(milliseconds=math.inf) times all students."
            )
        return judged

    def student(self, trial: Trial | None = None) -> keras.Model:
        """The trained student of a trial, from its file.

        Args:
            trial: one of `trials`; None for the best.

        Returns:
            A Keras model.
        """
        trial = self.best if trial is None else trial
        if trial.student is None:
            raise ValueError("`trial` must be one of `trials`. Received: the teacher's, which has no file.")
        return load_student(self.folder, trial.student)

    def table(self) -> str:
        """All trials as a Markdown table, best first, with stars for the Pareto front."""
        front = self.front
        ranked = sorted(self._rows(), key=lambda trial: -_objective(trial))
        lines = [
            f"| student | {self.objective} | parameters | FLOPs | ms | seconds | front |",
            "|---|---|---|---|---|---|---|",
        ]
        for trial in ranked:
            name = point_text(trial.point) if trial.point else "teacher"
            figures = [number_text(getattr(trial, quantity)) for quantity in QUANTITIES]
            objective = "-" if trial.objective is None else f"{trial.objective:.4f}"
            star = "*" if any(trial is each for each in front) else ""
            lines.append(f"| {' | '.join([name, objective, *figures, f'{trial.seconds:.1f}', star])} |")
        return "\n".join(lines)

    def _rows(self):
        return [*([] if self.teacher is None else [self.teacher]), *self.trials]

    def pareto_plot(self, path: str | os.PathLike, quantity: str | None = None) -> None:
        """Plots the objective of all trials against cost, with the Pareto front, as a PNG.

        Args:
            path: the file to write.
            quantity: "parameters", "flops" or "milliseconds"; None for the one used by `front`.

        Raises:
            ImportError: if matplotlib is missing.
            ValueError: for another quantity, or one that was not measured.
            OSError: if the file cannot be written.
        """
        quantity = self.budget.main_quantity if quantity is None else quantity
        front = self.pareto_front(quantity)
        png = _pareto_plot.draw(
            self._judged(quantity), front, self.teacher, quantity, self.objective, self.budget
        )
        files.write_bytes(path, png)

    def describe(self) -> dict[str, Any]:
        """All figures, JSON-compatible."""
        return {
            "objective": self.objective,
            "budget": dataclasses.asdict(self.budget) | {"milliseconds": _finite(self.budget.milliseconds)},
            "teacher": self.teacher and dataclasses.asdict(self.teacher),
            "trials": [dataclasses.asdict(trial) for trial in self.trials],
            "best": self.best.point,
            "front": [trial.point for trial in self.front],
            "over_budget": self.over_budget,
            "impossible": [[point, reason] for point, reason in self.impossible],
        }


def _objective(trial):
    return float("-inf") if trial.objective is None else trial.objective


def _finite(limit):
    return None if limit == float("inf") else limit
