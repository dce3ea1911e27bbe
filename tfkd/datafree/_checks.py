"""What is refused before a data-free run begins."""

import math
import warnings

import keras
import numpy as np

from tfkd.datafree._inputs import Inputs, TokenInputs
from tfkd.datafree._recipe import Recipe
from tfkd.tasks import ClassTask, Task
from tfkd.teachers import probabilities_ending


def check_ending(student: keras.Model, task: Task) -> None:
    """Raises ValueError for a student that returns probabilities where the task's answers are logits."""
    if task.activations and (ending := probabilities_ending(student)):
        raise ValueError(
            f"`student` must return logits. Received: {student.name!r}, which {ending}. Build it without "
            "that; tfkd.load_teacher(student) makes such a copy of a trained model."
        )


def check_recipe(recipe: Recipe, teacher: keras.Model) -> None:
    """Raises ValueError where a recipe cannot work with a black box."""
    if is_black_box(teacher) and recipe.differentiates_teacher:
        raise ValueError(
            f"`recipe`: {type(recipe).__name__} differentiates the teacher, and {teacher.name!r} is a "
            "black box that only answers. Use BlackBox, or Procedural(refine_steps=0)."
        )


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
    at_once = distiller.steps_per_execution
    warmup = math.ceil(recipe.warmup_steps / at_once) * at_once
    if warmup >= max(steps, int(distiller.steps_done.numpy()) + 1):
        warnings.warn(
            f"The student is not taught in the first warmup_steps={recipe.warmup_steps} steps of the "
            f"recipe ({warmup} with steps_per_execution={at_once}), and this run has {steps}. Train "
            "longer, or choose a smaller `warmup_steps`.",
            stacklevel=3,
        )


def check_with_examples(recipe: Recipe, inputs: Inputs, x) -> None:
    """Raises ValueError for a recipe that cannot mix its images with real ones, or integer images."""
    if isinstance(inputs, TokenInputs):
        raise ValueError(
            "`x` must be None where inputs are token ids: sentences are not mixed with those made here. "
            "Put made ones (`distiller.synthesize(n)`) among them, and train a tfkd.Distiller on both."
        )
    if isinstance(x, dict):
        raise ValueError(f"`x` must be images, one tensor. Received: a dictionary of {sorted(x)}.")
    if hasattr(x, "dtype") and not np.issubdtype(getattr(x.dtype, "as_numpy_dtype", x.dtype), np.floating):
        raise ValueError(
            "`x` must be float images in [0, 1], which is what the synthesized ones are. Received: "
            f"{x.dtype}. Divide by 255."
        )
    if recipe.microbatches > 1:
        raise ValueError(
            "`x`: real examples go through the networks whole, so `microbatches` of the recipe must be 1. "
            f"Received: microbatches={recipe.microbatches}. Use smaller batches."
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


def checked_targets(task: Task, labels, n: int) -> np.ndarray:
    """The labels of `synthesize` as int32 `(n,)`.

    Raises:
        ValueError: if they are not `n` classes of the task, or it has none.
    """
    if not isinstance(task, ClassTask):
        raise ValueError(
            f"`labels` must be None: the teacher's answers ({task!r}) do not name classes. "
            f"Received: {labels!r}."
        )
    return task.check_targets(labels, n)


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
