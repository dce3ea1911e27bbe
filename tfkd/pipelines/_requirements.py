"""Checks made before any training."""

import os
from collections.abc import Sequence

import keras

from tfkd._core.runtimes import require_litert
from tfkd.export import QUANTIZATIONS
from tfkd.export._low_bits import require_quantizer
from tfkd.export._metadata import description
from tfkd.export._pictures import require_report
from tfkd.export._rounding import KERNEL_BITS


def check_outputs(tflite: str | None, folder: str | os.PathLike | None) -> None:
    """Raises ValueError for an unknown kind of file, ImportError if a package is missing."""
    if tflite is not None and tflite not in QUANTIZATIONS:
        raise ValueError(
            f"`tflite` must be one of {', '.join(QUANTIZATIONS)}, or None. Received: {tflite!r}."
        )
    if tflite is not None:
        require_litert()
        require_quantizer(tflite)
    if folder is not None:
        require_report()


def check_labels(labels: Sequence[str] | None, model: keras.Model) -> None:
    """Raises ValueError or TypeError for names that do not match the model's classes."""
    description(labels, (0.0, 1.0), model.output_shape[-1])


def check_rounding(learn_rounding: bool, quantize: bool, tflite: str | None) -> None:
    """Raises ValueError if learned rounding is requested for a file it does not apply to."""
    if learn_rounding and (quantize or tflite not in KERNEL_BITS):
        raise ValueError(
            f"`learn_rounding` is for {', '.join(KERNEL_BITS)} files (int4 for texts) made without "
            f"`quantize`. Received: `tflite`={tflite!r}, `quantize`={quantize}. Leave it out."
        )
