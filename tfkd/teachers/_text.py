"""Text teachers: nothing to scale, only their task and final activation."""

from collections.abc import Mapping

import keras

from tfkd._core.named_inputs import named_inputs
from tfkd.tasks import Task, mark, marked_task, output_shape_of
from tfkd.tasks._endings import activation_of, last_operation
from tfkd.tasks._finding import as_task, name_of_mark
from tfkd.tasks._text_classification import TextClassification
from tfkd.teachers._endings import Ending, apply_without


def text_teacher(
    model: keras.Model,
    task: str | type[Task] | Task | None = None,
    from_logits: bool | None = None,
    of_images: Mapping[str, bool] | None = None,
) -> keras.Model:
    """A text model as a teacher.

    Args:
        model: a functional model with `token_ids` and other named inputs.
        task: as for `load_teacher`; None for the task the model was marked with, or `TextClassification`.
        from_logits: whether its outputs are logits; None to infer it from the last layer.
        of_images: for each option for images, whether it was given, by name.

    Returns:
        The model itself, or a copy without a final softmax, which returns logits.

    Raises:
        ValueError: if options for images are given, the model has several outputs, its task is unknown, or
            `from_logits=False` is given although it does not end in a softmax.
    """
    if given := sorted(name for name, is_given in (of_images or {}).items() if is_given):
        raise ValueError(
            f"`{given[0]}` is for images, but {model.name!r} takes token ids. Leave out: "
            f"{', '.join(given)}."
        )
    shape = output_shape_of(model)
    task = marked_task(model) if task is None else as_task(task, shape)
    if task is None:
        if len(shape) != 1 or shape[0] < 2:
            raise ValueError(
                f"`task` is needed: {model.name!r} reads tokens and returns {(None, *shape)}, whose "
                "meaning is unknown. Give one of tfkd.tasks, such as task='masked_language_model'."
            )
        task = TextClassification(shape)
    operation = last_operation(model)
    activation = activation_of(operation)
    if from_logits is True or activation is None or not task.activations:
        if from_logits is False and task.activations:
            raise ValueError(
                f"`from_logits`: {model.name!r} does not end in a softmax that can be removed. Build it "
                "without its last activation and leave `from_logits` out."
            )
        return mark(model, task)
    inputs = {
        name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
        for name, tensor in (named_inputs(model) or {}).items()
    }
    logits = apply_without(Ending(activation, operation), model, inputs)
    teacher = keras.Model(inputs, logits, name=model.name)
    if name := name_of_mark(teacher, task):
        named = keras.layers.Activation("linear", name=name, dtype="float32")(logits)
        teacher = keras.Model(inputs, named, name=model.name)
    return mark(teacher, task)
