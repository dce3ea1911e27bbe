"""Checks before a data-free run starts."""

import math
import warnings

import keras
import numpy as np

from tfkd.datafree._inputs import Inputs, TokenInputs
from tfkd.datafree._recipe import Recipe
from tfkd.tasks import ClassTask, Task
from tfkd.teachers import probabilities_ending


def check_ending(student: keras.Model, task: Task) -> None:
    """Raises ValueError if a student returns probabilities, but the task needs logits."""
    if task.activations and (ending := probabilities_ending(student)):
        raise ValueError(
            f"`student` must return logits. Received: {student.name!r}, which {ending}. Build it without "
            "that ending; tfkd.load_teacher(student) makes such a copy of a trained model."
        )


def check_recipe(recipe: Recipe, teacher: keras.Model) -> None:
    """Raises ValueError if a recipe needs gradients of a teacher that is a black box."""
    if is_black_box(teacher) and recipe.differentiates_teacher:
        raise ValueError(
            f"`recipe`: {type(recipe).__name__} needs gradients of the teacher, but {teacher.name!r} is a "
            "black box, which only predicts. Use BlackBox, or Procedural(refine_steps=0)."
        )


def check_taken_over(distiller, other) -> None:
    """Raises TypeError or ValueError if one distiller cannot take over another's images."""
    if not isinstance(other, type(distiller)):
        raise TypeError(
            f"`other` must be a {type(distiller).__name__} that has been trained. Received: {other!r} of "
            f"type {type(other)}."
        )
    if other.teacher is not distiller.teacher:
        raise ValueError(
            "`other` must have the same teacher, since its images and logits depend on it. Received: "
            f"teacher {other.teacher.name!r}, while this distiller's is {distiller.teacher.name!r}."
        )
    ours, theirs = distiller.recipe.describe(), other.recipe.describe()
    if different := [key for key in {**ours, **theirs} if repr(ours.get(key)) != repr(theirs.get(key))]:
        raise ValueError(
            "`other` must have the same recipe; build this distiller with `other.recipe`. They differ in: "
            f"{', '.join(different)}."
        )


def warn_of_warm_up(distiller, epochs: int, steps_per_epoch: int | None) -> None:
    """Warns of a run in which the student is not trained at all."""
    recipe = distiller.recipe
    steps = epochs * (steps_per_epoch or recipe.steps_per_epoch)
    at_once = distiller.steps_per_execution
    warmup = math.ceil(recipe.warmup_steps / at_once) * at_once
    if warmup >= max(steps, int(distiller.steps_done.numpy()) + 1):
        warnings.warn(
            f"The student is not trained in the first warmup_steps={recipe.warmup_steps} steps of the "
            f"recipe ({warmup} with steps_per_execution={at_once}), but this run has only {steps} steps. "
            "Train longer, or choose a smaller `warmup_steps`.",
            stacklevel=3,
        )


def check_with_examples(recipe: Recipe, inputs: Inputs, x) -> None:
    """Raises ValueError if a recipe cannot mix its inputs with real ones, or if those are invalid."""
    if isinstance(inputs, TokenInputs):
        raise ValueError(
            "`x` must be None if inputs are token ids: real and synthesized sentences cannot be mixed "
            "here. Add synthesized ones (`distiller.synthesize(n)`) to yours, and train a tfkd.Distiller "
            "on both."
        )
    if isinstance(x, dict):
        raise ValueError(f"`x` must be images, one tensor. Received: a dictionary of {sorted(x)}.")
    if hasattr(x, "dtype") and not np.issubdtype(getattr(x.dtype, "as_numpy_dtype", x.dtype), np.floating):
        raise ValueError(
            "`x` must be float images in [0, 1], like the synthesized ones. Received: "
            f"{x.dtype}. Divide by 255."
        )
    if recipe.microbatches > 1:
        raise ValueError(
            "`x`: batches of real examples are not split, so `microbatches` of the recipe must be 1. "
            f"Received: microbatches={recipe.microbatches}. Use smaller batches."
        )


def is_black_box(teacher: keras.Model) -> bool:
    """Whether a teacher can only predict, without gradients or inner layers."""
    return getattr(teacher, "black_box", False)


def check_jit_compile(wanted: bool | str, teacher: keras.Model) -> None:
    """Raises ValueError for XLA with a black box, which runs outside of TensorFlow."""
    if is_black_box(teacher) and wanted is True:
        raise ValueError(
            f"`jit_compile` must be False or 'auto' with teacher {teacher.name!r}, a black box, which XLA "
            f"cannot compile. Received: jit_compile={wanted!r}."
        )


def checked_targets(task: Task, labels, n: int) -> np.ndarray:
    """The labels of `synthesize` as int32 `(n,)`.

    Raises:
        ValueError: if they are not `n` classes of the task, or the task has no classes.
    """
    if not isinstance(task, ClassTask):
        raise ValueError(
            f"`labels` must be None: the teacher's task ({task!r}) has no classes. Received: {labels!r}."
        )
    return task.check_targets(labels, n)


def steps_of(x, batch_size: int | None) -> int | None:
    """The number of steps in an epoch over given examples; None if it is unknown."""
    if hasattr(x, "cardinality"):
        cardinality = int(x.cardinality())
        return cardinality if cardinality > 0 else None
    try:
        n = len(x)
    except TypeError:
        return None
    return -(-n // (batch_size or 32)) if hasattr(x, "shape") or isinstance(x, (list, tuple)) else n
