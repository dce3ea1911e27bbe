"""Runs networks from files that can only predict: TFLite files and TensorFlow SavedModels.

Both are called on float32 images, TFLite files also on inputs by name, and return a list of float32
outputs.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfkd._core import quiet
from tfkd._core.asking import fitting, largest_tensor

SIGNATURE = "serving_default"


def require_litert() -> None:
    """Raises ImportError with the remedy if TFLite files cannot be run here."""
    try:
        import ai_edge_litert.interpreter  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Running TFLite files needs ai-edge-litert: pip install 'tfkd[litert]'."
        ) from error


class TFLiteFile:
    """A TFLite file, ready to run.

    Quantized inputs and outputs are scaled as the file specifies.

    Args:
        content: the file's bytes.
        threads: the number of threads it may use.

    Attributes:
        content: the file's bytes.
        interpreter: the LiteRT interpreter.
        input_shapes: the input shapes by name in the file's signature, with None for the batch, as in a
            Keras model.
        output_shapes: the output shapes by name, in the same form.
        steps: the quantization step of each output; 0 for floats.
        dtypes: the dtypes of the inputs, then of the outputs.
        reason: why the file was not rebuilt with its layers, without a full stop; "" if this was not tried.

    Raises:
        ImportError: if `ai_edge_litert` is not installed.
        ValueError: if it is not a TFLite file.
    """

    def __init__(self, content: bytes, threads: int = 1) -> None:
        require_litert()
        from ai_edge_litert.interpreter import Interpreter

        self.content = content
        with quiet.foreign_output():
            self.interpreter = Interpreter(model_content=content, num_threads=threads)
            self.interpreter.allocate_tensors()
        sources, self._targets = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        names = self._names_in_signature()
        self._sources = {names.get(each["index"], each["name"]): each for each in sources}
        self._batch = int(sources[0]["shape"][0])
        self.input_shapes = _shapes(self._sources)
        self.output_shapes = _shapes(
            {names.get(each["index"], each["name"]): each for each in self._targets}
        )
        self.steps = [each["quantization"][0] for each in self._targets]
        self.dtypes = [np.dtype(each["dtype"]).name for each in (*sources, *self._targets)]
        self.reason = ""

    def _names_in_signature(self):
        """Readable names of inputs and outputs, by index; files from other tools may have none."""
        if len(self.interpreter.get_signature_list()) != 1:
            return {}
        runner = self.interpreter.get_signature_runner()
        named = (*runner.get_input_details().items(), *runner.get_output_details().items())
        return {details["index"]: name for name, details in named}

    @property
    def input_shape(self) -> tuple[Any, ...]:
        """The shape of its only input, with None for the batch; raises ValueError if there are more."""
        if len(self.input_shapes) != 1:
            raise ValueError(f"The file must have one input, images. It has {[*self.input_shapes]}.")
        return next(iter(self.input_shapes.values()))

    @property
    def takes_floats(self) -> bool:
        """Whether any input is float or quantized, rather than plain integers."""
        return any(map(_is_float, self._sources.values()))

    @property
    def integer_range(self) -> tuple[float, float] | None:
        """The smallest and largest number that its only input can represent; None if it takes floats."""
        if len(self._sources) != 1:
            return None
        (details,) = self._sources.values()
        if not np.issubdtype(details["dtype"], np.integer):
            return None
        scale, zero = details["quantization"]
        ends = np.iinfo(details["dtype"])
        # Plain integers have no scale.
        return ((ends.min - zero) * scale, (ends.max - zero) * scale) if scale else (ends.min, ends.max)

    @property
    def rounds(self) -> bool:
        """Whether any of its tensors has 8 bits, so that results are rounded."""
        return any(each["dtype"] in (np.int8, np.uint8) for each in self.interpreter.get_tensor_details())

    @property
    def interface(self) -> list[str]:
        """The dtypes of the float and quantized inputs, and of the outputs."""
        sources = [each for each in self._sources.values() if _is_float(each)]
        return [np.dtype(each["dtype"]).name for each in (*sources, *self._targets)]

    def __call__(self, inputs: np.ndarray | Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs for any number of examples.

        Args:
            inputs: an array if the file has one input; otherwise arrays by name, others are ignored.
        """
        by_name = inputs if isinstance(inputs, Mapping) else dict.fromkeys(self._sources, inputs)
        n = len(next(iter(by_name.values())))
        rows = {name: self._rows(by_name[name], details) for name, details in self._sources.items()}
        return [
            _dequantize(outputs[:n], target)
            for outputs, target in zip(self._run(rows), self._targets, strict=True)
        ]

    def _run(self, rows: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The file's raw outputs for whole batches of inputs, by name and in the file's own dtypes."""
        outputs = [[] for _ in self._targets]
        for start in range(0, len(next(iter(rows.values()))), self._batch):
            for name, details in self._sources.items():
                self.interpreter.set_tensor(details["index"], rows[name][start : start + self._batch])
            self.interpreter.invoke()
            for target, parts in zip(self._targets, outputs, strict=True):
                parts.append(self.interpreter.get_tensor(target["index"]))
        return [np.concatenate(parts) for parts in outputs]

    def _rows(self, values, details):
        """The values for an input, quantized if need be, with zeros appended to fill the last batch."""
        values = np.asarray(values)
        if values.dtype.kind == "f":
            values = values.astype("float32")
        missing = np.zeros((-len(values) % self._batch, *values.shape[1:]), values.dtype)
        values = np.concatenate([values, missing])
        scale, zero = details["quantization"]
        return _as_dtype(values / scale + zero if scale else values, details["dtype"])


class SavedModelFolder:
    """A SavedModel whose signature `serving_default` has one input.

    Args:
        path: the folder.

    Attributes:
        input_shape: the input shape, with None for the batch and other unknown sizes.
        output_shapes: the output shapes by name, in the same form.
        steps: 0 for each output, since outputs are floats.
        rounds: False, since outputs are floats.
        reason: why the model was not rebuilt with its layers, without a full stop; "" if this was not
            tried.

    Raises:
        ValueError: if there is no such signature, or if it does not take batches of images.
    """

    rounds = False

    def __init__(self, path: str | os.PathLike) -> None:
        self.reason = ""
        # Keep the object: the signature alone would not keep the variables alive.
        self._loaded = tf.saved_model.load(os.fspath(path))
        signatures = self._loaded.signatures
        if SIGNATURE not in signatures:
            raise ValueError(f"The SavedModel must have a signature {SIGNATURE!r}. It has {[*signatures]}.")
        self._run = signatures[SIGNATURE]
        inputs = self._run.structured_input_signature[1]
        if len(inputs) != 1:
            raise ValueError(f"{SIGNATURE!r} must have one input, images. It has {sorted(inputs)}.")
        ((self._input, spec),) = inputs.items()
        if not spec.shape.rank or spec.shape[0] is not None:
            raise ValueError(
                f"{SIGNATURE!r} must take any number of images. It takes {spec.shape}; export the model "
                "with a batch size of None."
            )
        self._dtype = spec.dtype.as_numpy_dtype
        self.input_shape = tuple(spec.shape)
        outputs = self._run.structured_outputs
        self.output_shapes = {name: tuple(outputs[name].shape) for name in outputs}
        self.steps = [0.0] * len(outputs)

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """The outputs for any number of images, in batches that fit in memory."""
        images = _as_dtype(images, self._dtype)
        size = fitting(images, largest_tensor(self._run.graph))
        parts = [
            self._run(**{self._input: tf.constant(images[start : start + size])})
            for start in range(0, len(images), size)
        ]
        return [
            np.concatenate([part[name].numpy().astype("float32") for part in parts])
            for name in self.output_shapes
        ]


def _shapes(details):
    return {name: (None, *each["shape"][1:].tolist()) for name, each in details.items()}


def _is_float(details):
    """Whether a tensor holds floats or quantized values, not plain integers."""
    return bool(details["quantization"][0]) or np.issubdtype(details["dtype"], np.floating)


def _as_dtype(images, dtype):
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        images = np.clip(np.round(images), limits.min, limits.max)
    return images.astype(dtype)


def _dequantize(outputs, target):
    scale, zero = target["quantization"]
    outputs = outputs.astype("float32")
    return (outputs - zero) * scale if scale else outputs
