"""inspect_model: describes a trained network, its scaling, and its possible students."""

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
# Options of `load_teacher` that are also flags of the programs.
_FLAGS = {
    "task": "task",
    "layout": "layout",
    "input_shape": "input_shape",
    "output": "teacher_output",
    "from_logits": "from_logits",
    "weights": "teacher_weights",
}
# Options for reading a file.
_OF_FILES = ("trust_files", "weights")


def inspect_model(
    teacher: Source, *, teacher_options: Mapping[str, Any] | None = None, verbose: int = 0
) -> Inspection:
    """Describes a trained network: its inputs and outputs, scaling, cost and possible students.

    This is the function behind the program `tfkd-inspect`. Nothing in a file runs that `load_teacher` would
    not run. What cannot be determined is "not known", with the reason.

    Args:
        teacher: a file or a Keras model, as for `tfkd.load_teacher`.
        teacher_options: arguments of `tfkd.load_teacher`; without `input_range`, or with "auto", the
            scaling is detected.
        verbose: 0 prints nothing, otherwise each step.

    Returns:
        An `Inspection`.

    Raises:
        FileNotFoundError: if the file does not exist.
        TypeError: if it is a tf_keras model.
        ValueError: if the file contains no readable model, or needs more than tfkd allows.

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
    say("detecting how its inputs are scaled")
    with progress.work("detecting how inputs are scaled"):
        scaling, options = _with_scaling(source, loaded, options)
    network, reason, notes = loaded, None, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            network = _teacher(source, loaded, options)
        except Exception as error:
            # For example an unspecified layout: everything else is still determined.
            check_not_interrupted(error)
            reason = str(error)
        notes += [str(each.message) for each in caught if each.category.__module__.startswith("tfkd")]
    if scaling.value and scaling.value.get("sure") is False:
        notes.append("Its scaling is not certain. Check it before you continue.")
    if reason is not None:
        notes.append(f"It cannot be used as a teacher as is: {reason}")

    def seen(look: Callable[[Network], Finding]) -> Finding:
        return probed(lambda: look(loaded))

    def taught(look: Callable[[keras.Model], Finding]) -> Finding:
        return (
            not_known("it cannot be used as a teacher as is") if reason else probed(lambda: look(network))
        )

    say("measuring its cost, and trying possible students")
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
    """The finding about the scaling, and the options that include it."""
    if takes_texts(loaded):
        return Finding("none: it takes token ids", {}), options
    if isinstance(loaded, BlackBoxTeacher):
        return Finding("as its function defines it", {}), options
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
    """The given scaling, in a JSON-compatible form."""
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
        return "from its outputs for synthetic inputs"
    if marked_task(loaded) is not None:
        return "as the model declares"
    ending = probabilities_ending(loaded, task)
    return f"it {ending}" if ending else "it ends without an activation"


def _command(source, loaded, options, thinned, inherits):
    """The command that trains a smaller student."""
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
