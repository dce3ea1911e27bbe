"""Reads the graph of a TFLite file: operators in order, tensors, and constants as arrays."""

import dataclasses
from typing import Any

import numpy as np

# Types that represent floats; other constants are handled by the operators.
_DTYPES = {"FLOAT32": "<f4", "FLOAT16": "<f2", "INT8": "i1", "INT32": "<i4", "INT64": "<i8"}


class NotCovered(ValueError):
    """An unsupported feature of a file, as the end of a sentence about the file."""


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        kind: its name in TFLite's schema, such as "CONV_2D".
        name: name of the corresponding layer.
        options: its TFLite options object; None if it has none.
        inputs: indices of tensors, -1 for a missing one.
        output: the index of its first output.
        outputs: number of outputs.
    """

    kind: str
    name: str
    options: Any
    inputs: tuple[int, ...]
    output: int
    outputs: int


class Graph:
    """The only graph of a TFLite file.

    Args:
        content: bytes of a file that `untrusted.check_tflite` has looked at.

    Attributes:
        operators: the operators in execution order.
        input, output: indices of its only input and output.
        batch: its batch size.

    Raises:
        NotCovered: if it has several graphs, inputs or outputs, or an input that is not float.
    """

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._kinds = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
        model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        if len(model.subgraphs) != 1:
            raise NotCovered(f"it has {len(model.subgraphs)} graphs")
        (graph,) = model.subgraphs
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise NotCovered(
                f"it has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, not one of each"
            )
        self._tensors, self._buffers = graph.tensors, model.buffers
        self.input, self.output = int(graph.inputs[0]), int(graph.outputs[0])
        if self.kind(self.input) != "FLOAT32" or self.kind(self.output) != "FLOAT32":
            raise NotCovered("its inputs or outputs are integers")
        self.batch = self.shape(self.input)[0]
        names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
        codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
        self.operators = [
            _operator(each, names[codes[each.opcodeIndex]], index)
            for index, each in enumerate(graph.operators)
        ]

    def kind(self, index: int) -> str:
        """The type of a tensor, such as "FLOAT32"."""
        return self._kinds[self._tensors[index].type]

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of a tensor, with the batch; an open size is 1."""
        shape = self._tensors[index].shape
        return () if shape is None else tuple(map(int, shape))

    def constant(self, index: int) -> np.ndarray | None:
        """The value of a constant, with int8 dequantized; None if it is computed.

        Raises:
            NotCovered: if it is sparse, or of an unsupported type.
        """
        tensor = self._tensors[index]
        data = self._buffers[tensor.buffer].data
        if data is None or len(data) == 0:
            return None
        if tensor.sparsity is not None or self.kind(index) not in _DTYPES:
            raise NotCovered(f"it has constants of type {self.kind(index)}, or sparse ones")
        values = np.frombuffer(bytes(data), _DTYPES[self.kind(index)]).reshape(self.shape(index))
        if values.dtype.itemsize < 4:
            return _as_floats(values, tensor.quantization)
        return values


def _operator(entry, kind, index):
    return Operator(
        kind=kind,
        name=f"{kind.lower()}_{index}",
        options=entry.builtinOptions,
        inputs=tuple(map(int, entry.inputs)),
        output=int(entry.outputs[0]),
        outputs=len(entry.outputs),
    )


def _as_floats(values, quantization):
    """Dequantizes stored values: 8-bit ones have a scale, for all or per channel."""
    floats = values.astype("float32")
    if quantization is None or quantization.scale is None or not len(quantization.scale):
        return floats
    shape = [1] * values.ndim
    if len(quantization.scale) > 1:
        shape[quantization.quantizedDimension] = -1
    zero = np.reshape(quantization.zeroPoint, shape).astype("float32")
    return (floats - zero) * np.reshape(quantization.scale, shape)
