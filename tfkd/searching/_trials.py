"""Trials: measuring, training and evaluating the points that a strategy proposes."""

import hashlib
import math
import time
from typing import Any

import keras

from tfkd._core import progress
from tfkd.searching._budget import QUANTITIES, Budget, Cost, as_text
from tfkd.searching._lessons import Lesson
from tfkd.searching._meter import Meter
from tfkd.searching._record import Record
from tfkd.searching._result import Trial
from tfkd.searching._space import Point, Space, key_of, point_text
from tfkd.searching._strategies import Proposals

# Number of consecutive points over the budget or impossible after which a search ends.
PATIENCE = 1000
# Points of a space are never empty, so this key is free for the teacher.
_TEACHER: Point = {"": "teacher"}


class Trials:
    """A running search; recorded costs and trials are not measured again.

    Args:
        space: the space of points.
        budget: limits on the students' cost.
        lesson: training and evaluation of students.
        record: recorded results of points.
        seed: seed of the search.
        verbose: whether to print.
    """

    def __init__(
        self, space: Space, budget: Budget, lesson: Lesson, record: Record, seed: int, verbose: int
    ) -> None:
        self.space, self.budget, self.lesson, self.record = space, budget, lesson, record
        self.seed, self.verbose = seed, verbose
        self._timed = budget.quantization if budget.is_timed else None
        self._meter = Meter(budget, record.folder, lesson.held_out)
        self.over_budget: list[Cost] = []
        self.impossible: list[tuple[Point, str]] = []

    def run(self, proposals: Proposals, trials: int) -> list[Trial]:
        """Tries points until there are enough trials."""
        done, refused = [], 0
        try:
            while len(done) < trials and refused < PATIENCE:
                point = proposals.next()
                if point is None:
                    break
                if self._fits(point):
                    with progress.work(f"trial {len(done) + 1} of {trials}"):
                        trial = self._trial(point)
                    self._say(f"trial {len(done) + 1} of {trials}: {self._described(trial)}")
                    done.append(trial)
                    proposals.tell(point, trial.objective)
                    refused = 0
                else:
                    proposals.tell(point, None)
                    refused += 1
        finally:
            proposals.close()
        if not done:
            raise ValueError(self._nothing_fits())
        if all(trial.objective is None for trial in done):
            raise FloatingPointError(
                f"`space`: the outputs of none of {len(done)} students are finite. Use a smaller "
                "`learning_rate`, or an `optimizer` with clipnorm."
            )
        return done

    def _fits(self, point):
        """Whether the point has a student within the budget."""
        known = self.record.known(point)
        cost = self.record.cost(point, self._timed)
        if "impossible" not in known and (cost is None or self._lacks_time(cost)):
            try:
                student = self._new_student(point)
            except ValueError as error:
                self.record.note(point, impossible=str(error))
            else:
                cost = self._meter.cost(student)
                self.record.note_cost(point, cost, self._timed)
        if reason := self.record.known(point).get("impossible"):
            self.impossible.append((point, reason))
            return False
        assert cost is not None
        if exceeded := self.budget.exceeded(cost):
            self.over_budget.append(cost)
            self._say(
                f"over the budget: {point_text(point)}: {as_text(exceeded[0], getattr(cost, exceeded[0]))}"
            )
            return False
        return True

    def _lacks_time(self, cost):
        return self.budget.is_timed and cost.milliseconds is None and not self.budget.exceeded(cost)

    def _new_student(self, point):
        """An untrained student, always with the same weights."""
        keras.utils.set_random_seed(seed_of(point, self.seed))
        return self.space.student(point)

    def _trial(self, point):
        known = self.record.known(point)
        if "student" not in known:
            start = time.perf_counter()
            student = self._new_student(point)
            self.lesson.teach(student, seed_of(point, self.seed))
            objective = self.lesson.examine(student)
            seconds = time.perf_counter() - start
            name = self.record.save_student(student)
            objective = None if math.isnan(objective) else objective
            self.record.note(point, objective=objective, seconds=seconds, student=name)
        known, cost = self.record.known(point), self.record.cost(point, self._timed)
        assert cost is not None
        return _trial_of(point, cost, known["objective"], known["seconds"], known["student"])

    def teachers_figures(self, teacher: keras.Model) -> Trial:
        """The cost and objective of the teacher itself."""
        with progress.work("measuring the teacher"):
            return self._teachers_figures(teacher)

    def _teachers_figures(self, teacher):
        point = _TEACHER
        if "objective" not in self.record.known(point):
            self.record.note(point, objective=self.lesson.examine(teacher))
        cost = self.record.cost(point, self._timed)
        if cost is None or (self.budget.is_timed and cost.milliseconds is None):
            cost = self._meter.cost_of_teacher(teacher)
            self.record.note_cost(point, cost, self._timed)
        return _trial_of({}, cost, self.record.known(point)["objective"], 0.0, None)

    def _described(self, trial):
        objective = "not finite" if trial.objective is None else f"{trial.objective:.4f}"
        costs = [(name, getattr(trial, name)) for name in QUANTITIES]
        figures = ", ".join(as_text(name, value) for name, value in costs if value is not None)
        judged = f"{point_text(trial.point)}: {self.lesson.objective} {objective}"
        return f"{judged}, {figures}, {trial.seconds:.1f} s"

    def _nothing_fits(self):
        looked = f"points tried ({len(self.over_budget) + len(self.impossible)})"
        if not self.over_budget:
            point, reason = self.impossible[-1]
            return (
                f"`space`: none of the {looked} has a student. The last one, {point_text(point)}: {reason}"
            )
        smallest = min(self.over_budget, key=self._excess)
        costs = [as_text(name, getattr(smallest, name)) for name in self.budget.exceeded(smallest)]
        return (
            f"`budget`: none of the {looked} costs at most {self.budget.describe()}; the closest has "
            f"{' and '.join(costs)}. Raise the budget to that, or add smaller choices to `space`."
        )

    def _excess(self, cost):
        """The factor by which a cost exceeds its budget."""
        return max(getattr(cost, name) / getattr(self.budget, name) for name in self.budget.exceeded(cost))

    def _say(self, line):
        if self.verbose:
            print(line, flush=True)


def seed_of(point: Point, seed: int) -> int:
    """The seed of a point's trial, independent of the order of trials."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key_of(point)}".encode()).digest()[:4], "big") // 2


def _trial_of(point: Point, cost: Cost, objective: Any, seconds: float, student: str | None) -> Trial:
    return Trial(
        point=dict(point),
        objective=objective,
        parameters=cost.parameters,
        flops=cost.flops,
        milliseconds=cost.milliseconds,
        seconds=seconds,
        student=student,
    )
