"""What is refused before a data-free run begins."""

import warnings

import keras
import numpy as np

from tfkd.datafree._recipe import Recipe
from tfkd.datafree.objectives import ClassBalance
from tfkd.teachers import probabilities_ending


def check_ending(student: keras.Model) -> None:
    """Raises ValueError for a student that returns probabilities."""
    if ending := probabilities_ending(student):
        raise ValueError(
            f"`student` must return logits. Received: {student.name!r}, which {ending}. Build it without "
            "that; tfkd.load_teacher(student) makes such a copy of a trained model."
        )


def classifier_shapes(teacher: keras.Model) -> tuple[tuple[int, int, int], int]:
    """The teacher's image shape and number of classes.

    Raises:
        ValueError: if it has several outputs, is no image classifier, or its shapes are not known.
    """
    image_shape, output_shape = teacher.input_shape[1:], teacher.output_shape
    if isinstance(output_shape, dict) or (output_shape and isinstance(output_shape[0], (tuple, list))):
        names = list(output_shape) if isinstance(output_shape, dict) else teacher.output_names
        raise ValueError(
            f"`teacher` must have one output. Received: {teacher.name!r} with {len(names)}: {names}. Say "
            "which: tfkd.load_teacher(teacher, output=...)."
        )
    if len(image_shape) != 3 or None in image_shape or len(output_shape) != 2 or output_shape[-1] is None:
        raise ValueError(
            "`teacher` must take images (batch, height, width, channels) of one known size and "
            f"return (batch, classes) with a known number of classes. Received: input shape "
            f"{teacher.input_shape}, output shape {output_shape}."
        )
    if output_shape[-1] < 2:
        raise ValueError(
            "`teacher` must have at least two logits. Received: output shape "
            f"{output_shape}. tfkd.load_teacher turns one sigmoid unit into two logits."
        )
    return tuple(image_shape), output_shape[-1]


def check_recipe(recipe: Recipe, teacher: keras.Model) -> None:
    """Raises ValueError where a recipe cannot work with a teacher."""
    if is_black_box(teacher) and recipe.differentiates_teacher and not _only_asks(recipe):
        raise ValueError(
            f"`recipe`: {type(recipe).__name__} differentiates the teacher, and {teacher.name!r} is a "
            "black box that only answers. Use BlackBox, or Procedural(refine_steps=0)."
        )
    classes = teacher.output_shape[-1]
    balanced = any(isinstance(objective, ClassBalance) for objective in recipe.build_objectives())
    batch_size = getattr(recipe, "inversion_batch", recipe.batch_size)
    if balanced and batch_size < classes:
        raise ValueError(
            f"`recipe`: {type(recipe).__name__} balances {classes} classes within a batch, which needs at "
            f"least {classes} images. Received: {batch_size}. Where memory is "
            "short, raise `accumulate`."
        )
    least = max(recipe.drawn_at_once(), classes) * len(recipe.prior)
    if 0 < recipe.chains < least:
        raise ValueError(
            f"`recipe`: `chains` must be 0 or at least {least}: for each of {len(recipe.prior)} priors a "
            f"batch's images of it, and one for each of {classes} classes. Received: {recipe.chains}."
        )


def _only_asks(recipe):
    """Whether nothing is trained to generate, and nothing refined."""
    return not (recipe.generator_steps or recipe.refines() or recipe.needs_examples)


def check_taken_over(distiller, other) -> None:
    """Raises TypeError or ValueError where one distiller cannot go on with another's images."""
    if not isinstance(other, type(distiller)):
        raise TypeError(
            f"`other` must be a {type(distiller).__name__}, whose run went before. Received: {other!r} of "
            f"type {type(other)}."
        )
    if other.teacher is not distiller.teacher:
        raise ValueError(
            "`other` must have the same teacher, which its images were made for and answered by. Received: "
            f"one of {other.teacher.name!r}, while this one's is {distiller.teacher.name!r}."
        )
    ours, theirs = distiller.recipe.describe(), other.recipe.describe()
    if different := [key for key in {**ours, **theirs} if repr(ours.get(key)) != repr(theirs.get(key))]:
        raise ValueError(
            "`other` must have the same recipe; make this one with `other.recipe`. They differ in: "
            f"{', '.join(different)}."
        )


def warn_of_warm_up(distiller, epochs: int, steps_per_epoch: int | None) -> None:
    """Warns of a run in which the student is not taught at all."""
    recipe = distiller.recipe
    steps = epochs * (steps_per_epoch or recipe.steps_per_epoch)
    if recipe.warmup_steps >= max(steps, int(distiller.steps_done.numpy()) + 1):
        warnings.warn(
            f"The student is not taught in the first warmup_steps={recipe.warmup_steps} steps of the "
            "recipe, and this "
            f"run has {steps}. Train longer, or choose a smaller `warmup_steps`.",
            stacklevel=3,
        )


def check_with_examples(recipe: Recipe, x) -> None:
    """Raises ValueError for a recipe that cannot mix its images with real ones, or integer images."""
    if isinstance(x, dict):
        raise ValueError(f"`x` must be images, one tensor. Received: a dictionary of {sorted(x)}.")
    if hasattr(x, "dtype") and not np.issubdtype(getattr(x.dtype, "as_numpy_dtype", x.dtype), np.floating):
        raise ValueError(
            "`x` must be float images in [0, 1], which is what the synthesized ones are. Received: "
            f"{x.dtype}. Divide by 255."
        )
    if recipe.accumulate > 1:
        raise ValueError(
            "`x`: real examples go through the networks whole, so `accumulate` of the recipe must be 1. "
            f"Received: accumulate={recipe.accumulate}. Use smaller batches."
        )


def is_black_box(teacher: keras.Model) -> bool:
    """Whether a teacher only answers."""
    return getattr(teacher, "black_box", False)


def check_jit_compile(wanted: bool | str, teacher: keras.Model) -> None:
    """Raises ValueError for XLA with a black box, which answers outside of TensorFlow."""
    if is_black_box(teacher) and wanted is True:
        raise ValueError(
            f"`jit_compile` must be False or 'auto' with teacher {teacher.name!r}, a black box: XLA cannot "
            f"compile what it does. Received: jit_compile={wanted!r}."
        )


def checked_labels(labels, n: int, classes: int) -> np.ndarray:
    """The labels of `synthesize` as int32 `(n,)`.

    Raises:
        ValueError: if they are not `n` classes of the teacher.
    """
    labels = np.asarray(labels)
    if labels.shape != (n,) or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"`labels` must be {n} classes from 0 to {classes - 1}. Received: shape "
            f"{labels.shape}, values {np.unique(labels)[:10].tolist()}."
        )
    return labels.astype("int32")


def steps_of(x, batch_size: int | None) -> int | None:
    """Steps in an epoch over given examples; None if they do not tell."""
    if hasattr(x, "cardinality"):
        cardinality = int(x.cardinality())
        return cardinality if cardinality > 0 else None
    try:
        n = len(x)
    except TypeError:
        return None
    return -(-n // (batch_size or 32)) if hasattr(x, "shape") or isinstance(x, (list, tuple)) else n
