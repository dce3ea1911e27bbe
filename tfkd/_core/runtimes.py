"""Runs networks from files that only answer: TFLite files and TensorFlow's SavedModels.

Both kinds are called on float32 images, TFLite files also on inputs by name, and return a list of float32
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

    Integer inputs and outputs that stand for floats are scaled as the file says.

    Args:
        content: the file's bytes.
        threads: how many threads it may use.

    Attributes:
        content: the file's bytes.
        interpreter: LiteRT's.
        input_shapes: by the input's name in the file's signature, with None for the batch, as a Keras
            model's.
        output_shapes: by the output's name, likewise.
        steps: for each output, how far apart its values lie; 0 for floats.
        dtypes: of the inputs, and of each output.
        reason: why it is not rebuilt with its layers, without a full stop; "" if nobody tried.

    Raises:
        ImportError: if `ai_edge_litert` is not installed.
        ValueError: if it is no TFLite file.
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
        """Names of inputs and outputs for people, by their index; files of other tools may have none."""
        if len(self.interpreter.get_signature_list()) != 1:
            return {}
        runner = self.interpreter.get_signature_runner()
        named = (*runner.get_input_details().items(), *runner.get_output_details().items())
        return {details["index"]: name for name, details in named}

    @property
    def input_shape(self) -> tuple[Any, ...]:
        """The shape of its only input, with None for the batch; raises ValueError if there are several."""
        if len(self.input_shapes) != 1:
            raise ValueError(f"The file must have one input, images. It has {[*self.input_shapes]}.")
        return next(iter(self.input_shapes.values()))

    @property
    def takes_floats(self) -> bool:
        """Whether inputs are floats, or integers that stand for floats, and not plain integers."""
        return any(map(_is_float, self._sources.values()))

    @property
    def integer_range(self) -> tuple[float, float] | None:
        """The least and largest number that its only input can stand for; None if that takes floats."""
        if len(self._sources) != 1:
            return None
        (details,) = self._sources.values()
        if not np.issubdtype(details["dtype"], np.integer):
            return None
        scale, zero = details["quantization"]
        ends = np.iinfo(details["dtype"])
        # Plain integers stand for themselves.
        return ((ends.min - zero) * scale, (ends.max - zero) * scale) if scale else (ends.min, ends.max)

    @property
    def rounds(self) -> bool:
        """Whether any of its numbers has 8 bits, so that it rounds as it runs."""
        return any(each["dtype"] in (np.int8, np.uint8) for each in self.interpreter.get_tensor_details())

    @property
    def interface(self) -> list[str]:
        """The dtypes of those inputs that are floats or stand for them, and of the outputs."""
        sources = [each for each in self._sources.values() if _is_float(each)]
        return [np.dtype(each["dtype"]).name for each in (*sources, *self._targets)]

    def __call__(self, inputs: np.ndarray | Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs for any number of examples.

        Args:
            inputs: an array for a file of one input; else arrays by name, of which it takes its own.
        """
        by_name = inputs if isinstance(inputs, Mapping) else dict.fromkeys(self._sources, inputs)
        n = len(next(iter(by_name.values())))
        rows = {name: self._rows(by_name[name], details) for name, details in self._sources.items()}
        return [
            _dequantize(outputs[:n], target)
            for outputs, target in zip(self._run(rows), self._targets, strict=True)
        ]

    def _run(self, rows: dict[str, np.ndarray]) -> list[np.ndarray]:
        """What the file returns for whole batches of inputs, by name and in the file's own dtypes."""
        outputs = [[] for _ in self._targets]
        for start in range(0, len(next(iter(rows.values()))), self._batch):
            for name, details in self._sources.items():
                self.interpreter.set_tensor(details["index"], rows[name][start : start + self._batch])
            self.interpreter.invoke()
            for target, parts in zip(self._targets, outputs, strict=True):
                parts.append(self.interpreter.get_tensor(target["index"]))
        return [np.concatenate(parts) for parts in outputs]

    def _rows(self, values, details):
        """What goes into an input, with zeros behind that make the last batch whole."""
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
        input_shape: with None for the batch and wherever any size goes.
        output_shapes: by the output's name, likewise.
        steps: 0 for each output, since its values are floats.
        rounds: False, likewise.
        reason: why it is not rebuilt with its layers, without a full stop; "" if nobody tried.

    Raises:
        ValueError: if there is no such signature, or it takes other inputs than images by the batch.
    """

    rounds = False

    def __init__(self, path: str | os.PathLike) -> None:
        self.reason = ""
        # The signature alone would not keep the variables.
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
                "with an open batch."
            )
        self._dtype = spec.dtype.as_numpy_dtype
        self.input_shape = tuple(spec.shape)
        outputs = self._run.structured_outputs
        self.output_shapes = {name: tuple(outputs[name].shape) for name in outputs}
        self.steps = [0.0] * len(outputs)

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """The outputs for any number of images, in parts that memory holds."""
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
    """Whether a tensor holds floats, or integers that stand for floats, and not plain integers."""
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
