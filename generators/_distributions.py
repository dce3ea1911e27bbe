"""Transforms of standard-normal latents into the distributions that procedural generators use."""

import numpy as np
from keras import ops


def uniform(normal):
    """Uniform values in (0, 1), one for each standard-normal value."""
    return 0.5 + 0.5 * ops.erf(normal / np.sqrt(2.0))


def log_uniform(normal, low: float, high: float):
    """Log-uniform values between `low` and `high`, one for each standard-normal value."""
    return ops.exp(np.log(low) + (np.log(high) - np.log(low)) * uniform(normal))
