"""Example texts for reports, with a network's predictions."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from keras import tree

from tfkd._core.asking import answers
from tfkd._core.named_inputs import TOKENS
from tfkd.export._examples import Inputs
from tfkd.export._signature import PADDING_MASK
from tfkd.tasks import Task, task_of

_SHOWN = 24
_LONGEST = 300


class ExampleText(NamedTuple):
    """A row of a report.

    Args:
        text: the text.
        answer: the network's prediction, in a few words.
        label: the true label, or None.
        teacher: the teacher's prediction, or None.
    """

    text: str
    answer: str
    label: str | None = None
    teacher: str | None = None


def example_texts(
    inputs: Inputs,
    model: keras.Model,
    decode: Callable[[np.ndarray], str] | None = None,
    task: Task | None = None,
) -> list[ExampleText]:
    """Texts with a network's predictions, for `write_report` and `write_distillation_report`.

    Args:
        inputs: token ids, alone or by name with their padding mask; the first 24 texts are used.
        model: the network.
        decode: a function from the ids of a text to the text, such as `tokenizer.decode`; None to show ids.
        task: the network's task; None for `tfkd.tasks.task_of(model)`.

    Returns:
        A list of `ExampleText`.

    Example:
        >>> rows = tfkd.export.example_texts(tokenizer(sentences), student, tokenizer.decode)
    """
    inputs = tree.map_structure(lambda array: np.asarray(array)[:_SHOWN], inputs)
    captions = (task or task_of(model)).captions(answers(model, inputs))
    by_name = inputs if isinstance(inputs, dict) else {TOKENS: inputs}
    ids = by_name.get(TOKENS, next(iter(by_name.values())))
    real = np.asarray(by_name.get(PADDING_MASK, ids != 0)).astype(bool)
    shown = [row[mask] for row, mask in zip(ids, real, strict=True)]
    texts = [" ".join(map(str, row)) if decode is None else decode(row) for row in shown]
    return [ExampleText(text[:_LONGEST], answer) for text, answer in zip(texts, captions, strict=True)]
