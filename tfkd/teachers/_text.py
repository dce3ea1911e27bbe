"""Teachers that read tokens: there is nothing to scale, only their task and their last activation."""

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
    """A model of texts as a teacher.

    Args:
        model: a functional model of `token_ids` and other named inputs.
        task: as of `load_teacher`; None for what the model was marked with, or `TextClassification`.
        from_logits: whether its outputs are logits; None to go by its last layer.
        of_images: whether options were given that are of images, by name.

    Returns:
        The model itself; a copy of it without a last softmax, which returns logits.

    Raises:
        ValueError: if options are given that are of images, the model has several outputs, nothing tells
            its task, or it is said to return probabilities and does not end in a softmax.
    """
    if given := sorted(name for name, is_given in (of_images or {}).items() if is_given):
        raise ValueError(
            f"`{given[0]}` is of images, and {model.name!r} takes token ids. Leave out: {', '.join(given)}."
        )
    shape = output_shape_of(model)
    task = marked_task(model) if task is None else as_task(task, shape)
    if task is None:
        if len(shape) != 1 or shape[0] < 2:
            raise ValueError(
                f"`task` is needed: {model.name!r} reads tokens and returns {(None, *shape)}, and nothing "
                "says what that means. Give one of tfkd.tasks, such as task='masked_language_model'."
            )
        task = TextClassification(shape)
    operation = last_operation(model)
    activation = activation_of(operation)
    if from_logits is True or activation is None or not task.activations:
        if from_logits is False and task.activations:
            raise ValueError(
                f"`from_logits`: {model.name!r} does not end in a softmax that can be taken off. Build it "
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
