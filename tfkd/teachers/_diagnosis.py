"""What a classifier answers to synthetic images, and whether that looks right."""

import keras
import numpy as np
from keras import ops

from generators import probe_images


def suspicion(teacher: keras.Model) -> str | None:
    """Why a teacher looks untrained or wrongly scaled, judged on synthetic images.

    Args:
        teacher: a model from images in [0, 1] to logits.

    Returns:
        A sentence that names the remedy, or None if nothing looks wrong.
    """
    logits = np.asarray(ops.cast(teacher(probe_images(teacher), training=False), "float32"))
    if not np.isfinite(logits).all():
        return "its outputs are not finite; check its weights and `input_range`, `mean`, `std`."
    classes = logits.shape[-1]
    confidence = np.asarray(ops.softmax(logits, axis=-1)).max(axis=-1)
    commonest = np.bincount(logits.argmax(axis=-1), minlength=classes).max() / len(logits)
    remedy = "check `input_range`, `mean` and `std` (--input_range, --input_mean, --input_std)"
    seen = (
        f"on synthetic images its mean confidence is {confidence.mean():.2f} and its commonest "
        f"class takes {commonest:.0%}"
    )
    if confidence.mean() < barely_chance(classes):
        return f"{seen}, hardly more than chance: it looks untrained, or {remedy}."
    if commonest > 0.95:
        return f"{seen}: it hardly looks at its input; {remedy}."
    if np.median(confidence) > 0.9999:
        return f"{seen}: it is saturated, as when images come too large; {remedy}."
    return None


def barely_chance(classes: int) -> float:
    """The accuracy, or confidence, of a classifier that is hardly better than guessing."""
    chance = 1 / classes
    return chance + min(0.5 * chance, 0.15 * (1 - chance))
