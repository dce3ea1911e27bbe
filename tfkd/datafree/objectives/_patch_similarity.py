"""Patch similarity: images whose patches differ from each other in a transformer's attention."""

import dataclasses
import math

import keras
import numpy as np
from keras import ops

from tfkd import taps
from tfkd._core.checks import check_number
from tfkd.datafree.objectives._base import Objective, Synthesized

# How many bandwidths beyond the smallest and the largest similarity the density is integrated.
_TAILS = 4


def patch_similarity_entropy(tokens, bandwidth: float = 0.05):
    """Differential entropy of the similarities between the patches of each image.

    The density of the cosines of all pairs of patches is estimated with Gaussian kernels, and its entropy
    is integrated. For noise the entropy is low, since all patches look alike to a transformer; for pictures
    it is higher, since patches of an object resemble each other but not the background. Reduction: one
    value per example.

    Args:
        tokens: the attention's outputs for the patches, `(batch, tokens, channels)`, or `(batch, height,
            width, channels)`. A class token before a square number of others is left out.
        bandwidth: the standard deviation of the kernels, in (0, 1].

    Returns:
        A float32 tensor `(batch,)`, in nats; at most about 0.7, for cosines spread evenly from -1 to 1.

    Raises:
        ValueError: if the bandwidth is out of range or there are fewer than two patches.

    Example:
        >>> patch_similarity_entropy(np.random.normal(size=(2, 49, 32))).shape
        TensorShape([2])

    Reference:
        Li et al., "Patch Similarity Aware Data-Free Quantization for Vision Transformers" (PSAQ-ViT), 2022.
        Deviations: each pair counts once, and no patch is compared with itself, which always gives 1. The
        integral has one point per bandwidth; the authors' code has ten points between the smallest and the
        largest similarity in a batch, and a bandwidth of 0.01.
    """
    check_number("bandwidth", bandwidth, above=0, most=1)
    directions = ops.normalize(_patches(ops.cast(tokens, "float32")), axis=-1, epsilon=1e-6)
    cosines = ops.einsum("bic,bjc->bij", directions, directions)
    n = directions.shape[1]
    rows, columns = np.triu_indices(n, 1)
    pairs = ops.take(ops.reshape(cosines, (-1, n * n)), rows * n + columns, axis=1)
    # For a smooth function that is 0 at both ends, the sum over equal steps is close to the integral.
    end = 1 + _TAILS * bandwidth
    points = np.linspace(-end, end, math.ceil(2 * end / bandwidth) + 1, dtype="float32")
    distances = (points - pairs[:, :, None]) / bandwidth
    density = ops.mean(ops.exp(-(distances**2) / 2), axis=1) / (bandwidth * math.sqrt(2 * math.pi))
    step = 2 * end / (len(points) - 1)
    return -step * ops.sum(density * ops.log(density + 1e-10), axis=-1)


def _patches(tokens):
    """The tokens of patches only, `(batch, patches, channels)`."""
    if len(tokens.shape) == 4:
        _, height, width, channels = tokens.shape
        tokens = ops.reshape(tokens, (-1, height * width, channels))
    n = tokens.shape[1] if len(tokens.shape) == 3 else None
    if n is None or n < 2:
        raise ValueError(
            "`tokens` must be (batch, tokens, channels) with at least two tokens, or feature maps (batch, "
            f"height, width, channels), of known size. Received: shape {tuple(tokens.shape)}."
        )
    side = math.isqrt(n)
    return tokens[:, 1:] if side > 1 and n == side**2 + 1 else tokens


@dataclasses.dataclass(frozen=True)
class PatchSimilarity(Objective):
    """`patch_similarity_entropy` of the output of each attention layer, as an objective; maximized.

    It replaces `BatchStatistics` for transformers, whose layer normalization does not store statistics of
    the training data. Reduction: mean over the batch, summed over layers.

    Args:
        weight: the weight of the term.
        bandwidth: the bandwidth of the kernels.
        layers: taps of the attention layers; None for all of the teacher's.

    Example:
        >>> recipe = tfkd.datafree.PSAQViT()  # Includes it.
        >>> recipe = tfkd.datafree.DAFL(objectives=[tfkd.datafree.objectives.PatchSimilarity(0.1)])

    Reference:
        Li et al., "Patch Similarity Aware Data-Free Quantization for Vision Transformers" (PSAQ-ViT), 2022.
        The outputs of the attention layers are used, as in the paper; the authors' code uses the mean of
        the heads before the last projection.
    """

    bandwidth: float = 0.05
    layers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_number("bandwidth", self.bandwidth, above=0, most=1)

    def taps(self, teacher: keras.Model) -> tuple[str, ...]:
        return tuple(taps.attention_layers(teacher)) if self.layers is None else tuple(self.layers)

    def problem(self, teacher: keras.Model) -> str | None:
        return (
            None if self.taps(teacher) else "it has no attention layer, so there are no patches to compare"
        )

    def value(self, batch: Synthesized):
        # A layer may return its scores after the tokens.
        tokens = [keras.tree.flatten(seen)[0] for seen in batch.teacher_seen]
        return -sum(ops.mean(patch_similarity_entropy(each, self.bandwidth)) for each in tokens)
