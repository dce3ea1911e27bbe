"""Variants of a network as TFLite files, measured side by side."""

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfkd import export
from tfkd.export import TFLiteCheck
from tfkd.pipelines._examples import Examples
from tfkd.tasks import Task


class Variants:
    """Makes and measures files, and keeps a row for each.

    Args:
        data: real examples, only to measure, or None.
        calibration: synthetic inputs that int8 files take their ranges from.
        judging: other synthetic inputs, on which file and network are compared.
        labels: names of the classes for files to carry, or None.
        task: what the networks' outputs mean.

    Attributes:
        rows: a dictionary for each variant: what it is, "quantization" and the fields of a `TFLiteCheck`.
    """

    def __init__(
        self,
        data: Examples | None,
        calibration: np.ndarray,
        judging: np.ndarray,
        labels: Sequence[str] | None,
        task: Task,
    ) -> None:
        self.data, self.calibration, self.judging = data, calibration, judging
        self.labels, self.task = labels, task
        self.rows: list[dict] = []

    def add(
        self,
        described: Mapping[str, Any],
        model: keras.Model,
        quantization: str,
        calibration: np.ndarray | None = None,
        min_agreement: float = 0.0,
    ) -> tuple[bytes, TFLiteCheck]:
        """Makes a file and adds its row.

        Args:
            described: what the variant is, for its row.
            model: the network.
            quantization: as `tfkd.export.export_tflite` takes it.
            calibration: other inputs to take ranges from.
            min_agreement: share of the judging inputs on which the file has to answer as the network does.

        Returns:
            The file's content and how it compares with the network.

        Raises:
            RuntimeError: if the network cannot be converted, or the file agrees too little with it.
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
                min_agreement=min_agreement,
                labels=self.labels,
                task=self.task,
            )
            content = pathlib.Path(path).read_bytes()
        self.rows.append({**described, "quantization": quantization, **dataclasses.asdict(check)})
        return content, check
