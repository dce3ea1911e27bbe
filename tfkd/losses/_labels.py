"""Labels in the form that losses need."""

from keras import ops


def one_hot_labels(labels, logits):
    """Labels as float32 one-hot rows.

    Args:
        labels: int classes, shaped like the logits without their last axis (a last axis of 1 is removed),
            or one row of `classes` numbers each.
        logits: `(..., classes)`.

    Returns:
        float32 of the logits' shape.

    Raises:
        ValueError: if the shapes cannot match.
    """
    labels = ops.convert_to_tensor(labels)
    classes, rank = logits.shape[-1], len(logits.shape)
    if len(labels.shape) == rank and labels.shape[-1] == 1 and classes != 1:
        labels = ops.squeeze(labels, axis=-1)
    if len(labels.shape) == rank - 1:
        return ops.one_hot(ops.cast(labels, "int32"), classes, dtype="float32")
    if len(labels.shape) == rank and labels.shape[-1] == classes:
        return ops.cast(labels, "float32")
    raise ValueError(
        f"`labels` must be int classes or one-hot rows for logits of shape {tuple(logits.shape)}. "
        f"Received: shape {tuple(labels.shape)}."
    )
