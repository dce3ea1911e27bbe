"""Final layers of text models, whose name records the task in files."""

from typing import Any

import keras
from keras import layers

from tfkd import tasks
from tfkd.tasks._endings import MARK


def marked(inputs: dict[str, Any], outputs: Any, task: str, name: str) -> keras.Model:
    """A model that returns these outputs in float32 and is marked with its task.

    Args:
        inputs: symbolic inputs by their names.
        outputs: a symbolic tensor.
        task: name of a task of `tfkd.tasks`.
        name: name of the model.
    """
    answer = layers.Activation("linear", name=MARK + task, dtype="float32")(outputs)
    model = keras.Model(inputs, answer, name=name)
    if (kind := tasks.known_tasks().get(task)) is None:
        return model
    return tasks.mark(model, kind(tasks.output_shape_of(model)))
