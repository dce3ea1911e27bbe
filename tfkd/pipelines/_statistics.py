"""Choice of a trained student's batch statistics: from training, or re-estimated."""

import keras
import numpy as np

from tfkd._core.snapshots import Snapshot
from tfkd.datafree import reestimate_statistics
from tfkd.pipelines._evaluation import agreement, predict, scores
from tfkd.pipelines._examples import Examples
from tfkd.tasks import task_of


def choose_statistics(
    teacher: keras.Model,
    student: keras.Model,
    images: np.ndarray,
    judging: np.ndarray,
    data: Examples | None,
) -> dict | None:
    """Re-estimates the student's batch statistics and keeps those that agree more with the teacher.

    Args:
        teacher: a model from images to logits or numbers.
        student: the student after training; afterwards it has the statistics that were kept.
        images: synthetic images for estimating the statistics.
        judging: other synthetic images, on which agreement is measured; a tie changes nothing.
        data: real examples for evaluation only, or None.

    Returns:
        Agreement and figures on real data "as_trained" and "reestimated", and which was "kept"; None if
        there is nothing to estimate.
    """
    task, answers = task_of(teacher), predict(teacher, judging)

    def figures():
        judged = predict(student, judging)
        measured = judged if data is None else predict(student, data[0])
        return {"agreement": agreement(task, answers, judged), **scores(task, measured, data)}

    as_trained, before = Snapshot(student.weights), figures()
    if not reestimate_statistics(student, images):
        return None
    after = figures()
    better = after["agreement"] > before["agreement"]
    if not better:
        as_trained.restore()
    kept = "reestimated" if better else "as_trained"
    return {"as_trained": before, "reestimated": after, "kept": kept}
