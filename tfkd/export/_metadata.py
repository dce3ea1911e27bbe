"""Metadata of TFLite files: the class names and the input range."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from tfkd.export import _standard_metadata as standard
from tfkd.export._associated_files import with_files
from tfkd.export._vocabulary import NAME as VOCABULARY

_NAME = "tfkd"


def description(
    labels: Sequence[str] | None, input_range: tuple[float, float] | None, classes: int
) -> dict:
    """The metadata for a file, checked.

    Args:
        labels: the names of the classes, labels or numbers, or None.
        input_range: the lowest and highest value of inputs; None for texts.
        classes: the number of classes.

    Raises:
        TypeError: if `labels` is a single name.
        ValueError: if the number of names differs from the number of classes, a name contains a line break,
            or the range is invalid.
    """
    if isinstance(labels, str):
        raise TypeError(f"`labels` must be a list of names. Received: {labels!r}.")
    if labels is not None and len(labels) != classes:
        raise ValueError(
            f"`labels` must be {classes} names, one for each class. Received: {len(labels)} names."
        )
    names = None if labels is None else [str(label) for label in labels]
    if broken := [name for name in names or [] if {"\n", "\r"} & set(name)]:
        raise ValueError(f"`labels` must be names without line breaks. Received: {broken[0]!r}.")
    return {"labels": names, "input_range": None if input_range is None else limits(input_range)}


def limits(input_range: tuple[float, float]) -> list[float]:
    """The lowest and the highest value of inputs.

    Raises:
        ValueError: if they are not two such numbers.
    """
    values = [float(value) for value in input_range]
    if len(values) != 2 or not values[0] < values[1]:
        raise ValueError(
            f"`input_range` must be the lowest and the highest value of inputs. Received: {input_range!r}."
        )
    return values


def with_metadata(
    content: bytes, described: dict, activation: str | None, tokens: Sequence[str] | None
) -> bytes:
    """Adds two metadata entries to a file: TensorFlow Lite's own, and "tfkd", a JSON object.

    Args:
        content: a TFLite file.
        described: the result of `description`.
        activation: "softmax" or "sigmoid" if it was applied to the outputs.
        tokens: the tokens of a text model's vocabulary, by id; None for none.

    Returns:
        The file's bytes, with `labels.txt` and `vocab.txt` packed into it if there are labels and tokens.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    inputs, outputs = _ends(model)
    texts = {
        _NAME: json.dumps(described).encode(),
        standard.NAME: standard.standard_metadata(inputs, outputs, described, activation),
    }
    for name, text in texts.items():
        buffer = schema.BufferT()
        buffer.data = list(text)
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, len(model.buffers)
        model.buffers.append(buffer)
        model.metadata = [*(model.metadata or []), entry]
    files = {}
    if described["labels"] is not None:
        files[standard.LABELS] = standard.axis_labels(described["labels"], outputs[0].shape)
    if tokens is not None:
        files[VOCABULARY] = tokens
    return with_files(bytes(flatbuffer_utils.convert_object_to_bytearray(model)), files)


def _ends(model: Any) -> tuple[list[standard.Tensor], list[standard.Tensor]]:
    """The inputs and outputs of a TFLite file, in its order."""
    (graph, *_), (signature, *_) = model.subgraphs, model.signatureDefs
    names = {each.tensorIndex: each.name.decode() for each in (*signature.inputs, *signature.outputs)}
    inputs, outputs = (
        [standard.Tensor(names[i], tuple(map(int, graph.tensors[i].shape))) for i in indices]
        for indices in (graph.inputs, graph.outputs)
    )
    return inputs, outputs


def read_metadata(file: bytes | str | os.PathLike) -> dict:
    """Reads the metadata that `export_tflite` wrote into a TFLite file.

    Args:
        file: its path, or its content.

    Returns:
        A dictionary with "labels" (the class names, or None) and "input_range" (the lowest and highest
        value of inputs, or None for texts); for texts also "length" (in tokens) and, if it was given,
        "vocabulary" (its size, the name of its file in the TFLite file's zip archive, and for a tokenizer
        its fingerprint and the ids of padding, mask, class and separator).

    Raises:
        ValueError: if the file has no such metadata.

    Example:
        >>> tfkd.export.read_metadata("student.tflite")["labels"]
    """
    from tensorflow.lite.tools import flatbuffer_utils

    content = file if isinstance(file, bytes) else pathlib.Path(file).read_bytes()
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    for entry in model.metadata or []:
        if entry.name in (_NAME, _NAME.encode()):
            return json.loads(bytes(bytearray(model.buffers[entry.buffer].data)))
    raise ValueError("`file` has no metadata of tfkd; export it with tfkd.export.export_tflite.")
