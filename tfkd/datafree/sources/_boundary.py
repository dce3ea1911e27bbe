"""Boundary-supporting samples: real examples moved just across a decision boundary."""

import keras
import tensorflow as tf
from keras import ops

from tfkd.tasks import Task, task_of
from tfkd.tasks._task import as_class_task


def boundary_supporting(
    images,
    teacher: keras.Model,
    seed: keras.random.SeedGenerator,
    steps: int = 10,
    step_size: float = 0.3,
    overshoot: float = 1.0,
    task: Task | None = None,
):
    """Moves images across the boundary between the teacher's predicted class and a random other class.

    With L the predicted class's logit minus the target's, each step moves an image against the gradient of
    L by `step_size * (L + overshoot) / |gradient|` until L is negative, just beyond the boundary. The
    target is drawn with the teacher's probabilities of the other classes. Images that do not cross the
    boundary are returned unchanged.

    Args:
        images: float32 `(batch, ...)` in [0, 1].
        teacher: a model from images to logits.
        seed: the seed generator for the targets.
        steps: the maximum number of steps.
        step_size: the fraction of the distance to the boundary that a step covers, in (0, 1].
        overshoot: how far beyond the boundary the steps aim, in logits.
        task: the teacher's task; None for `tfkd.tasks.task_of(teacher)`.

    Returns:
        `(images, crossed)`: images in [0, 1] without gradient, and a bool `(batch,)`, true for images that
        were moved across a boundary.

    Example:
        >>> hard, crossed = boundary_supporting(x, teacher, keras.random.SeedGenerator(0))

    Reference:
        Heo et al., "Knowledge Distillation with Adversarial Samples Supporting Decision Boundary", 2019.
        Deviation: images are clipped to [0, 1].
    """
    classes = as_class_task(task_of(teacher) if task is None else task)
    images = ops.cast(images, "float32")

    def ask(images):
        return ops.cast(teacher(images, training=False), "float32")

    logits = ask(images)
    base = ops.one_hot(classes.group(logits), classes.groups)
    others = classes.log_probabilities(logits) - 1e9 * base
    target = ops.one_hot(keras.random.categorical(others, 1, seed=seed)[:, 0], classes.groups)
    over_image = tuple(range(1, len(images.shape)))

    def each(values):
        """One value per image, shaped to broadcast over pixels."""
        return ops.reshape(values, (-1, *(1,) * len(over_image)))

    moved, crossed = images, ops.zeros_like(base[:, 0]) > 0
    for _ in range(steps):
        with tf.GradientTape() as tape:
            tape.watch(moved)
            lead = ops.sum((base - target) * ask(moved), axis=-1)
        crossed = ops.logical_or(crossed, lead < 0)
        slope = tape.gradient(lead, moved)
        length = ops.sum(slope**2, axis=over_image) + 1e-12
        way = ops.where(crossed, 0.0, step_size * (lead + overshoot) / length)
        moved = ops.clip(moved - each(way) * slope, 0.0, 1.0)
    lead = ops.sum((base - target) * ask(moved), axis=-1)
    crossed = ops.logical_or(crossed, lead < 0)
    return tf.stop_gradient(ops.where(each(crossed), moved, images)), crossed
