"""Figures that say without data how a data-free run is doing."""

import keras
import numpy as np
from keras import ops

# Images closer than this, in root mean square of pixels in [0, 1], count as copies.
NEAR = 0.01


def vital_signs(
    teacher: keras.Model,
    student: keras.Model,
    synthetic: np.ndarray,
    probes: np.ndarray,
    batch_size: int = 256,
) -> dict[str, float]:
    """Measures both networks and the images one learns from the other on.

    Args:
        teacher: a model from images to logits.
        student: a model from images to logits.
        synthetic: images `(n, height, width, channels)` in [0, 1] as training makes them, at least 2.
        probes: images of the same shape that stay the same over a run.
        batch_size: images that go through a network at once.

    Returns:
        `health_agreement`: share of the probes to which both give the same class.
        `health_guess`: what that would be for a student that always gives the teacher's commonest class.
        `health_agreement_synthetic`: the share of the synthetic images to which both give the same class.
        `health_class_entropy`: entropy of the teacher's classes of these, 1 for an even mix, 0 for one
        class.
        `health_diversity`: distance of two of them on average, in root mean square of pixels.
        `health_duplicates`: share of them that have another within 0.01 in that distance.
        `health_confidence`: probability of the teacher's class, on average.
        `health_student_spread`: standard deviation of the student's logits over all images, as a multiple
        of the teacher's; 0 if it answers all alike.
    """
    images, n = np.concatenate([synthetic, probes]), len(synthetic)
    logits, answers = (_logits(model, images, batch_size) for model in (teacher, student))
    classes = logits.shape[-1]
    same = logits.argmax(-1) == answers.argmax(-1)
    shares, on_probes = (
        np.bincount(part.argmax(-1), minlength=classes) / len(part) for part in (logits[:n], logits[n:])
    )
    present = shares[shares > 0]
    distances = rms_distances(synthetic)
    pairs = distances[np.triu_indices(len(distances), 1)]
    np.fill_diagonal(distances, np.inf)
    figures = {
        "health_agreement": np.mean(same[n:]),
        "health_guess": on_probes.max(),
        "health_agreement_synthetic": np.mean(same[:n]),
        "health_class_entropy": np.sum(present * np.log(1 / present)) / np.log(classes),
        "health_diversity": np.mean(pairs),
        "health_duplicates": np.mean(distances.min(axis=1) < NEAR),
        "health_confidence": np.mean(np.asarray(ops.softmax(logits[:n], axis=-1)).max(-1)),
        "health_student_spread": answers.std(axis=0).mean() / (logits.std(axis=0).mean() + 1e-12),
    }
    return {name: float(value) for name, value in figures.items()}


def _logits(model, images, batch_size):
    # For a few batches, `predict` would take longer to set up than to run.
    batches = (images[i : i + batch_size] for i in range(0, len(images), batch_size))
    return np.concatenate([ops.cast(model(batch, training=False), "float32") for batch in batches])


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


def in_warm_up(distiller: keras.Model) -> bool:
    """Whether no student has been taught yet, so that its loss and agreement, both 0, mean nothing."""
    return 0 < int(distiller.steps_done.numpy()) <= distiller.recipe.warmup_steps
