"""Real inputs and labels for measuring a file."""

from typing import Any

import keras
import numpy as np

from tfkd.export._examples import Inputs, as_pair, filled_up, number_of
from tfkd.export._inputs import given_inputs, ranks_of
from tfkd.export._signature import is_named, signature
from tfkd.tasks import LanguageModel, Task
from tfkd.tasks._language_model import IGNORED


def evaluation_pair(data: Any, model: keras.Model, task: Task) -> tuple[Inputs, np.ndarray]:
    """Real inputs and labels, in the shapes and dtypes that a model with known input sizes takes.

    Args:
        data: `(inputs, labels)`, or a data set of such pairs.
        model: the model.
        task: its task, which checks the labels.

    Raises:
        ValueError: naming `evaluation_data`, if they do not match the model.
    """
    shapes = [f"(n, {', '.join(map(str, spec.shape[1:]))})" for spec in signature(model).values()]
    what = "images" if len(shapes) == 1 and not is_named(model) else "inputs"
    expected = f"{what} {', '.join(shapes)} and their labels"
    of_tokens = isinstance(task, LanguageModel)
    try:
        x, labels = as_pair(data, ranks_of(model))
        x = given_inputs(model, x, "evaluation_data")
        if of_tokens and labels.ndim == 2:
            labels = _of_length(labels, task.output_shape[0])
        return x, task.check_labels(labels, number_of(x), "labels")
    except ValueError as error:
        raise ValueError(f"`evaluation_data` must be {expected}; {error}") from error


def _of_length(labels, length):
    """Labels of tokens for texts that were padded or cut to a length."""
    return labels[:, :length] if labels.shape[1] >= length else filled_up(labels, length, IGNORED)
