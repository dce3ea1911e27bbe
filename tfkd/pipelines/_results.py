"""Results of pipelines."""

import dataclasses
import os
from collections.abc import Callable

import keras
import numpy as np

from tfkd.export import TFLiteCheck
from tfkd.export._figures import percent, score, score_name, score_text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a pipeline.

    Attributes:
        metrics: all measurements, the content of `metrics.json`.
        tflite: the content of the TFLite file; None if none was requested, or none could be made.
        tflite_check: comparison of that file with the network, or None.
        problem: what the result lacks, and why, or None.
        folder: the folder with the files of the run, or None.
        calibration: inputs for calibrating a TFLite file of any kind, arrays `(n, ...)` by the file's input
            names; the content of `calibration.npz`. None without a file.
    """

    metrics: dict = dataclasses.field(repr=False)
    tflite: bytes | None = dataclasses.field(repr=False)
    tflite_check: TFLiteCheck | None
    problem: str | None
    folder: str | None
    write_report: Callable[[str], None] = dataclasses.field(repr=False)
    calibration: dict[str, np.ndarray] | None = dataclasses.field(default=None, repr=False)

    def report(self, path: str | os.PathLike) -> None:
        """Writes the report as one self-contained HTML file.

        Args:
            path: the file to write.

        Raises:
            ImportError: if jinja2 or matplotlib is missing.
            OSError: if the file cannot be written.
        """
        self.write_report(os.fspath(path))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distilled(Result):
    """A student trained by `distil` or `distil_with_data`.

    Attributes:
        student: the trained student, from inputs in [0, 1] to logits.
        history: one row of logs per epoch.
        metrics, tflite, tflite_check, problem, folder, calibration: as in every result of a pipeline.

    Example:
        >>> distilled = tfkd.pipelines.distil("teacher.keras", "0.5x")
        >>> distilled.student.save("student.keras")
        >>> distilled.report("report.html")
    """

    student: keras.Model
    history: list[dict] = dataclasses.field(repr=False)

    def summary(self) -> str:
        """The problem, if there is one, and the main figures, one per line."""
        metrics = self.metrics
        lines = _attention(self)
        lines += [
            f"{role:8} {metrics['params'][role]:>10,} parameters{_right(metrics[role])}"
            for role in ("teacher", "student")
            if metrics[role]
        ]
        if metrics["tflite"]:
            size, kind = metrics["tflite"]["size_bytes"], metrics["tflite"]["quantization"]
            lines.append(f"{'TFLite':8} {size:>10,} bytes ({kind}){_right(metrics['tflite'])}")
        if metrics["agreement"] is not None:
            lines.append(f"agreement on {metrics['agreement_on']}: {percent(metrics['agreement'])}")
        return "\n".join([*lines, _ending(self)])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compressed(Result):
    """A model compressed by `compress`.

    Attributes:
        model: the compressed model, a plain Keras model.
        metrics, tflite, tflite_check, problem, folder, calibration: as in every result of a pipeline.

    Example:
        >>> compressed = tfkd.pipelines.compress("model.keras", prune=0.8, quantize=True)
        >>> compressed.metrics["sparsity"]
    """

    model: keras.Model

    def summary(self) -> str:
        """The problem, if there is one, and the variants of the model, one per line."""
        rows = self.metrics["variants"]
        names = [f"{row['name']}, {row['quantization']}" for row in rows]
        width = max(map(len, names))
        lines = _attention(self)
        lines += [f"{'':{width}} {score_name(rows[0]):>8}  agrees     bytes      gzip      ms"]
        for name, row in zip(names, rows, strict=True):
            right = "-" if score(row) is None else score_text(row)
            lines.append(
                f"{name:{width}} {right:>8} {row['agreement']:>7.1%} "
                f"{row['size_bytes']:>9,} {row['gzip_bytes']:>9,} {row['latency_ms']:>7.3f}"
            )
        return "\n".join([*lines, _ending(self)])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Searched(Result):
    """The best student found by `search`.

    Attributes:
        student: the student after its trial.
        metrics, tflite, tflite_check, problem, folder, calibration: as in every result of a pipeline; all
            trials are in the metrics under "search".

    Example:
        >>> searched = tfkd.pipelines.search("teacher.keras", {"width": [0.25, 0.5]}, folder="runs/search")
        >>> searched.metrics["search"]["best"]
    """

    student: keras.Model

    def summary(self) -> str:
        """The problem, if there is one, and all trials, best first."""
        metrics = self.metrics
        lines = [*_attention(self), metrics["table"], ""]
        lines += [
            f"{role:8} {metrics[role]['params']:>10,} parameters{_right(metrics[role])}"
            for role in ("teacher", "student")
        ]
        return "\n".join([*lines, _ending(self)])


def _attention(result):
    return [] if result.problem is None else [f"Attention: {result.problem}.", ""]


def _right(entry):
    """The main figure of the task, if it was measured."""
    return "" if score(entry) is None else f"   {score_name(entry)} {score_text(entry)}"


def _ending(result):
    where = "" if result.folder is None else f"; see {os.path.join(result.folder, 'report.html')}"
    return f"{result.metrics['wall_seconds']:.0f} s{where}"
