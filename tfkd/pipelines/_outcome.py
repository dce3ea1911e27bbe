"""A trained student compared with its teacher: their outputs, and measurements of them."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfkd import export
from tfkd.datafree import DataFreeDistiller
from tfkd.datafree.objectives._moments import normalization_taps
from tfkd.datafree.watching import time_shares
from tfkd.export import _pictures as pictures
from tfkd.pipelines._evaluation import agreement, predict, scores
from tfkd.pipelines._examples import Examples
from tfkd.pipelines._statistics import choose_statistics
from tfkd.pipelines._training import Training
from tfkd.tasks import ClassTask, task_of

_HELD_OUT_IMAGES = 2000
_SHOWN_IMAGES = 60
_CALIBRATION_IMAGES = 256
# Half of them for the batch normalization statistics, the others for evaluating these.
_STATISTICS_IMAGES = 2000
# Fewer for large images, so that images and outputs take no more than this.
_BYTES, _LEAST_IMAGES = 2**28, 64


class Outcome:
    """Measurements of a trained student.

    Its batch statistics are chosen here, so do not use the student before.

    Args:
        distiller: the distiller after training.
        data: real examples for evaluation, or None.

    Attributes:
        calibration: synthetic inputs for calibration.
        judging: other synthetic inputs, for comparing files.
    """

    def __init__(self, distiller: DataFreeDistiller, data: Examples | None) -> None:
        self.distiller, self.data = distiller, data
        self.teacher, self.student = distiller.teacher, distiller.student
        self.task = task_of(self.teacher)
        held_out = _affordable(_HELD_OUT_IMAGES, self.teacher)
        self._synthetic = distiller.synthesize(held_out)
        calibrating = min(_CALIBRATION_IMAGES, held_out // 2)
        self.calibration, self.judging = self._synthetic[:calibrating], self._synthetic[calibrating:]
        self._statistics = None
        if normalization_taps(self.student):
            images, judging = np.split(
                distiller.synthesize(_affordable(_STATISTICS_IMAGES, self.teacher)), 2
            )
            self._statistics = choose_statistics(self.teacher, self.student, images, judging, data)
        self._seen = predict(self.teacher, self._synthetic)
        compared = self._synthetic if data is None else data[0]
        self._answers = {
            "teacher": self._seen if data is None else predict(self.teacher, compared),
            "student": predict(self.student, compared),
        }

    def metrics(self, training: Training, teacher_file: str) -> dict[str, Any]:
        """All measurements of the networks and the run except files.

        Args:
            training: the run.
            teacher_file: the file the teacher was loaded from.
        """
        return {
            **{
                role: {
                    **_about(model, file),
                    **scores(self.task, self._answers[role], self.data),
                }
                for role, model, file in (
                    ("teacher", self.teacher, teacher_file),
                    ("student", self.student, "student.keras"),
                )
            },
            "task": self.task.name,
            "agreement": agreement(self.task, *self._answers.values()),
            "agreement_on": "synthesized images" if self.data is None else "real images",
            "params": {"teacher": self.teacher.count_params(), "student": self.student.count_params()},
            "classes": self.task.classes,
            "batch_statistics": self._statistics,
            "rarest_class_share": self._rarest_class_share(),
            "evaluation_images": None if self.data is None else len(self.data[0]),
            "synthetic_images": len(self._synthetic),
            "stopped": training.stopped,
            "health": training.health,
            "recipe": self.distiller.recipe.describe(),
            **self._counts(training.first_step),
            **self._seconds(training.history.seconds),
        }

    def _rarest_class_share(self):
        """Frequency of the rarest class in synthetic inputs; None for a task without classes."""
        return float(self.task.shares(self._seen).min()) if isinstance(self.task, ClassTask) else None

    def _counts(self, first_step):
        made, steps = self.distiller.images_made, int(self.distiller.steps_done.numpy())
        return {
            "images_generated": made(steps) - made(first_step),
            "student_updates": int(self.distiller.optimizer.iterations.numpy()),
        }

    def _seconds(self, seconds):
        synthesis, student = time_shares(self.distiller)
        return {
            "training_seconds": seconds,
            "synthesis_seconds": seconds * synthesis,
            "student_seconds": seconds * student,
        }

    def reporter(self) -> Callable[[str, dict, Sequence[dict]], None]:
        """A function of path, metrics and history that writes the report; holds no distiller."""
        shown, teacher, task = self._synthetic[:_SHOWN_IMAGES], self.teacher, self.task
        answers = self._seen, *self._answers.values()

        def write(path, metrics, history):
            grid = pictures.image_grid(shown, teacher, columns=12, task=task)
            export.write_report(path, metrics, history, grid, *answers, task=task)

        return write


def _affordable(images: int, model: keras.Model) -> int:
    """How many of `images` are affordable, rounded to an even number."""
    of_one = 4 * (math.prod(model.input_shape[1:]) + math.prod(model.output_shape[1:]))
    return min(images, max(_LEAST_IMAGES, _BYTES // of_one // 2 * 2))


def _about(model: keras.Model, file: str) -> dict[str, Any]:
    return {"name": model.name, "file": os.path.basename(file), "params": model.count_params()}
