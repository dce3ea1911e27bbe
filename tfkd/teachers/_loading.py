"""Loads any trained network into one convention: images in [0, 1] in, logits or numbers out."""

import os
import warnings
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from tfkd._core.graphs import has_graph
from tfkd._core.keras_versions import check_keras_3
from tfkd._core.layouts import CHANNELS_FIRST, SERIES, SERIES_INPUT, filled
from tfkd._core.named_inputs import takes_texts
from tfkd._core.renames import renamed_argument
from tfkd._core.runtimes import SavedModelFolder, TFLiteFile
from tfkd.tasks import Task, mark, output_shape_of
from tfkd.tasks._endings import SIGNS, last_operation, other_activation
from tfkd.tasks._finding import marked_task, name_of_mark
from tfkd.teachers._black_box import BlackBoxTeacher
from tfkd.teachers._deciding import check_from_logits, decide, usual_activation
from tfkd.teachers._diagnosis import diagnose
from tfkd.teachers._endings import Ending, apply_without, ending_of
from tfkd.teachers._files import from_file
from tfkd.teachers._formats import read
from tfkd.teachers._layout import decided_layout
from tfkd.teachers._preprocessing import expected_range
from tfkd.teachers._scaling import UNIT, scaling
from tfkd.teachers._text import text_teacher


class TeacherWarning(UserWarning):
    """A teacher that looks untrained or wrongly scaled."""


class TaskWarning(TeacherWarning):
    """A teacher whose task was assumed from its ending."""


@renamed_argument("path", "source")
def load_teacher(
    source: str | os.PathLike | keras.Model,
    input_range: tuple[float, float] | None = None,
    mean: float | Sequence[float] | np.ndarray = 0.0,
    std: float | Sequence[float] | np.ndarray = 1.0,
    from_logits: bool | None = None,
    output: str | int | None = None,
    task: str | type[Task] | Task | None = None,
    trust_files: bool = False,
    layout: str | None = None,
) -> keras.Model:
    """Loads a trained network as a model from float32 inputs, images in [0, 1], to logits or numbers.

    The teacher's own scaling is put in front: inputs are stretched to `input_range`, `mean` is
    subtracted and the result divided by `std`. What the outputs mean is the teacher's task, found from its
    ending:

    | ending | task | outputs |
    |---|---|---|
    | softmax; several outputs, linear or ReLU | `Classification` | logits, without the softmax |
    | one sigmoid unit | `Classification` | the two logits (0, z) |
    | several sigmoid units | `MultiLabel` | logits, without the sigmoids |
    | one output, linear or ReLU | `Regression` | the number |

    A model of texts, with an input `token_ids`, is taken as it is, but for a last softmax; files of models
    of keras-hub need the extra `text`.

    A warning says so wherever that may be wrong, and `task` overrides it. `tfkd.tasks.task_of(teacher)`
    tells the task afterwards.

    `.h5` and `.keras` files that only older Keras versions read are rebuilt in Keras 3. A `.tflite` file or
    a SavedModel folder becomes a `tfkd.BlackBoxTeacher`, a black box: predictions only, no gradients or
    intermediate layers. SavedModels are called through `serving_default`.

    Files are not trusted: layers, functions and operators that are not known to compute only are refused
    before anything of the file runs, except classes that this process has registered with Keras. So is what
    unpacks to more than 1 GiB, or to more GiB than the environment variable `TFKD_SIZE_LIMIT` says.

    Args:
        source: a `.keras`, `.h5` or `.tflite` file, a SavedModel folder, or a Keras model already loaded.
            Inputs are images (height, width, channels), or (height, width), which become one channel;
            vectors (features,), series (time, channels) or spectrograms (frequency, time, channels); of
            text models token ids by name, `token_ids` and what else they take.
        input_range: `(low, high)`, the scale that the teacher's own pipeline starts from: (0, 1),
            (0, 255) or (-1, 1) for instance. None for (0, 1), with a warning if the network's own first
            operations, such as `Rescaling(1 / 255)`, are made for another.
        mean: what that pipeline subtracts, on that scale: a number, one per channel (last axis), or an
            input.
        std: what it then divides by, likewise; not 0.
        from_logits: True if the outputs are logits, False if they are probabilities, None to find
            out from the last layer; of a black box, from its answers to 128 synthetic inputs.
        output: name or index of the output to use, if the model has several.
        task: "classification", "multi_label", "regression", or a subclass or object of
            `tfkd.tasks.Task`, which may have outputs of any shape; None to find out.
        trust_files: whether the file may run what it likes with your rights: `Lambda` layers, and operators
            of SavedModels that read and write files. Only for files of people that you trust.
        layout: what its inputs are: "images"; "channels_first", images (channels, height, width), of which
            the teacher takes (height, width, channels); or "series", two axes, time and channels. None to
            go by the first layers, and where these do not tell, by the shape: two axes are an image unless
            one is more than twice as long as the other.

    Returns:
        A Keras model whose weights are the teacher's, or a `tfkd.BlackBoxTeacher`.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: for a `.tflite` file if `ai_edge_litert` is not installed.
        TypeError: if `task` is not a task, or `source` is a model of tf_keras.
        ValueError: if the file holds no model that can be read or asks for more than tfkd allows, the task
            or the layout does not fit the model, its channels may be first, or its answers to synthetic
            inputs are not finite.

    Warns:
        TeacherWarning: if two axes may be a series as well as an image.
        TaskWarning: if the task was assumed from a sigmoid, or from a single output.
        TeacherWarning: if its answers to synthetic images look untrained or wrongly scaled, or its own
            scaling is made for another range than [0, 1] and none was given.

    Example:
        >>> teacher = tfkd.load_teacher("resnet.keras", input_range=(0, 255),
        ...                             mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
    """
    if isinstance(source, BlackBoxTeacher):
        raise ValueError(
            f"`source`: {source.name!r} is a black box already, a teacher as it stands. Whatever scaling "
            "it needs belongs into its function."
        )
    check_keras_3("source", source)
    check_from_logits(from_logits, task)
    loaded = source if isinstance(source, keras.Model) else read(os.fspath(source), trust_files)
    if takes_texts(loaded):
        scaled = {"mean": np.any(mean), "std": np.any(np.asarray(std) != 1)}
        of_images = {"input_range": input_range is not None, "layout": layout is not None, **scaled}
        teacher = text_teacher(_with_one_output(loaded, output), task, from_logits, of_images)
        diagnose(teacher)
        return teacher
    if isinstance(loaded, TFLiteFile | SavedModelFolder):
        name = os.path.splitext(os.path.basename(os.path.abspath(source)))[0]
        index = _index(list(loaded.output_shapes), output, name)
        _check_shapes(name, loaded.input_shape, list(loaded.output_shapes.values())[index])
        layout, doubt = decided_layout(layout, loaded, name)
        scale = scaling(input_range or UNIT, mean, std, filled(loaded.input_shape[1:], layout))
        teacher, notice = from_file(loaded, index, scale, from_logits, task, name, layout)
    else:
        model = _with_one_output(loaded, output)
        _check_shapes(model.name, *_shapes(model))
        layout, doubt = decided_layout(layout, model, model.name)
        scale = scaling(input_range or UNIT, mean, std, filled(model.input_shape[1:], layout))
        if input_range is None and not np.any(mean) and np.all(np.asarray(std) == 1):
            _warn_of_range(model)
        teacher, notice = _from_keras(model, scale, from_logits, task, layout)
    if doubt:
        warnings.warn(f"Teacher {teacher.name!r} {doubt}", TeacherWarning, stacklevel=3)
    if notice:
        warnings.warn(f"Teacher {teacher.name!r} {notice}", TaskWarning, stacklevel=3)
    if problem := diagnose(teacher):
        warnings.warn(f"Teacher {teacher.name!r}: {problem}", TeacherWarning, stacklevel=3)
    return teacher


def _warn_of_range(model):
    if (ends := expected_range(model)) is None:
        return
    low, high = ends
    warnings.warn(
        f"Teacher {model.name!r} scales its inputs itself, and seems to expect {low} to {high} where it is "
        f"given 0 to 1. Pass input_range=({low}, {high}) (--input_range={low},{high}), or "
        "input_range=(0, 1) (--input_range=0,1) if that is right.",
        TeacherWarning,
        stacklevel=4,
    )


def probabilities_ending(model: keras.Model, task: Task | None = None) -> str | None:
    """How a built model turns logits into probabilities, in words; None if it does not seem to.

    Args:
        model: a network of one output.
        task: its task; those of numbers have no logits, so that nothing is said.
    """
    ending = ending_of(model)
    if ending.activation is None or (task is not None and not task.activations):
        return None
    if ending.operation is None:
        return "returns probabilities"
    return f"ends in a {ending.activation}"


def _from_keras(model, scale, from_logits, task, layout):
    """The teacher, and what has to be said of its task."""
    shape = output_shape_of(model)
    ending = ending_of(model, from_logits, usual_activation(task, shape))
    if task is None:
        task = marked_task(model)
    asked = from_logits is not True and ending.activation is None
    other = other_activation(last_operation(model)) if asked else None
    task, notice = decide(task, ending.activation, shape, from_logits, model.name, other)
    if not task.activations:
        ending = Ending()
    elif other in SIGNS and (shape == (1,) or task.activations[0] == "sigmoid"):
        ending = Ending("sign")
    return _with_logits(model, ending, scale, task, layout), notice


def _with_logits(model, ending, scale, task, layout):
    shape = tuple(model.input_shape[1:])
    taken = filled(shape, layout)
    name = "image" if len(taken) == 3 else "example"
    x = inputs = keras.Input(taken, name=SERIES_INPUT if layout == SERIES else name, dtype="float32")
    if any((part != neutral).any() for part, neutral in zip(scale, (1, 0), strict=True)):
        plain = [part.item() if part.ndim == 0 else part for part in scale]
        x = layers.Rescaling(*plain, dtype="float32", name="teacher_scaling")(x)
    if layout == CHANNELS_FIRST:
        x = layers.Permute((3, 1, 2), name="channels_first")(x)
    elif taken != shape:
        x = layers.Reshape(shape, name="without_channels")(x)
    x = apply_without(ending, model, x)
    if task.binary_as_pair and tuple(x.shape[1:]) == (1,):
        x = layers.Reshape((1, 1), name="binary")(x)
        x = layers.ZeroPadding1D((1, 0), name="binary_pair")(x)
        x = layers.Flatten(name="binary_logits")(x)
    teacher = keras.Model(inputs, x, name=model.name)
    if name := name_of_mark(teacher, task):
        teacher = keras.Model(inputs, layers.Activation("linear", name=name)(x), name=model.name)
    return mark(teacher, task)


def _with_one_output(model: keras.Model, output: str | int | None) -> keras.Model:
    """The model, cut to the output asked for where it has several."""
    if isinstance(model, keras.Sequential) or not has_graph(model):
        _index([model.name], output, model.name)
        return model
    index = _index(_output_names(model), output, model.name)
    plain = not (keras.tree.is_nested(model.input) or keras.tree.is_nested(model.output))
    if plain or len(model.inputs) > 1:
        return model
    return keras.Model(model.inputs[0], model.outputs[index], name=model.name)


def _output_names(model):
    if isinstance(model.output, dict):
        return keras.tree.flatten({key: key for key in model.output})
    return model.output_names


def _index(names, output, teacher):
    """Which of a teacher's outputs is meant."""
    if output is None and len(names) == 1:
        return 0
    if output in names:
        return names.index(output)
    if isinstance(output, int) and 0 <= output < len(names):
        return output
    raise ValueError(
        f"`output` must say which output of the teacher {teacher!r} to use, by name or index "
        f"(--teacher_output). Its outputs: {names}. Received: output={output!r}."
    )


def _shapes(model):
    try:
        return model.input_shape, model.output_shape
    except (AttributeError, ValueError):
        return None, None


def _check_shapes(name, inputs, outputs):
    if not isinstance(inputs, tuple) or not isinstance(outputs, tuple) or len(outputs) < 2:
        raise ValueError(
            f"The teacher {name!r} must have one image input, or another of known shape, and one output, "
            f"an answer to each input. Received: input {inputs}, output {outputs}. Build it on an example "
            "first, or wrap it in a model with one input and output."
        )
    if len(inputs) < 2 or None in inputs[1:]:
        raise ValueError(
            f"The teacher {name!r} must take inputs of one known size: images (batch, height, width, "
            "channels) or (batch, height, width), vectors (batch, features), series (batch, time, "
            f"channels) or spectrograms (batch, frequency, time, channels). Received: input {inputs}. Wrap "
            "it in a model with an input of that size."
        )
