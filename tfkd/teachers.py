"""Loads any trained classifier into one convention: images in [0, 1] in, logits out."""

import os
import warnings
import zipfile
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from generators import DeadLeaves, SmoothNoise
from tfkd.graphs import apply_layers, copy_weights, first_upstream, has_graph, times_used

_SHAPE_ONLY = (layers.Reshape, layers.Flatten, layers.Dropout)
_PROBE_IMAGES = 128


class TeacherWarning(UserWarning):
    """A teacher that looks untrained or wrongly scaled."""


def load_teacher(
    path: str | os.PathLike | keras.Model,
    input_range: tuple[float, float] = (0.0, 1.0),
    mean: float | Sequence[float] | np.ndarray = 0.0,
    std: float | Sequence[float] | np.ndarray = 1.0,
    from_logits: bool | None = None,
) -> keras.Model:
    """Loads a trained classifier as a model from float32 images in [0, 1] to logits.

    The teacher's own scaling is put in front: images are stretched to `input_range`, `mean` is
    subtracted and the result divided by `std`. A final softmax or sigmoid is taken off; ReLU and
    linear endings are logits as they stand. One sigmoid unit becomes the two logits (0, z).

    Args:
        path: a `.keras` file, or a Keras model already loaded.
        input_range: `(low, high)`, the scale that the teacher's own pipeline starts from: (0, 1),
            (0, 255) or (-1, 1) for instance.
        mean: what that pipeline subtracts, on that scale: a number, one per channel, or an image.
        std: what it then divides by, likewise; not 0.
        from_logits: True if the outputs are logits, False if they are probabilities, None to find
            out from the last layer.

    Returns:
        A Keras model whose weights are the teacher's.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not a Keras model, or the model no image classifier.

    Warns:
        TeacherWarning: if its answers to synthetic images look untrained or wrongly scaled.

    Example:
        >>> teacher = tfkd.load_teacher("resnet.keras", input_range=(0, 255),
        ...                             mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
    """
    model = path if isinstance(path, keras.Model) else _read(os.fspath(path))
    _check_classifier(model)
    scale, offset = _scaling(input_range, mean, std, model.input_shape[1:])
    teacher = _with_logits(_Ending(model, from_logits), scale, offset, from_logits)
    problem = suspicion(teacher)
    if problem:
        warnings.warn(f"Teacher {model.name!r}: {problem}", TeacherWarning, stacklevel=2)
    return teacher


def suspicion(teacher: keras.Model) -> str | None:
    """Why a teacher looks untrained or wrongly scaled, judged on synthetic images.

    Args:
        teacher: a model from images in [0, 1] to logits.

    Returns:
        A sentence that names the remedy, or None if nothing looks wrong.
    """
    logits = np.asarray(ops.cast(teacher(probe_images(teacher), training=False), "float32"))
    if not np.isfinite(logits).all():
        return "its outputs are not finite; check its weights and `input_range`, `mean`, `std`."
    classes = logits.shape[-1]
    confidence = np.asarray(ops.softmax(logits, axis=-1)).max(axis=-1)
    commonest = np.bincount(logits.argmax(axis=-1), minlength=classes).max() / len(logits)
    remedy = "check `input_range`, `mean` and `std` (--input_range, --input_mean, --input_std)"
    seen = (
        f"on synthetic images its mean confidence is {confidence.mean():.2f} and its commonest "
        f"class takes {commonest:.0%}"
    )
    if confidence.mean() < barely_chance(classes):
        return f"{seen}, hardly more than chance: it looks untrained, or {remedy}."
    if commonest > 0.95:
        return f"{seen}: it hardly looks at its input; {remedy}."
    if np.median(confidence) > 0.9999:
        return f"{seen}: it is saturated, as when images come too large; {remedy}."
    return None


def barely_chance(classes: int) -> float:
    """The accuracy, or confidence, of a classifier that is hardly better than guessing."""
    chance = 1 / classes
    return chance + min(0.5 * chance, 0.15 * (1 - chance))


def probabilities_ending(model: keras.Model) -> str | None:
    """How a built model turns logits into probabilities, in words; None if it does not seem to."""
    ending = _Ending(model, None)
    if ending.layer is not None:
        return f"ends in a {_activation(ending.layer)}"
    if ending.model is not model:
        return "ends in a softmax"
    return "returns probabilities" if ending.kind == "probabilities" else None


def probe_images(model: keras.Model, n: int = _PROBE_IMAGES, seed: int = 0) -> np.ndarray:
    """Synthetic images for a model, half smooth noise and half dead leaves.

    Args:
        model: a model that takes images of one known size.
        n: how many images, at least 2.
        seed: the same images come for the same seed.

    Returns:
        float32 `(n, height, width, channels)` in [0, 1].
    """
    shape = tuple(model.input_shape[1:])
    parts = (
        SmoothNoise(shape).sample(n // 2, seed=seed),
        DeadLeaves(shape).sample(n - n // 2, seed=seed),
    )
    return np.concatenate([np.asarray(part) for part in parts])


def _read(path):
    if not os.path.exists(path):
        raise FileNotFoundError(f"`path`: there is no file {path!r}. Give a trained .keras file.")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"`path`: {path!r} is not a .keras file, or it is damaged. Save the model with "
            "model.save('name.keras'); for other formats load it yourself and pass the model."
        )
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(
            f"`path`: {path!r} cannot be loaded as a Keras model: {error} If it has Lambda or custom "
            "layers, load it yourself with keras.models.load_model(..., safe_mode=False, "
            "custom_objects=...) and pass the model instead of the path."
        ) from error


def _check_classifier(model):
    try:
        inputs, outputs = model.input_shape, model.output_shape
    except (AttributeError, ValueError):
        inputs = outputs = None
    if isinstance(inputs, list) or isinstance(outputs, (list, dict)) or not inputs or not outputs:
        raise ValueError(
            f"The teacher {model.name!r} must have one image input and one output of known shape. "
            f"Received: input {inputs}, output {outputs}. Build it on an image first, or wrap it in "
            "a model with one input and output."
        )
    if len(inputs) != 4 or None in inputs[1:] or len(outputs) != 2 or outputs[-1] is None:
        raise ValueError(
            f"The teacher {model.name!r} must take images (batch, height, width, channels) of one "
            f"known size and return (batch, classes). Received: input {inputs}, output {outputs}."
        )


def _scaling(input_range, mean, std, image_shape):
    try:
        low, high = (float(value) for value in input_range)
    except (TypeError, ValueError):
        raise ValueError(
            f"`input_range` must be (low, high), two numbers. Received: {input_range!r}."
        ) from None
    mean, std = np.asarray(mean, "float32"), np.asarray(std, "float32")
    if not low < high:
        raise ValueError(f"`input_range` must be (low, high) with low < high: got {input_range!r}.")
    for name, value in (("mean", mean), ("std", std)):
        try:
            np.broadcast_to(value, image_shape)
        except ValueError:
            raise ValueError(
                f"`{name}` must be a number, one per channel, or an image of shape {image_shape}. "
                f"Received: shape {value.shape}."
            ) from None
    if not (std > 0).all():
        raise ValueError(f"`std` must be above 0 everywhere. Received: std={std.tolist()!r}.")
    return (high - low) / std, (low - mean) / std


class _Ending:
    """How a classifier ends: which layer's activation makes logits into something else.

    Attributes:
        model: the classifier, cut before a final Softmax layer.
        kind: "logits" or "probabilities", what it returns once `layer` has lost its activation.
        layer: the layer whose softmax or sigmoid is taken off, or None.
    """

    def __init__(self, model, from_logits):
        self.model, self.kind, self.layer = model, "logits", None
        if from_logits is True:
            return
        self._find()
        if from_logits is False and self.model is model and self.layer is None:
            self.kind = "probabilities"

    def _find(self):
        model = self.model
        layer = None
        if has_graph(model):
            (layer,) = first_upstream(model, lambda op: not isinstance(op, _SHAPE_ONLY))
        if _activation(layer) in ("softmax", "sigmoid") and times_used(model, layer) > 1:
            self._leave(layer)
        elif isinstance(layer, layers.Softmax) and layer in model.layers:
            self.model = keras.Model(model.inputs, layer.input, name=model.name)
        elif _activation(layer) in ("softmax", "sigmoid") and not isinstance(layer, layers.Softmax):
            self.layer = layer
        elif not _is_of_keras(layer) or isinstance(layer, layers.Softmax):
            outputs = np.asarray(model(probe_images(model), training=False), "float32")
            if outputs.min() >= 0 and np.allclose(outputs.sum(-1), 1, atol=1e-3):
                self.kind = "probabilities"

    def _leave(self, layer):
        """Without its activation, a layer that is used elsewhere too would change what it does there."""
        if _activation(layer) == "sigmoid":
            raise ValueError(
                f"The teacher {self.model.name!r} ends in layer {layer.name!r}, a sigmoid that it also "
                "uses elsewhere. Build it with a last activation of its own."
            )
        self.kind = "probabilities"

    def without_activation(self, layer):
        """A copy of a layer of the model; the last one without its softmax or sigmoid."""
        config = layer.get_config()
        if layer is self.layer:
            config["activation"] = "linear"
        try:
            return type(layer).from_config(config)
        except (TypeError, NotImplementedError):
            # A layer of the user's that cannot be made from its configuration is used as it is.
            return layer


def _activation(layer):
    if isinstance(layer, layers.Softmax):
        return "softmax"
    return getattr(getattr(layer, "activation", None), "__name__", None)


def _is_of_keras(layer):
    """Whether it is one of Keras's own layers, whose activation says all about its outputs."""
    return isinstance(layer, keras.Layer) and type(layer).__module__.startswith("keras.src.layers")


def _with_logits(ending, scale, offset, from_logits):
    model = ending.model
    inputs = keras.Input(model.input_shape[1:], name="image", dtype="float32")
    x = inputs
    if (scale != 1).any() or (offset != 0).any():
        plain = [v.item() if v.ndim == 0 else v for v in (scale, offset)]
        x = layers.Rescaling(*plain, dtype="float32", name="teacher_scaling")(x)
    x = _body(ending, x)
    if len(x.shape) > 2:
        x = layers.Flatten(name="logits_of_classes")(x)
    if ending.kind == "probabilities":
        x = ops.log(ops.clip(ops.cast(x, "float32"), 1e-7, 1.0))
    if x.shape[-1] == 1:
        if ending.layer is None and not from_logits:
            _refuse_regression(model)
        x = layers.Reshape((1, 1), name="binary")(x)
        x = layers.ZeroPadding1D((1, 0), name="binary_pair")(x)
        x = layers.Flatten(name="binary_logits")(x)
    return keras.Model(inputs, x, name=model.name)


def _body(ending, x):
    """The teacher on `x`: its own layers where its graph is known, else the whole as one layer."""
    model = ending.model
    if not has_graph(model):
        return model(x, training=False)
    copy = keras.models.clone_model(model, clone_function=ending.without_activation, recursive=True)
    copy_weights(model, copy)
    return apply_layers(copy, x)


def _refuse_regression(model):
    raise ValueError(
        f"The teacher {model.name!r} has one linear output, which looks like regression; tfkd "
        "distils classifiers. If it is the logit of a binary classifier, pass from_logits=True."
    )
