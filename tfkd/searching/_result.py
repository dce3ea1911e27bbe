"""What a search has found."""

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
    """A student that a search has tried.

    Attributes:
        point: what was chosen.
        objective: how good the trained student is, larger is better; None if its outputs were not finite.
        parameters: how many it has.
        flops: floating-point operations for one input; None if its layers' are not known.
        milliseconds: of its TFLite file; None if not timed.
        seconds: what training and judging it took.
        student: name of its file in the folder of the search; None of the teacher.
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
    """What `tfkd.search` returns.

    Attributes:
        trials: all students that were tried, in order; each is within the budget.
        objective: what their `objective` is: "agreement", "accuracy" or another figure of the task.
        budget: what they were allowed to cost.
        teacher: the teacher's own figures, as a `Trial` without a point; None of a black box. Its objective
            is too high where it has learned from the examples that are held out from students.
        over_budget: how many points were left out because of the budget.
        impossible: points that there is no student of, with the reason.
        folder: where students and `search.json` are.

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
        """The trial with the highest objective; of several the one that costs least."""
        quantity = self.budget.main_quantity
        return max(self._judged(quantity), key=lambda trial: (trial.objective, -getattr(trial, quantity)))

    @property
    def front(self) -> list[Trial]:
        """The Pareto front over the time, where that was measured, else over FLOPs or parameters."""
        return self.pareto_front(self.budget.main_quantity)

    def pareto_front(self, quantity: str) -> list[Trial]:
        """The trials that none beats: any better one costs more. Cheapest first.

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
                f"`quantity`: {quantity} were not measured of all trials. Choose another of "
                f"{', '.join(QUANTITIES)}; Budget(milliseconds=math.inf) has all students timed."
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
        """All trials as a Markdown table, the best first, those of the Pareto front marked with a star."""
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
        """Draws the objective of all trials over what they cost, with the Pareto front, as a PNG.

        Args:
            path: the file to write.
            quantity: "parameters", "flops" or "milliseconds"; None for that of `front`.

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
        """All figures, as JSON can hold them."""
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
