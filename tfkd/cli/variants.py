"""Variants of a model as TFLite files, measured side by side."""

import dataclasses

import keras
import numpy as np

from tfkd import compression, export


class Variants:
    """Measures files as they come and keeps a row for each.

    Args:
        data: real `(images, labels)`, only to measure, or None.
        calibration: synthetic images that int8 files take their ranges from.
        judging: other synthetic images, on which file and model are compared.
        labels: names of the classes for files to carry, or None.

    Attributes:
        rows: a dictionary for each variant: "name", "quantization", "sparsity" and the fields of a
            `TFLiteCheck`.
    """

    def __init__(
        self,
        data: tuple[np.ndarray, np.ndarray] | None,
        calibration: np.ndarray,
        judging: np.ndarray,
        labels: list[str] | None = None,
    ) -> None:
        self.data, self.calibration, self.judging, self.labels = data, calibration, judging, labels
        self.rows: list[dict] = []

    def measure(self, name: str, model: keras.Model, quantization: str) -> None:
        """Converts a model and adds its row; nothing is written."""
        self._add(name, model, quantization, self.calibration)

    def measure_random_calibration(self, name: str, model: keras.Model) -> None:
        """The int8 file with synthetic calibration, and beside it one whose ranges come from noise."""
        self.measure(name, model, "int8")
        noise = np.random.default_rng(0).uniform(size=self.calibration.shape).astype("float32")
        self._add(f"{name}, calibrated by noise", model, "int8", noise)

    def write(self, model: keras.Model, quantization: str, path: str, min_agreement: float) -> None:
        """Writes the file that was asked for, and adds its row.

        Raises:
            RuntimeError: if it agrees too little with the model.
        """
        self._add("written file", model, quantization, self.calibration, path, min_agreement)

    def _add(self, name, model, quantization, calibration, path=None, min_agreement=0.0):
        check = export.export_tflite(
            model,
            path,
            quantization,
            representative_data=calibration,
            evaluation_data=self.data,
            verification_data=self.judging,
            min_agreement=min_agreement,
            labels=self.labels,
        )
        row = {"name": name, "quantization": quantization, "sparsity": compression.sparsity(model)}
        self.rows.append({**row, **dataclasses.asdict(check)})

    def print_table(self) -> None:
        """One line for each variant."""
        names = [f"{row['name']}, {row['quantization']}" for row in self.rows]
        width = max(map(len, names))
        print(f"\n{'':{width}} accuracy  agrees     bytes      gzip       ms")
        for name, row in zip(names, self.rows, strict=True):
            accuracy = "-" if row["accuracy"] is None else f"{row['accuracy']:.2%}"
            print(
                f"{name:{width}} {accuracy:>8} {row['agreement']:>7.1%} "
                f"{row['size_bytes']:>9,} {row['gzip_bytes']:>9,} {row['latency_ms']:>8.3f}"
            )
