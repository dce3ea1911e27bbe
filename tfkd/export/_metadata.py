"""What a TFLite file says of itself: the classes' names and the range of its inputs."""

import json
import os
import pathlib
from collections.abc import Sequence

_NAME = "tfkd"


def description(
    labels: Sequence[str] | None, input_range: tuple[float, float] | None, classes: int
) -> dict:
    """What is written into a file, checked.

    Args:
        labels: names of the classes, labels or numbers, or None.
        input_range: lowest and highest value of inputs; None of texts.
        classes: how many there are.

    Raises:
        TypeError: if `labels` is a single name.
        ValueError: if there are more or fewer names than classes, or the range is not one.
    """
    if isinstance(labels, str):
        raise TypeError(f"`labels` must be a list of names. Received: {labels!r}.")
    if labels is not None and len(labels) != classes:
        raise ValueError(
            f"`labels` must be {classes} names, one for each class. Received: {len(labels)} names."
        )
    names = None if labels is None else [str(label) for label in labels]
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


def with_metadata(content: bytes, described: dict) -> bytes:
    """The file with a metadata entry "tfkd", a JSON object.

    Args:
        content: a TFLite file.
        described: what `description` gave.

    Returns:
        The file's bytes.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    buffer = schema.BufferT()
    buffer.data = list(json.dumps(described).encode())
    entry = schema.MetadataT()
    entry.name, entry.buffer = _NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def read_metadata(file: bytes | str | os.PathLike) -> dict:
    """What `export_tflite` wrote into a TFLite file.

    Args:
        file: its path, or its content.

    Returns:
        "labels" (names of the classes, or None) and "input_range" (lowest and highest value of inputs, None
        of texts); for texts also "length" (in tokens) and, if it was given, "vocabulary" (its file in the
        zip archive that the TFLite file is, its size, and of a tokenizer the ids of padding, mask, class
        and separator, and its fingerprint).

    Raises:
        ValueError: if the file holds no such entry.

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
