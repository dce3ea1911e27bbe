"""From an untrained student to its result: training, measurement, conversion."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfkd._core import progress
from tfkd.datafree import DataFreeDistiller
from tfkd.pipelines._examples import Examples
from tfkd.pipelines._machine import device, versions
from tfkd.pipelines._outcome import Outcome
from tfkd.pipelines._result_files import read, write
from tfkd.pipelines._results import Distilled
from tfkd.pipelines._run_folder import RunFolder
from tfkd.pipelines._shared_warm_up import SharedWarmUp
from tfkd.pipelines._team import Team, take_values
from tfkd.pipelines._training import train
from tfkd.pipelines._variants import Chosen, Variants
from tfkd.tasks import task_of

_NOT_YET = "the run ended before its TFLite file was made; --resume makes it"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentRuns:
    """Produces the results of a teacher's students, one after another.

    Args:
        teacher: their teacher.
        warm_up: makes the students' distillers.
        team: the processes that train each student, with copies of teacher and student under a strategy.
        data: real examples for evaluation only, or None.
        teacher_file: the file the teacher was loaded from.
        tflite: kind of TFLite file, or None for none.
        min_agreement: fraction of synthesized inputs on which the file must agree with the student.
        labels: names of the classes to store in the file, or None.
        jit_compile: as for `DataFreeDistiller.compile`.
        records: further entries for the metrics.
        verbose: as in `keras.Model.fit`.
        say: prints a line, or does nothing.
    """

    teacher: keras.Model
    warm_up: SharedWarmUp
    team: Team
    data: Examples | None
    teacher_file: str
    tflite: str | None
    min_agreement: float
    labels: Sequence[str] | None
    jit_compile: bool | str
    records: dict[str, Any]
    verbose: int
    say: Callable[[str], None]

    def result(self, student: keras.Model, folder: RunFolder | None, start: float) -> Distilled | None:
        """Trains a student and produces its result, or reads the result of a complete run.

        Args:
            student: the network to train.
            folder: where files are written, and where an earlier run is resumed from; None to write
                nothing.
            start: `time.perf_counter()` when the work on this student began.

        Returns:
            The result; None in a worker that is not the chief.
        """
        with self.team.scope():
            distiller = self._compiled(self.warm_up.distiller(self.team.replicated(student)))
        if folder is None or not folder.finished:
            result = self._result(distiller, student, folder, start)
        else:
            distiller.load_weights(folder.state)
            result = read(folder)
        self.warm_up.ended(distiller)
        return result

    def _result(self, distiller, student, folder, start):
        steps_per_epoch = self.warm_up.steps_per_epoch
        if folder is not None:
            self.team.begin(folder)
        training = train(distiller, steps_per_epoch, self.data, folder, self.verbose, self.say)
        if not self.team.is_chief:
            return None
        self.say("measuring the student")
        distiller = self._plain(distiller, student)
        with progress.work("measuring the student"):
            outcome = Outcome(distiller, self.data)
        if folder is not None:
            folder.save_model("student.keras", outcome.student)
        measured = outcome.metrics(training, self.teacher_file)

        def result_with(variants, chosen, complete=True):
            metrics = {
                **measured,
                "images_generated": measured["images_generated"] * self.team.replicas,
                "replicas": self.team.replicas,
                "tflite": chosen.metrics,
                "variants": variants,
                "epochs": training.steps // steps_per_epoch,
                "steps_per_epoch": steps_per_epoch,
                "problem": training.stopped or chosen.problem,
                "complete": complete,
                "class_names": self.labels and list(self.labels),
                **self.records,
                "device": device(),
                "versions": versions(),
                "wall_seconds": time.perf_counter() - start + training.history.earlier_seconds,
            }
            return self._collected(outcome, training.history.rows, metrics, chosen, folder)

        if folder is not None and self.tflite is not None:
            # Whatever happens in conversion, training and measurements are saved.
            self._write(result_with([], Chosen(problem=_NOT_YET), complete=False), folder, outcome)
        result = result_with(*self._files(outcome))
        if folder is not None:
            self._write(result, folder, outcome)
        return result

    def _compiled(self, distiller):
        distiller.compile(metrics=[task_of(distiller.teacher).metric()], jit_compile=self.jit_compile)
        return distiller

    def _plain(self, distiller, student):
        """The equivalent distiller without the strategy, with the given student."""
        if self.team.strategy is None:
            return distiller
        recipe, seed = self.warm_up.recipe, self.warm_up.seed
        plain = self._compiled(DataFreeDistiller(self.teacher, student, recipe, seed=seed))
        take_values(plain, distiller)
        return plain

    def _collected(self, outcome, history, metrics, chosen, folder):
        write_report = outcome.reporter()
        return Distilled(
            student=outcome.student,
            history=history,
            metrics=metrics,
            tflite=chosen.content,
            tflite_check=chosen.check,
            calibration=chosen.calibration,
            problem=metrics["problem"],
            folder=None if folder is None else folder.path,
            write_report=lambda path: write_report(path, metrics, history),
        )

    def _write(self, result, folder, outcome):
        write(result, folder, outcome.student, "student", outcome.task)

    def _files(self, outcome: Outcome) -> tuple[list[dict], Chosen]:
        """The variants' rows, and the chosen file."""
        if self.tflite is None:
            return [], Chosen()
        variants = Variants(self.data, outcome.calibration, outcome.judging, self.labels, outcome.task)
        self._compare(variants, "teacher", outcome.teacher)
        if self.tflite != "float32":
            self._compare(variants, "student", outcome.student)
        self.say(f"converting the student to TFLite, {self.tflite}")
        described = _described("student", outcome.student)
        chosen = variants.choose(described, outcome.student, self.tflite, self.min_agreement, self.say)
        return variants.rows, chosen

    def _compare(self, variants, role, model):
        """Adds a float32 file to the variants; reports if that is impossible."""
        self.say(f"converting the {role} to TFLite, float32")
        try:
            variants.add(_described(role, model), model, "float32")
        except (RuntimeError, OSError) as error:
            self.say(f"no float32 file of the {role}: {error}")


def _described(role, model):
    return {"model": role, "params": model.count_params()}
