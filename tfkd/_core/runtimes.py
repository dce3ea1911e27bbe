"""Runs networks from files that only answer: TFLite files and TensorFlow's SavedModels.

Both kinds are called on float32 images and return a list of float32 outputs.
"""

import os

import numpy as np
import tensorflow as tf

from tfkd._core import quiet
from tfkd._core.asking import fitting, largest_tensor

_SIGNATURE = "serving_default"


def require_litert() -> None:
    """Raises ImportError with the remedy if TFLite files cannot be run here."""
    try:
        import ai_edge_litert.interpreter  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Running TFLite files needs ai-edge-litert: pip install 'tfkd[litert]'."
        ) from error


class TFLiteFile:
    """A TFLite file with one input, ready to run.

    Integer inputs and outputs are scaled as the file says.

    Args:
        content: the file's bytes.
        threads: how many threads it may use.

    Attributes:
        interpreter: LiteRT's.
        input_shape: with None for the batch, as a Keras model's.
        output_shapes: by the output's name, likewise.
        steps: for each output, how far apart its values lie; 0 for floats.
        dtypes: of the input, and of each output.

    Raises:
        ImportError: if `ai_edge_litert` is not installed.
        ValueError: if it is no TFLite file, or has several inputs.
    """

    def __init__(self, content: bytes, threads: int = 1) -> None:
        require_litert()
        from ai_edge_litert.interpreter import Interpreter

        with quiet.foreign_output():
            self.interpreter = Interpreter(model_content=content, num_threads=threads)
            self.interpreter.allocate_tensors()
        inputs, self._targets = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        if len(inputs) != 1:
            raise ValueError(
                f"The file must have one input, images. It has {[each['name'] for each in inputs]}."
            )
        self._source = inputs[0]
        self._batch, *shape = (int(size) for size in self._source["shape"])
        self.input_shape = (None, *shape)
        names = self._names_in_signature()
        self.output_shapes = {
            names.get(each["index"], each["name"]): (None, *each["shape"][1:].tolist())
            for each in self._targets
        }
        self.steps = [each["quantization"][0] for each in self._targets]
        self.dtypes = [np.dtype(each["dtype"]).name for each in (self._source, *self._targets)]

    def _names_in_signature(self):
        """The outputs' names for people, by their index; files of other tools may have none."""
        if len(self.interpreter.get_signature_list()) != 1:
            return {}
        outputs = self.interpreter.get_signature_runner().get_output_details()
        return {details["index"]: name for name, details in outputs.items()}

    @property
    def takes_floats(self) -> bool:
        """Whether inputs are floats, or integers that stand for floats, and not plain integers."""
        return bool(self._source["quantization"][0]) or np.issubdtype(self._source["dtype"], np.floating)

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """The outputs for any number of images."""
        n = len(images)
        missing = np.zeros((-n % self._batch, *self.input_shape[1:]), "float32")
        images = self._quantize(np.concatenate([np.asarray(images, "float32"), missing]))
        outputs = [[] for _ in self._targets]
        for start in range(0, n, self._batch):
            self.interpreter.set_tensor(self._source["index"], images[start : start + self._batch])
            self.interpreter.invoke()
            for target, parts in zip(self._targets, outputs, strict=True):
                parts.append(self.interpreter.get_tensor(target["index"]))
        return [
            _dequantize(np.concatenate(parts)[:n], target)
            for target, parts in zip(self._targets, outputs, strict=True)
        ]

    def _quantize(self, images):
        scale, zero = self._source["quantization"]
        return _as_dtype(images / scale + zero if scale else images, self._source["dtype"])


class SavedModelFolder:
    """A SavedModel whose signature `serving_default` has one input.

    Args:
        path: the folder.

    Attributes:
        input_shape: with None for the batch and wherever any size goes.
        output_shapes: by the output's name, likewise.
        steps: 0 for each output, since its values are floats.

    Raises:
        ValueError: if there is no such signature, or it takes other inputs than images by the batch.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        # The signature alone would not keep the variables.
        self._loaded = tf.saved_model.load(os.fspath(path))
        signatures = self._loaded.signatures
        if _SIGNATURE not in signatures:
            raise ValueError(
                f"The SavedModel must have a signature {_SIGNATURE!r}. It has {[*signatures]}."
            )
        self._run = signatures[_SIGNATURE]
        inputs = self._run.structured_input_signature[1]
        if len(inputs) != 1:
            raise ValueError(f"{_SIGNATURE!r} must have one input, images. It has {sorted(inputs)}.")
        ((self._input, spec),) = inputs.items()
        if not spec.shape.rank or spec.shape[0] is not None:
            raise ValueError(
                f"{_SIGNATURE!r} must take any number of images. It takes {spec.shape}; export the model "
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


def _as_dtype(images, dtype):
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        images = np.clip(np.round(images), limits.min, limits.max)
    return images.astype(dtype)


def _dequantize(outputs, target):
    scale, zero = target["quantization"]
    outputs = outputs.astype("float32")
    return (outputs - zero) * scale if scale else outputs
