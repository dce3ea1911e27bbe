"""A few smoothed gradient steps towards a target class and disagreement with the student."""

import numpy as np
import tensorflow as tf
from keras import ops

from tfkd.datafree._lesson import Lesson
from tfkd.datafree._loops import iterated
from tfkd.datafree.objectives._matched_statistics import gaussian_kl
from tfkd.datafree.objectives._moments import observe, stored_statistics

_BINOMIAL = np.array([1, 2, 1], "float32") / 4


def refine(
    lesson: Lesson,
    images,
    targets,
    steps: int = 2,
    step_size: float = 0.1,
    adversarial: float = 0.0,
    statistics: float = 0.0,
):
    """Moves images towards targets of the teacher, and optionally to where the student is wrong.

    Each step descends the gradient of the task's loss on the teacher's outputs, minus `adversarial` times
    the divergence of the student, plus `statistics` times the divergence of the batch's features from the
    statistics in the teacher's batch normalization. The gradient is smoothed by a binomial filter
    along height and width (along time for series, not at all for vectors), so that strokes and blobs appear
    instead of pixel noise, and scaled to the same size for every image.

    Args:
        lesson: the networks and their task.
        images: `(batch, ...)` in [0, 1].
        targets: `(batch, ...)`, from `Task.draw_targets`.
        steps: the number of steps.
        step_size: the root-mean-square change of the pixels in one step.
        adversarial: the weight of the divergence from the student.
        statistics: the weight of the batch statistics; it has no effect if the teacher has none.

    Returns:
        Images of the same shape in [0, 1], without gradient.
    """
    task = lesson.task
    stored = stored_statistics(lesson.teacher) if statistics else {}

    def step(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits, seen = observe(lesson.teacher, images, stored)
            goal = task.target_loss(targets, logits)
            if adversarial:
                goal -= adversarial * task.divergence(logits, lesson.ask_student(images))
            for each in seen:
                goal += statistics * gaussian_kl(*each.of_batch(), each.stored_mean, each.stored_variance)
        slope = _smoothed(tape.gradient(goal, images))
        size = ops.sqrt(ops.mean(slope**2, axis=tuple(range(1, len(slope.shape))), keepdims=True))
        return ops.clip(images - step_size * slope / (size + 1e-12), 0.0, 1.0)

    return tf.stop_gradient(iterated(steps, step, images, [lesson.teacher]))


def _smoothed(slope):
    """The gradient, filtered along all axes except batch and channels."""
    places = len(slope.shape) - 2
    if not places:
        return slope
    kernel = _BINOMIAL if places == 1 else np.outer(_BINOMIAL, _BINOMIAL)
    kernel = np.tile(kernel[..., None, None], (*(1,) * places, slope.shape[-1], 1))
    return ops.depthwise_conv(slope, ops.convert_to_tensor(kernel), padding="same")
