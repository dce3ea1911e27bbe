"""The outcome of distillation on texts: measurements, files and report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfkd import export
from tfkd.pipelines._evaluation import agreement, predict
from tfkd.pipelines._text_data import TextData
from tfkd.pipelines._variants import Chosen, Variants
from tfkd.tasks import Classification, ClassTask, SentenceEmbedding, task_of

# Number of texts shown in the report with both networks' outputs.
_SHOWN, _LONGEST = 24, 300


class TextOutcome:
    """A student compared with its teacher.

    Args:
        teacher: the teacher.
        student: the trained student.
        data: texts for measurements and for comparing files.
        files: the networks' files by role, for the records.
    """

    def __init__(
        self, teacher: keras.Model, student: keras.Model, data: TextData, files: Mapping[str, str]
    ) -> None:
        self.roles = {"teacher": teacher, "student": student}
        self.task, self.data, self._files = task_of(teacher), data, files
        self._inputs = data.inputs(data.measured.texts)
        self._answers = {role: predict(model, self._inputs) for role, model in self.roles.items()}
        # Without labels, how close the student's outputs are to its teacher's.
        self._labels = self._answers["teacher"] if data.measured.labels is None else data.measured.labels

    def metrics(self) -> dict[str, Any]:
        """All measurements of the networks except files."""
        about = {}
        for role, model in self.roles.items():
            figures = self.task.score(self._answers[role], self._labels) if self._scored(role) else {}
            about[role] = {
                "name": model.name,
                "file": self._files[role],
                "params": model.count_params(),
                "accuracy": figures.get("accuracy"),
                "scores": figures,
            }
        return {
            **about,
            "task": self.task.name,
            "classes": self.task.classes,
            "agreement": agreement(self.task, *self._answers.values()),
            "agreement_on": self.data.measured_on,
            "measured_images": len(self.data.measured.texts),
            "params": {role: model.count_params() for role, model in self.roles.items()},
            "networks": [],
        }

    def _scored(self, role):
        """Whether there is a reference to score a network against, other than its own outputs."""
        return self.data.measured.labels is not None or (
            role == "student" and not isinstance(self.task, ClassTask)
        )

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
            min_agreement: as for `distil_text`.
            say: prints a line, or does nothing.
        """
        if quantization is None:
            return [], Chosen()
        scored = self._scored("student")
        variants = Variants(
            (self._inputs, self._labels) if scored else None,
            self.data.calibration(),
            self.data.judging(),
            labels if isinstance(self.task, ClassTask) else None,
            self.task,
            "held-out texts",
            vocabulary=self.data.tokenizer,
        )
        say("converting the teacher to TFLite, dynamic")
        try:
            variants.add(self._described("teacher"), self.roles["teacher"], "dynamic")
        except (RuntimeError, OSError) as error:
            say(f"no file of the teacher: {error}")
        say(f"converting the student to TFLite, {quantization}")
        chosen = variants.choose(
            self._described("student"), self.roles["student"], quantization, min_agreement, say
        )
        return variants.rows, chosen

    def _described(self, role):
        return {"model": role, "params": self.roles[role].count_params()}

    def reporter(self) -> Callable[[str, dict, Sequence[dict]], None]:
        """A function of path, metrics and history that writes the report."""
        answers, task, texts = self._answers, self.task, self._texts()

        def write(path, metrics, history):
            export.write_distillation_report(
                path, metrics, history, None, answers["teacher"], answers["student"], task, texts
            )

        return write

    def _texts(self):
        """Texts with both networks' outputs, largest differences first."""
        alike = np.asarray(self.task.agreement(*self._answers.values()), "float64")
        rows = np.argsort(alike, kind="stable")[:_SHOWN]
        texts, labels, names = self.data.measured
        right = [None if labels is None or names is None else names[labels[row]] for row in rows]
        teacher, student = (self._said(answers[rows]) for answers in self._answers.values())
        if isinstance(self.task, SentenceEmbedding):
            # Vectors themselves mean nothing to readers.
            teacher, student = [None] * len(rows), [f"cosine {alike[row]:.3f}" for row in rows]
        columns = ([texts[row][:_LONGEST] for row in rows], student, right, teacher)
        return [export.ExampleText(*each) for each in zip(*columns, strict=True)]

    def _said(self, answers):
        """Outputs in words, with class names."""
        names = self.data.class_names
        if names is None or not isinstance(self.task, Classification):
            return self.task.captions(answers)
        sure = np.asarray(self.task.confidence(answers))
        return [f"{names[n]} {share:.0%}" for n, share in zip(answers.argmax(-1), sure, strict=True)]
