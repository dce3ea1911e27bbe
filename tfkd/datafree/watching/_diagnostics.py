"""Metrics that show, without data, how a data-free run is doing."""

from typing import Any

import keras
import numpy as np
from keras import tree

from tfkd._core import asking
from tfkd.tasks import ClassTask, Task, task_of

# Images closer than this, in root mean square of pixels in [0, 1], count as copies.
NEAR = 0.01


def vital_signs(
    teacher: keras.Model,
    student: keras.Model,
    synthetic: Any,
    probes: Any,
    batch_size: int = 256,
    task: Task | None = None,
) -> dict[str, float]:
    """Measures the two networks, and the synthetic inputs of the student.

    Args:
        teacher: a model from `tfkd.load_teacher`.
        student: a model with the same inputs and outputs.
        synthetic: float inputs `(n, ...)` in [0, 1] made as in training, at least 2; for a language model a
            dictionary of its inputs, `token_ids` and others, `(n, length)` each.
        probes: inputs of the same shape that stay the same during a run.
        batch_size: the largest batch size.
        task: the task; None for the teacher's own.

    Returns:
        `health_agreement`: the agreement of the two networks on the probes, in [0, 1].
        `health_guess`: that agreement for a student that always gives the best constant prediction.
        `health_agreement_synthetic`: the agreement on the synthetic inputs.
        `health_diversity`: the mean distance between two synthetic inputs, as the root mean square of their
        differences; for token ids the fraction of positions with different tokens.
        `health_duplicates`: the fraction of synthetic inputs that have another one within a distance of
        0.01.
        `health_student_spread`: the standard deviation of the student's outputs over all inputs, as a
        multiple of the teacher's; 0 for constant outputs.
        For tasks with classes also `health_class_entropy`: the entropy of the teacher's predicted classes
        for the synthetic inputs, 1 for an even mix, 0 for a single class; and `health_confidence`: the
        teacher's mean confidence in them.
    """
    task = task_of(teacher) if task is None else task
    n = len(tree.flatten(synthetic)[0])
    expected, answers = (
        np.concatenate([asking.answers(model, inputs, batch_size) for inputs in (synthetic, probes)])
        for model in (teacher, student)
    )
    expected, answers = expected.astype("float32"), answers.astype("float32")
    if isinstance(synthetic, dict):
        distances = token_distances(synthetic["token_ids"])
    else:
        distances = rms_distances(synthetic)
    pairs = distances[np.triu_indices(len(distances), 1)]
    np.fill_diagonal(distances, np.inf)
    figures = {
        "health_agreement": np.mean(task.agreement(expected[n:], answers[n:])),
        "health_guess": task.guess(expected[n:]),
        "health_agreement_synthetic": np.mean(task.agreement(expected[:n], answers[:n])),
        "health_diversity": np.mean(pairs),
        "health_duplicates": np.mean(distances.min(axis=1) < NEAR),
        "health_student_spread": answers.std(axis=0).mean() / (expected.std(axis=0).mean() + 1e-12),
    }
    if isinstance(task, ClassTask):
        shares = np.bincount(np.asarray(task.group(expected[:n])), minlength=task.groups) / n
        present = shares[shares > 0]
        # With a single label there is no mix.
        even = np.log(task.groups) if task.groups > 1 else 1.0
        figures["health_class_entropy"] = np.sum(present * np.log(1 / present)) / even
        figures["health_confidence"] = np.mean(task.confidence(expected[:n]))
    return {name: float(value) for name, value in figures.items()}


def rms_distances(images: np.ndarray) -> np.ndarray:
    """Root-mean-square distances of all pairs of images.

    Args:
        images: `(n, ...)`.

    Returns:
        float32 `(n, n)`.
    """
    # Subtract the mean, so that float32 is exact enough to distinguish copies from neighbours.
    rows = (images - images.mean(axis=0)).reshape(len(images), -1)
    products = rows @ rows.T / rows.shape[1]
    squares = np.diag(products)
    return np.sqrt(np.maximum(squares[:, None] + squares - 2 * products, 0))


def token_distances(token_ids: np.ndarray) -> np.ndarray:
    """Fractions of positions at which pairs of sequences have different tokens.

    Args:
        token_ids: int `(n, length)`.

    Returns:
        float32 `(n, n)`.
    """
    return np.stack([np.mean(token_ids != each, axis=1, dtype="float32") for each in token_ids])


def in_warm_up(distiller) -> bool:
    """Whether no student has been trained yet, so that its loss and agreement of 0 are meaningless."""
    if not distiller.sources:
        return False
    return 0 < int(distiller.steps_done.numpy()) <= distiller.recipe.warmup_steps
