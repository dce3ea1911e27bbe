"""From an untrained student to its result: trained, measured and converted."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfkd.export import TFLiteCheck
from tfkd.pipelines._examples import Examples
from tfkd.pipelines._machine import device, versions
from tfkd.pipelines._outcome import Outcome
from tfkd.pipelines._result_files import read, write
from tfkd.pipelines._results import Distilled
from tfkd.pipelines._run_folder import RunFolder
from tfkd.pipelines._shared_warm_up import SharedWarmUp
from tfkd.pipelines._training import train
from tfkd.pipelines._variants import Variants
from tfkd.tasks import task_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentRuns:
    """Makes the result of one student of a teacher after the other.

    Args:
        warm_up: makes the students' distillers.
        data: real examples, only to measure, or None.
        teacher_file: what the teacher was loaded from.
        tflite: kind of TFLite file, or None for none.
        labels: names of the classes for the file to carry, or None.
        jit_compile: as `DataFreeDistiller.compile` takes it.
        records: what else is to stand in the metrics.
        verbose: as in `keras.Model.fit`.
        say: prints a line, or does not.
    """

    warm_up: SharedWarmUp
    data: Examples | None
    teacher_file: str
    tflite: str | None
    labels: Sequence[str] | None
    jit_compile: bool | str
    records: dict[str, Any]
    verbose: int
    say: Callable[[str], None]

    def result(self, student: keras.Model, folder: RunFolder | None, start: float) -> Distilled:
        """Trains a student and makes its result, or reads that of a complete run.

        Args:
            student: the network to train.
            folder: where files go, and what is there already is gone on from; None to write nothing.
            start: `time.perf_counter()` when the work on this student began.
        """
        distiller = self.warm_up.distiller(student)
        distiller.compile(metrics=[task_of(distiller.teacher).metric()], jit_compile=self.jit_compile)
        if folder is None or not folder.finished:
            result = self._result(distiller, folder, start)
        else:
            distiller.load_weights(folder.state)
            result = read(folder)
        self.warm_up.ended(distiller)
        return result

    def _result(self, distiller, folder, start):
        steps_per_epoch = self.warm_up.steps_per_epoch
        if folder is not None:
            folder.begin()
        training = train(distiller, steps_per_epoch, self.data, folder, self.verbose, self.say)
        self.say("measuring the student")
        outcome = Outcome(distiller, self.data)
        if folder is not None:
            folder.save_model("student.keras", outcome.student)
        variants, tflite, check, missing = self._files(outcome)
        metrics = {
            **outcome.metrics(training, self.teacher_file),
            "tflite": check and {"quantization": self.tflite, **dataclasses.asdict(check)},
            "variants": variants,
            "epochs": training.steps // steps_per_epoch,
            "steps_per_epoch": steps_per_epoch,
            "problem": training.stopped or missing,
            **self.records,
            "device": device(),
            "versions": versions(),
            "wall_seconds": time.perf_counter() - start + training.history.earlier_seconds,
        }
        result = self._collected(outcome, training.history.rows, metrics, tflite, check, folder)
        if folder is not None:
            write(result, folder, "student.tflite")
        return result

    def _collected(self, outcome, history, metrics, tflite, check, folder):
        write_report = outcome.reporter()
        return Distilled(
            student=outcome.student,
            history=history,
            metrics=metrics,
            tflite=tflite,
            tflite_check=check,
            problem=metrics["problem"],
            folder=None if folder is None else folder.path,
            write_report=lambda path: write_report(path, metrics, history),
        )

    def _files(self, outcome: Outcome) -> tuple[list[dict], bytes | None, TFLiteCheck | None, str | None]:
        """The variants' rows, the file that was asked for, its check, and why there is none.

        What cannot be converted is said and left out: the rest of the run is worth having.
        """
        if self.tflite is None:
            return [], None, None, None
        variants = Variants(self.data, outcome.calibration, outcome.judging, self.labels, outcome.task)
        self._add(variants, "teacher", outcome.teacher, "float32")
        for quantization in dict.fromkeys(("float32", self.tflite)):
            (tflite, check), problem = self._add(variants, "student", outcome.student, quantization)
        return variants.rows, tflite, check, problem and f"there is no student.tflite: {problem}"

    def _add(self, variants, role, model, quantization):
        """A variant's file and check, and why there are none."""
        described = {"model": role, "params": model.count_params()}
        self.say(f"converting the {role} to TFLite, {quantization}")
        try:
            return variants.add(described, model, quantization), None
        except (RuntimeError, OSError) as error:
            self.say(f"No {quantization} TFLite file of the {role}: {error}")
            return (None, None), str(error)
