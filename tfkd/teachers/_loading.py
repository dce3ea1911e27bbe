"""Loads any trained network with one convention: from images in [0, 1] to logits or numbers."""

import os
import warnings
from collections.abc import Sequence

import keras
import numpy as np
from absl import logging

from tfkd._core import progress
from tfkd._core.keras_versions import check_keras_3
from tfkd._core.named_inputs import takes_texts
from tfkd._core.renames import renamed_argument
from tfkd.tasks import Task
from tfkd.teachers._black_box import BlackBoxTeacher
from tfkd.teachers._deciding import check_from_logits
from tfkd.teachers._diagnosis import diagnose
from tfkd.teachers._endings import ending_of
from tfkd.teachers._finding_scaling import scaling_of
from tfkd.teachers._formats import Network, read
from tfkd.teachers._opened import opened, with_one_output
from tfkd.teachers._preprocessing import expected_range
from tfkd.teachers._scaling import AUTO, RGB, UNIT, preparation
from tfkd.teachers._text import text_teacher


class TeacherWarning(UserWarning):
    """A teacher that looks untrained or wrongly scaled."""


class TaskWarning(TeacherWarning):
    """A teacher whose task was assumed from its last layer."""


@renamed_argument("path", "source")
def load_teacher(
    source: str | os.PathLike | keras.Model,
    input_range: tuple[float, float] | str | None = None,
    mean: float | Sequence[float] | np.ndarray = 0.0,
    std: float | Sequence[float] | np.ndarray = 1.0,
    from_logits: bool | None = None,
    output: str | int | None = None,
    task: str | type[Task] | Task | None = None,
    trust_files: bool = False,
    layout: str | None = None,
    channel_order: str = RGB,
    input_shape: Sequence[int] | None = None,
    weights: str | os.PathLike | None = None,
) -> keras.Model:
    """Loads a trained network as a model from float32 inputs, images in [0, 1], to logits or numbers.

    The teacher's own scaling is prepended: channels are reversed for a `channel_order` of "bgr", inputs are
    rescaled to `input_range`, `mean` is subtracted and the result divided by `std`. The meaning of the
    outputs is the teacher's task, inferred from its last layer:

    | ending | task | outputs |
    |---|---|---|
    | softmax; several outputs, linear or ReLU | `Classification` | logits, without the softmax |
    | one sigmoid unit | `Classification` | the two logits (0, z) |
    | several sigmoid units | `MultiLabel` | logits, without the sigmoids |
    | one output, linear or ReLU | `Regression` | the number |
    | a map of softmaxes (height, width, classes) | `Segmentation` | logits, without the softmax |

    A text model, with an input `token_ids`, is used unchanged except for a final softmax; files of
    keras-hub models need the extra `text`.

    A warning is given if that may be wrong, and `task` overrides it. `tfkd.tasks.task_of(teacher)` returns
    the task afterwards.

    `.h5` and `.keras` files that only older Keras versions can read are rebuilt in Keras 3. So are
    SavedModel folders written by Keras 2 and float `.tflite` files, if the Keras model reproduces the
    file's outputs. Any other folder or `.tflite` file becomes a `tfkd.BlackBoxTeacher`, a black box:
    predictions only, no gradients or intermediate layers. A message says why. SavedModels are then called
    through `serving_default`. Dense layers quantized by `model.quantize("int8")` become float layers with
    the rounded kernels.

    A network by name, "keras.applications:MobileNetV2" or "keras_hub:resnet_18_imagenet" (extra `text`),
    includes its own preprocessing and needs no `input_range`. Its weights are downloaded, unless `weights`
    names a weights file, or "keras_hub:" is followed by a folder saved by keras-hub.

    Files are not trusted: a file with layers, functions or operators that are not known to be safe is
    rejected before anything in it runs, except for classes registered with Keras in this process. So is a
    file that unpacks to more than 1 GiB, or the limit in GiB in the environment variable `TFKD_SIZE_LIMIT`.

    Args:
        source: a `.keras`, `.h5` or `.tflite` file, a SavedModel folder, a name, or a Keras model already
            loaded. Inputs are images (height, width, channels), or (height, width), which become one
            channel; vectors (features,), series (time, channels) or spectrograms (frequency, time,
            channels); for text models, token ids by name: `token_ids` and any others they take.
        input_range: `(low, high)`, the range of pixels in the teacher's own pipeline, such as (0, 1), (0,
            255) or (-1, 1). "auto" detects it, with mean, standard deviation and channel order, as
            `tfkd.teachers.find_scaling` does. None for (0, 1), with a warning if the network's own first
            operations, such as `Rescaling(1 / 255)`, expect another range.
        mean: the mean that the pipeline subtracts, in that range: a number, one per channel (last axis), or
            an array shaped like an input.
        std: the standard deviation that it then divides by, in the same form; above 0.
        from_logits: True if the outputs are logits, False if they are probabilities, None to detect it from
            the last layer or, for a black box, from its outputs for 128 synthetic inputs.
        output: name or index of the output to use, if the model has several.
        task: "classification", "multi_label", "regression", or a subclass or object of `tfkd.tasks.Task`,
            which may have outputs of any shape; None to infer it.
        trust_files: whether the file may run any code with your permissions: `Lambda` layers, and
            SavedModel operators that read and write files. Only for files from people you trust.
        layout: meaning of its input axes: "images"; "channels_first", for a network that takes (channels,
            height, width); the teacher then takes (height, width, channels); or "series", two axes, time
            and channels. None to infer it from the first layers or, if these do not show it, from the
            shape: two axes are an image unless one is more than twice as long as the other.
        channel_order: "rgb", or "bgr" for a teacher that takes blue first, like networks from Caffe; `mean`
            and `std` are then in that order, too.
        input_shape: shape of an input, without the batch, for a network with open sizes or that takes
            images as flat vectors, such as (28, 28, 1) for 784 values; None for its own.
        weights: an `.h5` weights file for a network of `keras.applications` by name; None for the ImageNet
            weights.

    Returns:
        A Keras model whose weights are the teacher's, or a `tfkd.BlackBoxTeacher`.

    Raises:
        FileNotFoundError: if the file does not exist.
        ImportError: for a `.tflite` file if `ai_edge_litert` is not installed, for a preset if keras-hub is
            not.
        TypeError: if `task` is not a task, or `source` is a tf_keras model.
        ValueError: if the file contains no readable model or needs more than tfkd allows, there is no
            network of that name, its weights cannot be downloaded, the task or the layout does not fit the
            model, its channels may come first, or its outputs for synthetic inputs are not finite.

    Warns:
        TeacherWarning: if two axes could be a series or an image.
        TaskWarning: if the task was assumed from a sigmoid, or from a single output.
        TeacherWarning: if its outputs for synthetic images look untrained or wrongly scaled, its own
            scaling expects another range than given, or `input_range="auto"` is not certain.

    Example:
        >>> teacher = tfkd.load_teacher("resnet.keras", input_range=(0, 255),
        ...                             mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
    """
    if isinstance(source, BlackBoxTeacher):
        raise ValueError(
            f"`source`: {source.name!r} is already a black box, which is a teacher. Put any scaling it "
            "needs into its function."
        )
    check_keras_3("source", source)
    check_from_logits(from_logits, task)
    with progress.work("loading the network"):
        loaded = (
            source if isinstance(source, keras.Model) else read(os.fspath(source), trust_files, weights)
        )
        return teacher_of(
            source,
            loaded,
            input_range,
            mean,
            std,
            from_logits,
            output,
            task,
            layout,
            channel_order,
            input_shape,
        )


def teacher_of(
    source: str | os.PathLike | keras.Model,
    loaded: Network,
    input_range: tuple[float, float] | str | None = None,
    mean: float | Sequence[float] | np.ndarray = 0.0,
    std: float | Sequence[float] | np.ndarray = 1.0,
    from_logits: bool | None = None,
    output: str | int | None = None,
    task: str | type[Task] | Task | None = None,
    layout: str | None = None,
    channel_order: str = RGB,
    input_shape: Sequence[int] | None = None,
) -> keras.Model:
    """The teacher for a network that has been read, as in `load_teacher`.

    Args:
        source: the source it was read from.
        loaded: the network, or a black-box file.
        input_range, mean, std, from_logits, output, task, layout, channel_order, input_shape: as for
            `load_teacher`.
    """
    if takes_texts(loaded):
        scaled = {"mean": np.any(mean), "std": np.any(np.asarray(std) != 1)}
        asked = {"input_range": input_range is not None, "layout": layout is not None}
        asked["input_shape"] = input_shape is not None
        of_images = {**asked, "channel_order": channel_order != RGB, **scaled}
        teacher = text_teacher(with_one_output(loaded, output), task, from_logits, of_images)
        diagnose(teacher)
        return teacher
    network = opened(source, loaded, output, layout, input_shape)
    if not isinstance(loaded, keras.Model):
        _say(f"Teacher {network.name!r} is a black box, without layers and gradients: {loaded.reason}.")
    said = np.any(mean) or np.any(np.asarray(std) != 1) or channel_order != RGB
    if isinstance(input_range, str):
        _check_auto(input_range, said)
        prepared = preparation(shape=network.shape, **_found(network, from_logits, task).options)
    else:
        if not said:
            _warn_of_range(network.network, input_range)
        prepared = preparation(input_range or UNIT, mean, std, network.shape, channel_order)
    teacher, notice = network.teacher(prepared, from_logits, task)
    if network.doubt:
        warnings.warn(f"Teacher {teacher.name!r} {network.doubt}", TeacherWarning, stacklevel=4)
    if notice:
        warnings.warn(f"Teacher {teacher.name!r} {notice}", TaskWarning, stacklevel=4)
    if problem := diagnose(teacher):
        warnings.warn(f"Teacher {teacher.name!r}: {problem}", TeacherWarning, stacklevel=4)
    return teacher


def _check_auto(input_range, said):
    if input_range != AUTO:
        raise ValueError(
            f"`input_range` must be (low, high), two numbers, or 'auto'. Received: {input_range!r}."
        )
    if said:
        raise ValueError(
            "`input_range`: 'auto' also detects `mean`, `std` and `channel_order`. Leave these out, or "
            "give the range as (low, high)."
        )


def _found(network, from_logits, task):
    """The detected scaling, with a message about it."""
    found = scaling_of(network, from_logits, task)
    if found.sure:
        _say(f"Teacher {network.name!r}: inputs are scaled by {found.words}, since {found.evidence}.")
    else:
        warnings.warn(
            f"Teacher {network.name!r}: its scaling is not certain. Assuming {found.name}, since "
            f"{found.evidence}. If that is right, pass {found.words} ({found.flags}); otherwise pass the "
            "scaling of its own pipeline, such as input_range=(0, 255) (--input_range=0,255) or "
            "input_range=(-1, 1) (--input_range=-1,1).",
            TeacherWarning,
            stacklevel=5,
        )
    return found


def _say(line):
    if keras.config.is_interactive_logging_enabled():
        print(line, flush=True)
    else:
        logging.info(line)


def _warn_of_range(model, given):
    """Warns if a network's own scaling expects another range than it gets.

    An explicit (0, 1) is intended.
    """
    if not isinstance(model, keras.Model) or given == UNIT or (ends := expected_range(model)) is None:
        return
    low, high = ends
    got_low, got_high = (f"{float(end):g}" for end in given or UNIT)
    if (low, high) == tuple(given or UNIT):
        return
    warnings.warn(
        f"Teacher {model.name!r} scales its inputs itself, and seems to expect {low} to {high} but is "
        f"given {got_low} to {got_high}. Pass input_range=({low}, {high}) (--input_range={low},{high}), or "
        "input_range=(0, 1) (--input_range=0,1) if that is right.",
        TeacherWarning,
        stacklevel=5,
    )


def probabilities_ending(model: keras.Model, task: Task | None = None) -> str | None:
    """How a built model turns logits into probabilities, in words; None if it apparently does not.

    Args:
        model: a network of one output.
        task: its task; None is returned for tasks without logits.
    """
    ending = ending_of(model)
    if ending.activation is None or (task is not None and not task.activations):
        return None
    if ending.operation is None:
        return "returns probabilities"
    return f"ends in a {ending.activation}"
