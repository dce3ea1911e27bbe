"""Variants of a network as TFLite files, measured side by side."""

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfkd import export
from tfkd.compression import BridgedModel, strip
from tfkd.export import TFLiteCheck
from tfkd.export._calibration import inputs_of_file
from tfkd.tasks import Task
from tfkd.text import Tokenizer

# Fallback kinds of files, smallest first.
_NEXT_BEST = {
    "int2": ("int4", "dynamic", "float16", "float32"),
    "int4": ("dynamic", "float16", "float32"),
    "w4a8": ("int8", "dynamic", "float16", "float32"),
    "int8": ("dynamic", "float16", "float32"),
    "int16x8": ("dynamic", "float16", "float32"),
    "dynamic": ("float16", "float32"),
    "float16": ("float32",),
    "float32": (),
}


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The chosen file.

    Attributes:
        content: the file; None if no kind of file could be made.
        check: comparison with its network, or None.
        quantization: its kind, or None.
        problem: why it is not the requested file; None if it is.
        calibration: the calibration inputs, by the file's input names, or None.
    """

    content: bytes | None = None
    check: TFLiteCheck | None = None
    quantization: str | None = None
    problem: str | None = None
    calibration: dict[str, np.ndarray] | None = None

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The entry for the file in `metrics.json`."""
        return self.check and {"quantization": self.quantization, **dataclasses.asdict(self.check)}


class Variants:
    """Makes and measures files, and keeps a row for each.

    Args:
        data: real examples for evaluation only: inputs (by name for texts) and labels; or None.
        calibration: inputs for calibrating int8 files.
        judging: other inputs, for comparing file and network.
        labels: names of the classes to store in files, or None.
        task: the task of the networks' outputs.
        judged_on: description of the judging inputs, for messages.
        vocabulary: vocabulary of a text model to store in files, or None.

    Attributes:
        rows: a dictionary for each variant: its description, "quantization" and the fields of a
            `TFLiteCheck`.
    """

    def __init__(
        self,
        data: Any,
        calibration: Any,
        judging: Any,
        labels: Sequence[str] | None,
        task: Task,
        judged_on: str = "synthesized inputs",
        vocabulary: Tokenizer | None = None,
    ) -> None:
        self.data, self.calibration, self.judging = data, calibration, judging
        self.labels, self.task, self.judged_on = labels, task, judged_on
        self.vocabulary = vocabulary
        self.rows: list[dict] = []

    def add(
        self,
        described: Mapping[str, Any],
        model: keras.Model,
        quantization: str,
        calibration: np.ndarray | None = None,
        learn_rounding: bool = False,
    ) -> tuple[bytes, TFLiteCheck]:
        """Makes a file and adds its row.

        Args:
            described: description of the variant, for its row.
            model: the network.
            quantization: as for `tfkd.export.export_tflite`.
            calibration: other inputs for calibration.
            learn_rounding: as for `tfkd.export.export_tflite`.

        Returns:
            The file's content and its comparison with the network.

        Raises:
            RuntimeError: if the network cannot be converted, or a float32 file computes something
                different.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "variant.tflite")
            check = export.export_tflite(
                model,
                path,
                quantization,
                representative_data=self.calibration if calibration is None else calibration,
                evaluation_data=self.data,
                verification_data=self.judging,
                labels=self.labels,
                task=self.task,
                vocabulary=self.vocabulary,
                learn_rounding=learn_rounding,
            )
            content = pathlib.Path(path).read_bytes()
        self.rows.append({**described, "quantization": quantization, **dataclasses.asdict(check)})
        return content, check

    def choose(
        self,
        described: Mapping[str, Any],
        model: keras.Model,
        quantization: str,
        min_agreement: float,
        say: Callable[[str], None],
        learn_rounding: bool = False,
    ) -> Chosen:
        """Makes the requested file, or the next best kind that agrees with the network.

        Args:
            described: description of the variants, for their rows.
            model: the network.
            quantization: as for `tfkd.export.export_tflite`.
            min_agreement: fraction of the judging inputs, in [0, 1], on which the file must agree.
            say: prints a line, or does nothing.
            learn_rounding: whether the requested file uses learned rounding; the fallback kinds have more
                bits and do not.
        """
        reasons = []
        for kind in (quantization, *_NEXT_BEST[quantization]):
            if reasons and isinstance(model, BridgedModel):
                # A quantization-aware student can only become one kind of file.
                model = strip(model)
            try:
                learned = learn_rounding and kind == quantization
                content, check = self.add(described, model, kind, learn_rounding=learned)
            except (RuntimeError, OSError) as error:
                reasons.append(str(error))
                say(f"no {kind} file: {error}")
                continue
            if check.agreement is None or check.agreement >= min_agreement:
                problem = self._instead(quantization, kind, check, reasons)
                calibration = inputs_of_file(content, self.calibration)
                return Chosen(content, check, kind, problem, calibration)
            reasons.append(self._too_little(kind, check, min_agreement))
            say(reasons[-1])
        return Chosen(problem=f"there is no TFLite file: {reasons[0]}")

    def _too_little(self, kind, check, min_agreement):
        agreeing = self.task.agreement_text(f"{check.agreement:.1%}", self.judged_on)
        return f"the {kind} file and its model {agreeing}, below `min_agreement` {min_agreement:.1%}"

    def _instead(self, asked, kind, check, reasons):
        if not reasons:
            return None
        agreeing = self.task.agreement_text(f"{check.agreement:.1%}", "them")
        return (
            f"the TFLite file is {kind} instead of {asked}, {check.size_bytes:,} bytes: {reasons[0]}; the "
            f"{kind} file and the model {agreeing}"
        )
