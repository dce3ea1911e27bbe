"""Figures that say without data how a data-free run is doing."""

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
    """Measures both networks and the inputs one learns from the other on.

    Args:
        teacher: a model as `tfkd.load_teacher` returns it.
        student: a model with the same inputs and outputs.
        synthetic: float inputs `(n, ...)` in [0, 1] as training makes them, at least 2; for a language
            model what it takes by name, `token_ids` and others `(n, length)`.
        probes: inputs of the same shape that stay the same over a run.
        batch_size: inputs that go through a network at once, at most.
        task: what the outputs mean; None for what the teacher says.

    Returns:
        `health_agreement`: agreement of both networks on the probes, in [0, 1].
        `health_guess`: what that would be for a student that always gives the best constant answer.
        `health_agreement_synthetic`: agreement on the synthetic inputs.
        `health_diversity`: mean distance of two of these, in root mean square of their values; of token ids
        the share of places with other tokens.
        `health_duplicates`: share of them that have another within 0.01 in that distance.
        `health_student_spread`: standard deviation of the student's outputs over all inputs, as a multiple
        of the teacher's; 0 if it answers all alike.
        For tasks with classes also `health_class_entropy`: entropy of the teacher's classes of the
        synthetic inputs, 1 for an even mix, 0 for one class; and `health_confidence`: how sure the teacher
        is of them.
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
        # A single label has nothing to be mixed with.
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
    # Around their mean, so that copies are told from neighbours in float32 too.
    rows = (images - images.mean(axis=0)).reshape(len(images), -1)
    products = rows @ rows.T / rows.shape[1]
    squares = np.diag(products)
    return np.sqrt(np.maximum(squares[:, None] + squares - 2 * products, 0))


def token_distances(token_ids: np.ndarray) -> np.ndarray:
    """Shares of places at which pairs of sequences have other tokens.

    Args:
        token_ids: int `(n, length)`.

    Returns:
        float32 `(n, n)`.
    """
    return np.stack([np.mean(token_ids != each, axis=1, dtype="float32") for each in token_ids])


def in_warm_up(distiller) -> bool:
    """Whether no student has been taught yet, so that its loss and agreement, both 0, mean nothing."""
    if not distiller.sources:
        return False
    return 0 < int(distiller.steps_done.numpy()) <= distiller.recipe.warmup_steps
