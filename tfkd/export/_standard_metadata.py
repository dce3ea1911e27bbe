"""The description in a TFLite file by TensorFlow Lite's metadata schema, which mobile libraries read."""

from typing import Any, NamedTuple

import flatbuffers
import numpy as np

NAME = "TFLITE_METADATA"
LABELS = "labels.txt"

# A table of the schema: values by the field numbers in metadata_schema.fbs, from 0. Scalars are NumPy
# scalars of the field's width.
_Table = dict[int, Any]
_FILE_IDENTIFIER = b"M001"
# The first parser version that supports the type VOCABULARY; all other fields used here are older.
_MIN_PARSER_VERSION = "1.0.1"
_AXIS_LABELS, _VOCABULARY = np.uint8(2), np.uint8(5)
_FEATURE, _IMAGE = np.uint8(1), np.uint8(2)
_NORMALIZATION = np.uint8(1)
_COLOR_SPACES = {3: np.uint8(1), 1: np.uint8(2)}


class Tensor(NamedTuple):
    """An input or an output of a file.

    Args:
        name: the name in the file's signature.
        shape: the shape, with the batch axis.
    """

    name: str
    shape: tuple[int, ...]


def standard_metadata(
    inputs: list[Tensor], outputs: list[Tensor], described: dict[str, Any], activation: str | None
) -> bytes:
    """The content of the metadata entry "TFLITE_METADATA".

    Inputs with 1 or 3 channels are images. Libraries scale pixels from 0 to 255 to the file's range with
    `(pixel - mean) / std`, whether the file takes floats or 8-bit integers.

    Args:
        inputs: the inputs in the order of the file.
        outputs: the outputs in the order of the file.
        described: the result of `description`, for texts together with the result of `described_tokens`.
        activation: "softmax" or "sigmoid" if it was applied to the outputs; else None.

    Returns:
        A flatbuffer of the schema.

    Reference:
        metadata_schema.fbs 1.5.0 of TensorFlow Lite Support and MediaPipe.
    """
    answers = f"After {activation}." if activation else "As computed, without softmax or sigmoid."
    subgraph = {2: [_input(each, described) for each in inputs]}
    subgraph[3] = [_output(each, described["labels"], answers) for each in outputs]
    builder = flatbuffers.Builder(1024)
    root = _written(builder, {0: "tfkd", 3: [subgraph], 7: _MIN_PARSER_VERSION})
    builder.Finish(root, file_identifier=_FILE_IDENTIFIER)
    return bytes(builder.Output())


def axis_labels(labels: list[str], shape: tuple[int, ...]) -> list[str]:
    """The names along the last axis of an output; for a binary classifier's single column the last name."""
    return labels[-shape[-1] :]


def _input(tensor: Tensor, described: dict[str, Any]) -> _Table:
    table: _Table = {0: tensor.name, 3: {0: _FEATURE, 1: {}}}
    if described["input_range"] is not None and _is_image(tensor):
        low, high = described["input_range"]
        _, height, width, channels = tensor.shape
        size = {0: np.uint32(width), 1: np.uint32(height)}
        table[3] = {0: _IMAGE, 1: {0: _COLOR_SPACES[channels], 1: size}}
        std = 255 / (high - low)
        table[4] = [{0: _NORMALIZATION, 1: {0: _floats(-low * std), 1: _floats(std)}}]
        table[5] = {0: _floats(high), 1: _floats(low)}
    if "vocabulary" in described and tensor.name == "token_ids":
        table[6] = [{0: described["vocabulary"]["file"], 2: _VOCABULARY}]
    return table


def _is_image(tensor):
    return len(tensor.shape) == 4 and tensor.shape[-1] in _COLOR_SPACES


def _output(tensor: Tensor, labels: list[str] | None, answers: str) -> _Table:
    table: _Table = {0: tensor.name, 1: answers, 3: {0: _FEATURE, 1: {}}}
    if labels is not None:
        table[6] = [{0: LABELS, 2: _AXIS_LABELS}]
    return table


def _floats(value: float) -> np.ndarray:
    """One value for all channels, as an array."""
    # Without this, 0 is written as -0.
    return np.array([value + 0.0], "float32")


def _written(builder: flatbuffers.Builder, value: Any) -> int:
    """Writes a string, a vector or a table, its content first, and returns its offset."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, np.ndarray):
        return builder.CreateNumpyVector(value)
    if isinstance(value, list):
        offsets = [_written(builder, each) for each in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()
    fields = {
        number: field if isinstance(field, np.generic) else _written(builder, field)
        for number, field in value.items()
    }
    builder.StartObject(max(fields, default=-1) + 1)
    for number, field in fields.items():
        if isinstance(field, int):
            builder.PrependUOffsetTRelativeSlot(number, field, 0)
        elif field.dtype == "uint8":
            builder.PrependUint8Slot(number, int(field), 0)
        else:
            builder.PrependUint32Slot(number, int(field), 0)
    return builder.EndObject()
