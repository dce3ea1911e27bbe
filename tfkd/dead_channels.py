"""Channels that were dead in training: nothing that varies reached their batch normalization."""

from keras import ops


def alive(variances):
    """Whether channels have more than a thousandth of their layer's mean variance.

    Args:
        variances: `(channels,)`, the moving variances of a batch normalization.

    Returns:
        `(channels,)` bool.
    """
    return variances > 1e-3 * ops.mean(variances) + 1e-10
