"""What a TFLite file says of itself: the classes' names and the range of its inputs."""

import json
import os
import pathlib
from collections.abc import Sequence

_NAME = "tfkd"


def with_metadata(content: bytes, labels: Sequence[str] | None, input_range: tuple[float, float]) -> bytes:
    """The file with a metadata entry "tfkd", a JSON object.

    Args:
        content: a TFLite file.
        labels: names of the classes, or None.
        input_range: lowest and highest value of inputs.

    Returns:
        The file's bytes.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    described = {"labels": None if labels is None else list(labels), "input_range": list(input_range)}
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
        "labels" (names of the classes, or None) and "input_range" (lowest and highest value of inputs).

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
