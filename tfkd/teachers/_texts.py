"""Text models as teachers: as they are, if they return logits."""

import keras

from tfkd.tasks import Task, mark, marked_task, output_shape_of
from tfkd.tasks._endings import activation_of, last_operation
from tfkd.teachers._deciding import decide


def text_teacher(
    model: keras.Model,
    of_images: dict[str, bool],
    from_logits: bool | None,
    task: str | type[Task] | Task | None,
) -> tuple[keras.Model, str | None]:
    """A text model that knows its task, and what has to be said of it.

    Args:
        model: takes `token_ids`.
        of_images: whether options were given that are of images, by name.
        from_logits: True if its outputs are logits whatever its last layer says.
        task: as of `load_teacher`.

    Raises:
        ValueError: if it returns probabilities, or options are given that are of images.
    """
    if given := sorted(name for name, is_given in of_images.items() if is_given):
        raise ValueError(
            f"`{given[0]}` is of images, and {model.name!r} takes token ids. Leave out: {', '.join(given)}."
        )
    activation = activation_of(last_operation(model))
    if from_logits is False or (from_logits is None and activation in ("softmax", "sigmoid")):
        raise ValueError(
            f"`source`: {model.name!r} returns probabilities ({activation or 'from_logits=False'}), and "
            "text models are taught by logits. Build it without the last activation, as "
            "tfkd.text.classifier does, or pass from_logits=True if these are logits."
        )
    task, notice = decide(task or marked_task(model), None, output_shape_of(model), from_logits, model.name)
    return mark(model, task), notice
