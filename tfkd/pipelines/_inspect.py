"""inspect_model: what a trained network is, how it is scaled, and what can be made of it."""

import os
import shlex
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfkd._core import progress
from tfkd._core.keras_versions import check_keras_3
from tfkd._core.named_inputs import takes_texts
from tfkd.pipelines import _inspected_network as of_network
from tfkd.pipelines import _inspected_teacher as of_teacher
from tfkd.pipelines._inspected_network import Network, check_not_interrupted, probed
from tfkd.pipelines._inspection import Finding, Inspection, not_known
from tfkd.pipelines._networks import Source
from tfkd.pipelines._settings import teller
from tfkd.tasks import marked_task, task_of
from tfkd.teachers import BlackBoxTeacher, probabilities_ending
from tfkd.teachers._finding_scaling import scaling_of
from tfkd.teachers._formats import read
from tfkd.teachers._input_scaling import Scaling
from tfkd.teachers._loading import teacher_of
from tfkd.teachers._opened import opened
from tfkd.teachers._scaling import AUTO, RGB

_SCALING = ("input_range", "mean", "std", "channel_order")
# Options of `load_teacher` that are flags of the programs, too.
_FLAGS = {
    "task": "task",
    "layout": "layout",
    "input_shape": "input_shape",
    "output": "teacher_output",
    "from_logits": "from_logits",
    "weights": "teacher_weights",
}
# Options that say how a file is read.
_OF_FILES = ("trust_files", "weights")


def inspect_model(
    teacher: Source, *, teacher_options: Mapping[str, Any] | None = None, verbose: int = 0
) -> Inspection:
    """Finds out what a trained network is, how its inputs are scaled, and what can be made of it.

    What the program `tfkd-inspect` does. Nothing of a file runs before `load_teacher` would run it. What
    cannot be found out is "not known", with the reason.

    Args:
        teacher: a file or a Keras model, as `tfkd.load_teacher` takes them.
        teacher_options: arguments of `tfkd.load_teacher`; without `input_range`, or with "auto", the
            scaling is found out.
        verbose: 0 prints nothing, else what is being done.

    Returns:
        An `Inspection`.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if it is a model of tf_keras.
        ValueError: if the file holds no model that can be read, or asks for more than tfkd allows.

    Example:
        >>> print(tfkd.inspect_model("teacher.keras").summary())
    """
    check_keras_3("teacher", teacher)
    options, say = dict(teacher_options or {}), teller(verbose)
    say("reading the network")
    loaded = _read(teacher, options.get("trust_files", False), options.get("weights"))
    with progress.showing(verbose), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _inspected(teacher, loaded, options, say)


def _read(source, trusted, weights):
    if isinstance(source, keras.Model):
        return source
    try:
        return read(os.fspath(source), trusted, weights)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(str(error).replace("`source`", "`teacher`")) from error


def _inspected(source, loaded, options, say):
    say("finding out how its inputs are scaled")
    with progress.work("finding out how inputs are scaled"):
        scaling, options = _with_scaling(source, loaded, options)
    network, reason, notes = loaded, None, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            network = _teacher(source, loaded, options)
        except Exception as error:
            # Such as a layout that has to be said: the rest is found out all the same.
            check_not_interrupted(error)
            reason = str(error)
        notes += [str(each.message) for each in caught if each.category.__module__.startswith("tfkd")]
    if scaling.value and scaling.value.get("sure") is False:
        notes.append("Its scaling is not certain. Check it before you go on.")
    if reason is not None:
        notes.append(f"It cannot be a teacher as it is: {reason}")

    def seen(look: Callable[[Network], Finding]) -> Finding:
        return probed(lambda: look(loaded))

    def taught(look: Callable[[keras.Model], Finding]) -> Finding:
        return not_known("it cannot be a teacher as it is") if reason else probed(lambda: look(network))

    say("measuring what it costs, and trying what can be made of it")
    with progress.work("measuring and trying"):
        thinning = taught(of_teacher.thinning_of)
        inherits = thinning.value == of_teacher.INHERITED
        return Inspection(
            format=probed(lambda: of_network.format_of(source, loaded)),
            architecture=seen(of_network.architecture_of),
            inputs=seen(of_network.inputs_of),
            outputs=seen(of_network.outputs_of),
            task=taught(lambda teacher: _task(teacher, loaded, options)),
            scaling=scaling,
            parameters=seen(of_network.parameters_of),
            flops=seen(of_network.flops_of),
            tflite=seen(of_network.tflite_of),
            normalizations=seen(of_network.normalizations_of),
            thinning=thinning,
            pruning=taught(of_teacher.pruning_of),
            quantization=taught(of_teacher.quantization_of),
            recipe=taught(lambda teacher: of_teacher.recipe_of(teacher, inherits)),
            time=taught(of_teacher.time_of),
            command=probed(lambda: _command(source, loaded, options, bool(thinning.value), inherits)),
            notes=tuple(dict.fromkeys(notes)),
        )


def _with_scaling(source, loaded, options):
    """The finding about the scaling, and the options with it."""
    if takes_texts(loaded):
        return Finding("none: it takes token ids", {}), options
    if isinstance(loaded, BlackBoxTeacher):
        return Finding("as its function has it", {}), options
    if given := _given_scaling(options):
        words = ", ".join(f"{name}={value}" for name, value in given.items())
        return Finding(f"as given: {words}", given), options
    rest = {name: value for name, value in options.items() if name not in _SCALING}
    try:
        network = opened(source, loaded, rest.get("output"), rest.get("layout"), rest.get("input_shape"))
        found = scaling_of(network, rest.get("from_logits"), rest.get("task"))
    except Exception as error:
        check_not_interrupted(error)
        return not_known(error), rest
    text = f"{found.name} ({found.words}); {'' if found.sure else 'not certain; '}{found.evidence}"
    return Finding(text, {**found.options, "sure": found.sure, "evidence": found.evidence}), {
        **rest,
        **found.options,
    }


def _given_scaling(options):
    """What was said of the scaling, as JSON can hold it."""
    usual = {"input_range": (None, AUTO), "mean": (0.0,), "std": (1.0,), "channel_order": (RGB,)}
    given = {name: options[name] for name in usual if name in options}
    plain = {
        name: value if isinstance(value, str) or value is None else np.asarray(value).tolist()
        for name, value in given.items()
    }
    return {name: value for name, value in plain.items() if value not in usual[name]}


def _teacher(source, loaded, options):
    if isinstance(loaded, BlackBoxTeacher):
        return loaded
    rest = {name: value for name, value in options.items() if name not in _OF_FILES}
    return teacher_of(source, loaded, **rest)


def _task(teacher, loaded, options):
    task = task_of(teacher)
    return Finding(f"{task.name}, {task!r}: {_how_found(loaded, task, options)}", task.name)


def _how_found(loaded, task, options):
    if options.get("task") is not None:
        return "as given"
    if not isinstance(loaded, keras.Model):
        return "by its answers to synthetic inputs"
    if marked_task(loaded) is not None:
        return "as the model says"
    ending = probabilities_ending(loaded, task)
    return f"it {ending}" if ending else "it ends without an activation"


def _command(source, loaded, options, thinned, inherits):
    """What makes a smaller student, as it can be typed."""
    in_memory = isinstance(source, keras.Model)
    path = f"{source.name}.keras" if in_memory else os.fspath(source)
    name = os.path.splitext(os.path.basename(os.path.abspath(path.rpartition(":")[2])))[0]
    words = [f"--teacher={path}"]
    if takes_texts(loaded):
        words = ["tfkd-distill", "--task=text", *words, "--train_data=texts.tsv"]
    else:
        words = ["tfkd-data-free", *words, *_flags(options)]
        words.append("--student=0.5x" if thinned else "--student=student.keras")
        words += ["--inherit"] * inherits
    return Finding(shlex.join([*words, f"--output_dir=runs/{name}"]), None)


def _flags(options):
    """Options of `load_teacher` as flags."""
    given = {flag: options[name] for name, flag in _FLAGS.items() if options.get(name) is not None}
    flags = [f"--{flag}={_typed(value)}" for flag, value in given.items()]
    if scaling := _given_scaling(options):
        flags += Scaling(name="", **{"input_range": (0, 1), **scaling}).flags.split()
    return flags + ["--trust_files"] * bool(options.get("trust_files"))


def _typed(value):
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
