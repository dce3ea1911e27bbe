"""Boundary-supporting samples: real examples carried just across the border of another class."""

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
    """Moves images to the border between the class that the teacher sees and another one, drawn at random.

    With L the base class's logit less the target's, each step moves an image against the gradient of L by
    `step_size * (L + overshoot) / |gradient|` until L is negative, which is just beyond the border. The
    target is drawn by the teacher's probabilities of the other classes. Images that do not get there stay
    as they were.

    Args:
        images: float32 `(batch, ...)` in [0, 1].
        teacher: from images to logits.
        seed: where the targets come from.
        steps: how many steps at most.
        step_size: share of the way to the border that a step takes, in (0, 1].
        overshoot: how far behind the border is aimed at, in logits.
        task: what the teacher's outputs mean; None for `tfkd.tasks.task_of(teacher)`.

    Returns:
        `(images, crossed)`: images in [0, 1] without gradient, and a bool `(batch,)`, which of them were
        moved across a border.

    Example:
        >>> hard, crossed = boundary_supporting(x, teacher, keras.random.SeedGenerator(0))

    Reference:
        Heo et al., "Knowledge Distillation with Adversarial Samples Supporting Decision Boundary", 2019.
        Deviation: images are kept in [0, 1].
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
        """Values of images, to go with their pixels."""
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
