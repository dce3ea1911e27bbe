"""Which statistics a finished student's batch normalization keeps, decided without real data."""

import keras
import numpy as np

from tfkd.datafree import reestimate_statistics


def choose(
    teacher: keras.Model,
    student: keras.Model,
    images: np.ndarray,
    judging: np.ndarray,
    data: tuple[np.ndarray, np.ndarray] | None,
) -> dict | None:
    """Estimates the student's batch statistics anew and keeps those that agree more with the teacher.

    Args:
        teacher: a model from images to logits.
        student: the student after training; has the statistics that were kept afterwards.
        images: synthetic images the statistics are estimated on.
        judging: other synthetic images, on which agreement decides; as trained if it is the same.
        data: real `(images, labels)`, only to measure, or None.

    Returns:
        Agreement and accuracy "as_trained" and "reestimated", and which of them was "kept"; None where
        there is nothing to estimate.
    """
    labels = predict(teacher, judging).argmax(-1)

    def figures():
        agreement = np.mean(predict(student, judging).argmax(-1) == labels)
        accuracy = None if data is None else np.mean(predict(student, data[0]).argmax(-1) == data[1])
        return {"agreement": float(agreement), "accuracy": None if accuracy is None else float(accuracy)}

    as_trained = student.get_weights()
    before = figures()
    if not reestimate_statistics(student, images):
        return None
    after = figures()
    better = after["agreement"] > before["agreement"]
    if not better:
        student.set_weights(as_trained)
    kept = "reestimated" if better else "as_trained"
    return {"as_trained": before, "reestimated": after, "kept": kept}


def predict(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """The model's logits, quietly."""
    return model.predict(x, batch_size=256, verbose=0)
