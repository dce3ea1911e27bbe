"""Runs TFLite files with LiteRT's `CompiledModel`, which newer apps use instead of the interpreter."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfkd._core import files
from tfkd._core.runtimes import TFLiteFile

_PROGRAM = pathlib.Path(__file__).with_name("running_compiled.py")
_SECONDS = 120


class _Refused(Exception):
    """`CompiledModel` cannot run the file."""


class _CompiledFile(TFLiteFile):
    """A TFLite file that `CompiledModel` runs in a separate process.

    It can crash on a file, searches for accelerators, and logs when it exits.

    Args:
        content: the file's bytes.
    """

    def _run(self, rows: dict[str, Any]):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "model.tflite").write_bytes(self.content)
            files.write_arrays(folder / "inputs.npz", rows)
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            # Run a copy: for the original, Python would first import modules from its folder.
            program = shutil.copy(_PROGRAM, folder)
            try:
                subprocess.run(
                    [sys.executable, program, name],
                    env=environment,
                    capture_output=True,
                    check=True,
                    timeout=_SECONDS,
                )
                with np.load(folder / "outputs.npz") as saved:
                    return [saved[output] for output in self.output_shapes]
            except (subprocess.SubprocessError, OSError, KeyError) as error:
                raise _Refused from error


def compiled_outputs(
    content: bytes, inputs: np.ndarray | Mapping[str, np.ndarray]
) -> list[np.ndarray] | None:
    """The outputs of `CompiledModel` on the CPU for any number of examples.

    Args:
        content: the file's bytes.
        inputs: as a `TFLiteFile` takes them.

    Returns:
        float32 outputs; None if this version of LiteRT has no `CompiledModel`, or if it cannot run the
        file.
    """
    if importlib.util.find_spec("ai_edge_litert.compiled_model") is None:
        return None
    try:
        return _CompiledFile(content)(inputs)
    except _Refused:
        return None
