"""Black-box teachers from files."""

import numpy as np

from generators import probe_images
from tfkd._core.layouts import CHANNELS_FIRST, filled
from tfkd._core.runtimes import SavedModelFolder, TFLiteFile
from tfkd.tasks import Task
from tfkd.tasks._endings import activation_seen, logits_of
from tfkd.tasks._finding import task_class
from tfkd.teachers._black_box import BlackBoxTeacher
from tfkd.teachers._deciding import decide, usual_activation
from tfkd.teachers._scaling import Preparation

_TOLERANCE = 1e-2


def from_file(
    file: TFLiteFile | SavedModelFolder,
    index: int,
    preparation: Preparation,
    from_logits: bool | None,
    task: str | type[Task] | Task | None,
    name: str,
    layout: str | None = None,
) -> tuple[BlackBoxTeacher, str | None]:
    """A teacher that runs a file.

    Args:
        file: the file: a function from inputs, on its own scale, to outputs.
        index: index of the output to use.
        preparation: preprocessing of the inputs.
        from_logits: whether that output is logits; None to detect it from outputs for synthetic inputs.
        task: its task; None to infer it from these outputs.
        name: name of the teacher.
        layout: meaning of the input axes, one of `LAYOUTS`; None to infer it from their shape.

    Returns:
        The teacher, and a sentence about it if the user should know that its task was assumed.

    Raises:
        TypeError: if `task` is not a task.
        ValueError: if there is a single output of unknown meaning, or the task does not fit.
    """
    shape, step = tuple(file.output_shapes.values())[index][1:], file.steps[index]
    inputs = filled(file.input_shape[1:], layout)

    def answers(x):
        x = preparation.of_arrays(x)
        if layout == CHANNELS_FIRST:
            x = np.moveaxis(x, -1, 1)
        return file(x.reshape(-1, *file.input_shape[1:]))[index]

    if from_logits is None and task is None and shape == (1,):
        raise ValueError(
            f"`task` is needed: the teacher {name!r} has one output. For a number, pass task='regression'; "
            "for a binary classifier, pass from_logits=True if it is a logit, from_logits=False if it is "
            "a probability (--task, --from_logits)."
        )
    activation = None
    if from_logits is not True and (task is None or task_class(task).activations):
        # Rows of an integer file may deviate from 1 by half a step per value.
        seen = activation_seen(
            answers(probe_images(file).reshape(-1, *inputs)), _TOLERANCE + shape[-1] * step / 2
        )
        activation = seen if from_logits is None else seen or usual_activation(task, shape)
    task, notice = decide(task, activation, shape, from_logits, name)
    paired = task.binary_as_pair and shape[-1] == 1
    as_logits = activation is None or not (paired or activation == task.activations[0])

    def function(x):
        outputs = answers(x)
        if activation is not None:
            outputs = _unrounded(outputs, activation, step)
            outputs = logits_of(outputs, activation) if as_logits else outputs
        if paired:
            other = 0 * outputs if activation is None else 1 - outputs
            outputs = np.concatenate([other, outputs], axis=-1)
        return outputs

    return BlackBoxTeacher(function, inputs, task.output_shape, as_logits, name, task), notice


def _unrounded(probabilities, activation, step):
    """Probabilities of an integer file; 0 means below half a step, so a quarter step is used."""
    if not step:
        return probabilities
    if activation == "sigmoid":
        return np.clip(probabilities, step / 4, 1 - step / 4)
    p = np.maximum(probabilities, step / 4)
    return p / p.sum(axis=-1, keepdims=True)
