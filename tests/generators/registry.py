"""A small generator of each kind for inputs of any shape; a new kind is tested by adding a line."""

import numpy as np

from generators import (
    ConditionalGenerator,
    ConvGenerator,
    DeadLeaves,
    DenseGenerator,
    Gaussian,
    NoisyLabelGenerator,
    Pictures,
    Signals,
    Silhouettes,
    SmoothNoise,
    Strokes,
    Uniform,
    Words,
)

PICTURES = list(np.random.default_rng(0).integers(0, 256, (3, 40, 224, 3), "uint8"))

# Classes of those that are told some, with embeddings that are not as many numbers.
EMBEDDINGS = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")

GENERATORS = {
    "conv": lambda shape: ConvGenerator(shape, 6, 4),
    "conv normalized": lambda shape: ConvGenerator(
        shape, 6, 4, output="normalized", pixel_mean=[0.4] * shape[-1]
    ),
    "conv scaled": lambda shape: ConvGenerator(shape, 6, 4, output="scaled"),
    "conv unsquashed": lambda shape: ConvGenerator(shape, 6, 4, output="unsquashed"),
    "conditional": lambda shape: ConditionalGenerator(shape, 3, 6, filters=4),
    "noisy label": lambda shape: NoisyLabelGenerator(
        shape, EMBEDDINGS, batch_size=8, noise_size=6, filters=4
    ),
    "dense": lambda shape: DenseGenerator(shape, 6, (8, 8)),
    "dense unbounded": lambda shape: DenseGenerator(shape, 6, (8,), output="unbounded"),
    "smooth noise": SmoothNoise,
    "dead leaves": lambda shape: DeadLeaves(shape, leaves=3),
    "strokes": Strokes,
    "silhouettes": Silhouettes,
    "pictures": Pictures,
    "pictures of somebody": lambda shape: Pictures(shape, PICTURES, mixed=0.5, cut_out=0.5),
    "signals": Signals,
    "signals, time first": lambda shape: Signals(shape, time_first=True),
    "uniform": Uniform,
    # Ten deviations from either end of [0, 1].
    "gaussian": lambda shape: Gaussian(shape, mean=0.5, std=0.05),
}

# Those that make token ids, each for sequences of a length.
TOKENS = {
    "words": lambda length: Words(
        range(10, 60), words=(2, length - 3), start_id=1, end_id=2, pad_id=3, length=length
    ),
    "words alone, uniform": lambda length: Words(range(4), words=(length, length), exponent=0),
}
