"""How right networks are, and how far they agree, by the task of their teacher."""

from collections.abc import Callable

import keras
import numpy as np

from tfkd.pipelines._examples import Examples, load_examples
from tfkd.tasks import task_of


def predict(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """The model's outputs, quietly."""
    return model.predict(x, batch_size=256, verbose=0)


def agreement(teacher: keras.Model, teacher_outputs: np.ndarray, student_outputs: np.ndarray) -> float:
    """How far two networks' outputs agree on average, in [0, 1]."""
    each = task_of(teacher).agreement(teacher_outputs, student_outputs)
    return float(np.mean(np.asarray(each, "float64")))


def scores(teacher: keras.Model, outputs: np.ndarray, data: Examples | None) -> dict[str, float | None]:
    """How right a network's outputs for real examples are, by name; without any an "accuracy" of None."""
    return {"accuracy": None, **({} if data is None else task_of(teacher).score(outputs, data[1]))}


def evaluation_examples(
    source: object, model: keras.Model, role: str, say: Callable[[str], None]
) -> Examples | None:
    """Real examples to measure on, after saying how right a network is on them.

    Args:
        source: as `load_examples` takes it; None for none.
        model: a trained network.
        role: what the network is called in messages.
        say: prints a line, or does not.

    Returns:
        The examples, or None.

    Raises:
        ValueError: if the network is no better than chance.
    """
    if source is None:
        return None
    x, y = load_examples(source, model)
    task, outputs = task_of(model), predict(model, x)
    name, value = next(iter(task.score(outputs, y).items()))
    figure = f"{name.replace('_', ' ')} on {len(x):,} real examples: {written(name, value)}"
    say(f"{role} {figure}")
    if task.is_chance(outputs, y):
        raise ValueError(
            f"`{role}`: its {figure}, no better than chance. Check `input_range`, `mean` and `std` of "
            f"tfkd.load_teacher, and that the labels of `evaluation_data` are those of the {role}."
        )
    return x, y


def written(name: str, value: float) -> str:
    """A figure as people read it: accuracies in percent."""
    return f"{value:.2%}" if name.endswith("accuracy") else f"{value:.4g}"
