"""The outcome of a scheme: measurements, files and report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tfkd import export
from tfkd.export import _pictures as pictures
from tfkd.pipelines._course import Taught
from tfkd.pipelines._data_of_run import DataOfRun
from tfkd.pipelines._evaluation import agreement, predict, scores
from tfkd.pipelines._variants import Chosen, Variants
from tfkd.schemes import drop_exits
from tfkd.tasks import Task

_SHOWN = 36


class TaughtOutcome:
    """A student compared with its teacher.

    Args:
        taught: the result of the scheme.
        task: the task of the outputs.
        data: examples for measurements and for comparing files.
        files: the networks' files by role, for the records.
    """

    def __init__(self, taught: Taught, task: Task, data: DataOfRun, files: Mapping[str, str]) -> None:
        self.taught, self.task, self.data, self._files = taught, task, data, files
        measured = data.measured
        networks = {"teacher": taught.teacher, "student": taught.student}
        self.roles = {role: model for role, model in networks.items() if model is not None}
        self._answers = {role: predict(model, measured[0]) for role, model in self.roles.items()}

    def metrics(self) -> dict[str, Any]:
        """All measurements of the networks except files."""
        answers = list(self._answers.values())
        about: dict[str, Any] = dict.fromkeys(("teacher", "student"))
        for role, model in self.roles.items():
            about[role] = {
                "name": model.name,
                "file": self._files[role],
                **self._figures(model, self._answers[role]),
            }
        return {
            **about,
            "task": self.task.name,
            "classes": self.task.classes,
            "agreement": agreement(self.task, *answers) if len(answers) > 1 else None,
            "agreement_on": self.data.measured_on,
            "measured_images": len(self.data.measured[0]),
            "params": {role: model.count_params() for role, model in self.roles.items()},
            "networks": [
                {"name": name, **self._figures(network, predict(_plain(network), self.data.measured[0]))}
                for name, network in self.taught.networks.items()
            ],
        }

    def _figures(self, model, outputs):
        return {"params": model.count_params(), **scores(self.task, outputs, self.data.measured)}

    def files(
        self,
        quantization: str | None,
        labels: Sequence[str] | None,
        min_agreement: float,
        say: Callable[[str], None],
    ) -> tuple[list[dict], Chosen]:
        """The rows of the compared files, and the chosen file.

        Args:
            quantization: kind of TFLite file, or None for none.
            labels: names of the classes, or None.
            min_agreement: as for `distil_with_data`.
            say: prints a line, or does nothing.
        """
        if quantization is None:
            return [], Chosen()
        variants = Variants(
            self.data.measured,
            self.data.calibration(),
            self.data.judging[0],
            labels,
            self.task,
            "held-out inputs",
        )
        for role, model in self.roles.items():
            if role == "student" and quantization == "float32":
                continue
            say(f"converting the {role} to TFLite, float32")
            try:
                variants.add(self._described(role), model, "float32")
            except (RuntimeError, OSError) as error:
                say(f"no float32 file of the {role}: {error}")
        say(f"converting the student to TFLite, {quantization}")
        chosen = variants.choose(
            self._described("student"), self.taught.student, quantization, min_agreement, say
        )
        return variants.rows, chosen

    def _described(self, role):
        return {"model": role, "params": self.roles[role].count_params()}

    def reporter(self) -> Callable[[str, dict, Sequence[dict]], None]:
        """A function of path, metrics and history that writes the report."""
        shown, student, task = self.data.measured[0][:_SHOWN], self.taught.student, self.task
        answers = self._answers

        def write(path, metrics, history):
            grid = pictures.image_grid(shown, student, columns=12, task=task)
            export.write_distillation_report(
                path, metrics, history, grid, answers.get("teacher"), answers["student"], task
            )

        return write


def _plain(network: keras.Model) -> keras.Model:
    """A network without its training exits."""
    return drop_exits(network) if len(network.outputs) > 1 else network
