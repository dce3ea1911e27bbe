"""Writing and reading the files of a complete run."""

import os
import pathlib

import keras

from tfkd._core import files, model_files
from tfkd.export import TFLiteCheck
from tfkd.export._calibration import load_calibration, write_calibration
from tfkd.export._card_facts import card_facts
from tfkd.export._model_card import write_model_card
from tfkd.pipelines._results import Compressed, Distilled, Result, Searched
from tfkd.pipelines._run_folder import RunFolder
from tfkd.tasks import Task

_CALIBRATION = "calibration.npz"


def write(result: Result, folder: RunFolder, network: keras.Model, name: str, task: Task) -> None:
    """Writes all but the network, the metrics last: their presence marks a complete run.

    Args:
        result: the result to write.
        folder: the folder, which already contains the network.
        network: the network.
        name: base name of the files.
        task: the task of its outputs.
    """
    folder.check()
    if result.tflite is not None:
        files.write_bytes(folder.file(f"{name}.tflite"), result.tflite)
    if result.calibration is not None:
        write_calibration(folder.file(_CALIBRATION), result.calibration)
    result.report(folder.file("report.html"))
    facts = card_facts(result.metrics, network, task, result.tflite, _sizes(folder, name))
    write_model_card(folder.path, facts)
    folder.write_json("metrics.json", result.metrics)


def _sizes(folder, name):
    """Sizes in bytes of the networks and their data, by their names in the folder."""
    root = pathlib.Path(folder.path)
    taken = (f"{name}.keras", f"{name}.tflite", _CALIBRATION, "students/*", "tokenizer/*")
    paths = [path for pattern in taken for path in sorted(root.glob(pattern))]
    return {path.relative_to(root).as_posix(): path.stat().st_size for path in paths}


def read(folder: RunFolder) -> Distilled:
    """The result of a complete run of `distil`."""
    return Distilled(
        student=model_files.load_keras(folder.file("student.keras"), "folder"),
        history=folder.read_json("history.json"),
        **_measured(folder, "student.tflite"),
    )


def read_compressed(folder: RunFolder) -> Compressed:
    """The result of a complete run of `compress`."""
    model = model_files.load_keras(folder.file("model.keras"), "folder")
    return Compressed(model=model, **_measured(folder, "model.tflite"))


def read_searched(folder: RunFolder) -> Searched:
    """The result of a complete run of `search`."""
    student = model_files.load_keras(folder.file("student.keras"), "folder")
    return Searched(student=student, **_measured(folder, "student.tflite"))


def _measured(folder, tflite):
    metrics = folder.read_json("metrics.json")
    check = metrics["tflite"] or {}
    calibration = folder.file(_CALIBRATION)
    return {
        "metrics": metrics,
        "tflite": pathlib.Path(folder.file(tflite)).read_bytes() if check else None,
        "tflite_check": TFLiteCheck(**check) if check else None,
        # Runs of earlier versions did not write it.
        "calibration": load_calibration(calibration) if os.path.exists(calibration) else None,
        "problem": metrics["problem"],
        "folder": folder.path,
        "write_report": lambda path: files.write_bytes(path, _report(folder)),
    }


def _report(folder):
    return pathlib.Path(folder.file("report.html")).read_bytes()
