"""Loads any trained classifier into one convention: images in [0, 1] in, logits out."""

import os
import warnings
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from generators import image_shape, probe_images
from tfkd._core.graphs import apply_layers, copy_weights, first_upstream, has_graph, times_used
from tfkd._core.keras_internals import is_keras_layer
from tfkd.teachers._black_box import from_file
from tfkd.teachers._diagnosis import suspicion
from tfkd.teachers._formats import read

_SHAPE_ONLY = (layers.Reshape, layers.Flatten, layers.Dropout)


class TeacherWarning(UserWarning):
    """A teacher that looks untrained or wrongly scaled."""


def load_teacher(
    path: str | os.PathLike | keras.Model,
    input_range: tuple[float, float] = (0.0, 1.0),
    mean: float | Sequence[float] | np.ndarray = 0.0,
    std: float | Sequence[float] | np.ndarray = 1.0,
    from_logits: bool | None = None,
    output: str | int | None = None,
) -> keras.Model:
    """Loads a trained classifier as a model from float32 images in [0, 1] to logits.

    The teacher's own scaling is put in front: images are stretched to `input_range`, `mean` is
    subtracted and the result divided by `std`. A final softmax or sigmoid is taken off; ReLU and
    linear endings are logits as they stand. One sigmoid unit becomes the two logits (0, z).

    `.h5` files that only older Keras versions read are rebuilt in Keras 3. A `.tflite` file or a
    SavedModel folder becomes a `tfkd.BlackBoxTeacher`: black box only - answers, no gradients, no inner
    layers. Of a SavedModel its signature `serving_default` is asked.

    Args:
        path: a `.keras`, `.h5` or `.tflite` file, a SavedModel folder, or a Keras model already loaded.
            Images are (height, width, channels), or (height, width), which become one channel.
        input_range: `(low, high)`, the scale that the teacher's own pipeline starts from: (0, 1),
            (0, 255) or (-1, 1) for instance.
        mean: what that pipeline subtracts, on that scale: a number, one per channel, or an image.
        std: what it then divides by, likewise; not 0.
        from_logits: True if the outputs are logits, False if they are probabilities, None to find
            out from the last layer; of a black box, from its answers to 128 synthetic images.
        output: name or place of the output that holds the classes, of a model with several.

    Returns:
        A Keras model whose weights are the teacher's, or a `tfkd.BlackBoxTeacher`.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: for a `.tflite` file if `ai_edge_litert` is not installed.
        ValueError: if the file holds no model that can be read, or the model is no image classifier.

    Warns:
        TeacherWarning: if its answers to synthetic images look untrained or wrongly scaled.

    Example:
        >>> teacher = tfkd.load_teacher("resnet.keras", input_range=(0, 255),
        ...                             mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
    """
    if getattr(path, "black_box", False):
        raise ValueError(
            f"`path`: {path.name!r} is a black box already, a teacher as it stands. Whatever scaling it "
            "needs belongs into its function."
        )
    loaded = path if isinstance(path, keras.Model) else read(os.fspath(path))
    if isinstance(loaded, keras.Model):
        model = _with_one_output(loaded, output)
        _check_classifier(model.name, *_shapes(model))
        scale, offset = _scaling(input_range, mean, std, image_shape(model.input_shape[1:]))
        teacher = _with_logits(_Ending(model, from_logits), scale, offset, from_logits)
    else:
        name = os.path.splitext(os.path.basename(os.path.abspath(path)))[0]
        place = _place(list(loaded.output_shapes), output, name)
        _check_classifier(name, loaded.input_shape, list(loaded.output_shapes.values())[place])
        scale, offset = _scaling(input_range, mean, std, image_shape(loaded.input_shape[1:]))
        teacher = from_file(loaded, place, scale, offset, from_logits, name)
    problem = suspicion(teacher)
    if problem:
        warnings.warn(f"Teacher {teacher.name!r}: {problem}", TeacherWarning, stacklevel=2)
    return teacher


def probabilities_ending(model: keras.Model) -> str | None:
    """How a built model turns logits into probabilities, in words; None if it does not seem to."""
    ending = _Ending(model, None)
    if ending.layer is not None:
        return f"ends in a {_activation(ending.layer)}"
    if ending.model is not model:
        return "ends in a softmax"
    return "returns probabilities" if ending.kind == "probabilities" else None


def _with_one_output(model, output):
    """The model, cut to the output asked for where it has several."""
    if isinstance(model, keras.Sequential) or not has_graph(model):
        _place([model.name], output, model.name)
        return model
    place = _place(_output_names(model), output, model.name)
    plain = not (keras.tree.is_nested(model.input) or keras.tree.is_nested(model.output))
    if plain or len(model.inputs) > 1:
        return model
    return keras.Model(model.inputs[0], model.outputs[place], name=model.name)


def _output_names(model):
    if isinstance(model.output, dict):
        return keras.tree.flatten({key: key for key in model.output})
    return model.output_names


def _place(names, output, teacher):
    """Which of a teacher's outputs is meant, as a number."""
    if output is None and len(names) == 1:
        return 0
    if output in names:
        return names.index(output)
    if isinstance(output, int) and 0 <= output < len(names):
        return output
    raise ValueError(
        f"`output` must say which output of the teacher {teacher!r} holds the classes, as a name or place "
        f"(--teacher_output). Its outputs: {names}. Received: output={output!r}."
    )


def _shapes(model):
    try:
        return model.input_shape, model.output_shape
    except (AttributeError, ValueError):
        return None, None


def _check_classifier(name, inputs, outputs):
    if not isinstance(inputs, tuple) or not isinstance(outputs, tuple):
        raise ValueError(
            f"The teacher {name!r} must have one image input and one output of known shape. "
            f"Received: input {inputs}, output {outputs}. Build it on an image first, or wrap it in "
            "a model with one input and output."
        )
    if len(inputs) not in (3, 4) or None in inputs[1:] or len(outputs) != 2 or outputs[-1] is None:
        raise ValueError(
            f"The teacher {name!r} must take images (batch, height, width, channels) or (batch, height, "
            f"width) of one known size and return (batch, classes). Received: input {inputs}, output "
            f"{outputs}. Put a keras.layers.Reshape in front of one that takes flat rows of pixels."
        )


def _scaling(input_range, mean, std, shape):
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
            np.broadcast_to(value, shape)
        except ValueError:
            raise ValueError(
                f"`{name}` must be a number, one per channel, or an image of shape {shape}. "
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
        elif not is_keras_layer(layer) or isinstance(layer, layers.Softmax):
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


def _with_logits(ending, scale, offset, from_logits):
    model = ending.model
    inputs = keras.Input(image_shape(model.input_shape[1:]), name="image", dtype="float32")
    x = inputs
    if (scale != 1).any() or (offset != 0).any():
        plain = [v.item() if v.ndim == 0 else v for v in (scale, offset)]
        x = layers.Rescaling(*plain, dtype="float32", name="teacher_scaling")(x)
    if len(model.input_shape) == 3:
        x = layers.Reshape(model.input_shape[1:], name="without_channels")(x)
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
