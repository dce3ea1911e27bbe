"""The facts in a model card about the network from a run, as one dictionary."""

import os
from collections.abc import Mapping
from typing import Any

import keras

from tfkd._core.runtimes import TFLiteFile
from tfkd.export._card_limits import examples, judged_on, learned_from, limits
from tfkd.export._metadata import read_metadata
from tfkd.export._signature import declared_inputs, takes_texts
from tfkd.tasks import Task, output_shape_of

_LICENSE = (
    "The licences of the teacher and of the training data apply to this network; tfkd does not know them."
)


def card_facts(
    metrics: dict,
    model: keras.Model,
    task: Task,
    tflite: bytes | None,
    sizes: Mapping[str, int],
) -> dict[str, Any]:
    """The facts about a network, in a form that can be written as JSON.

    Args:
        metrics: the contents of `metrics.json`.
        model: the network from the run.
        task: its task.
        tflite: the content of its TFLite file, or None.
        sizes: the sizes of the run's files in bytes, by name.

    Returns:
        A dictionary with "name", "task", "parameters", "inputs", "outputs", "labels", "tflite", "origin",
        "figures", "limits", "license", "files" and "tags".
    """
    return {
        "name": model.name,
        "task": task.name,
        "parameters": model.count_params(),
        "inputs": _inputs(model),
        "outputs": {"shape": list(output_shape_of(model)), "meaning": task.outputs_are},
        "labels": metrics["class_names"],
        "tflite": None if tflite is None else _file(tflite, metrics),
        "origin": _origin(metrics),
        "figures": _figures(metrics),
        "limits": limits(metrics, task),
        "license": _LICENSE,
        "files": [{"name": name, "size_bytes": size} for name, size in sizes.items()],
        "tags": ["tfkd", "knowledge-distillation", task.name.replace("_", "-")],
    }


def _inputs(model):
    declared = declared_inputs(model)
    values = "integers" if takes_texts(declared) else "in [0, 1]"
    return [
        {"name": name, "shape": list(each.shape), "dtype": each.dtype, "values": values}
        for name, each in declared.items()
    ]


def _file(content, metrics):
    """The inputs and outputs of a TFLite file, for one example, and its metadata."""
    file = TFLiteFile(content)
    shapes = {**file.input_shapes, **file.output_shapes}
    takes = [
        {"name": name, "shape": list(shape[1:]), "dtype": dtype}
        for (name, shape), dtype in zip(shapes.items(), file.dtypes, strict=True)
    ]
    inputs = len(file.input_shapes)
    return {
        "quantization": metrics["tflite"]["quantization"],
        "inputs": takes[:inputs],
        "outputs": takes[inputs:],
        **read_metadata(content),
    }


def _origin(metrics):
    """How the network was made."""
    teacher = metrics["teacher"]
    return {
        "pipeline": metrics["pipeline"],
        "teacher": teacher["name"]
        if isinstance(teacher, Mapping)
        else teacher and os.path.basename(teacher),
        "method": _method(metrics),
        "learned_from": learned_from(metrics),
        "training_examples": metrics.get("training_images"),
        "command": metrics["command"],
        "seed": metrics["seed"],
        "seconds": metrics["wall_seconds"],
        "device": metrics["device"],
        "versions": metrics["versions"],
    }


def _method(metrics):
    """The name of the method: the search strategy, the scheme or the recipe."""
    if metrics["pipeline"] == "search" and metrics["training_images"]:
        return f"{metrics['strategy']} search"
    return (metrics.get("scheme") or metrics["recipe"])["name"]


def _figures(metrics):
    """The measured figures, with the network and the data that they were measured on."""
    rows = [
        _figure(of, name.replace("_", " "), value, examples(metrics))
        for of, scores in _scores(metrics).items()
        for name, value in scores.items()
    ]
    if metrics["pipeline"] == "search":
        found = metrics["search"]
        best = next(trial for trial in found["trials"] if trial["point"] == found["best"])
        rows.append(_figure("student", found["objective"], best["objective"], "inputs used to choose it"))
    if metrics.get("agreement") is not None:
        name = "agreement with the teacher"
        rows.append(_figure("student", name, metrics["agreement"], metrics["agreement_on"]))
    if tflite := metrics["tflite"]:
        name = "agreement with its Keras model"
        rows.append(_figure("TFLite file", name, tflite["agreement"], judged_on(metrics)))
        name = "milliseconds for one input"
        rows.append(_figure("TFLite file", name, tflite["latency_ms"], metrics["device"]))
    return rows


def _figure(of, name, value, on):
    return {"of": of, "name": name, "value": value, "on": on}


def _scores(metrics):
    """The task's figures, by the network or file that was measured."""
    if metrics["pipeline"] == "compress":
        first, *_, last = metrics["variants"]
        scores = {"model before": first["scores"], "compressed model": last["model_scores"]}
    else:
        entries = {"teacher": metrics["teacher"], "student": metrics["student"]}
        scores = {of: entry["scores"] for of, entry in entries.items() if entry}
    return {**scores, "TFLite file": metrics["tflite"]["scores"]} if metrics["tflite"] else scores
