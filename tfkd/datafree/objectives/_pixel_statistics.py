"""Pixel statistics: images each of which is as bright and as rich in contrast as images are on average."""

import dataclasses

from keras import ops

from tfkd.datafree.objectives._base import OfPixels, Synthesized
from tfkd.datafree.objectives._matched_statistics import per_image_distance
from tfkd.datafree.objectives._moments import moments


def pixel_statistics(images):
    """Squared distance of each image's means and deviations, a channel each, to 0 and 1.

    Summed over channels, mean over the batch; variances are unbiased.

    Args:
        images: `(batch, height, width, channels)`, normalized: over all images mean 0 and deviation 1.

    Returns:
        A float32 scalar, at least 0.

    Reference:
        Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", 2020.
    """
    channels = images.shape[-1]
    return per_image_distance(moments(images, ops.zeros(channels), ops.ones(channels)))


@dataclasses.dataclass(frozen=True)
class PixelStatistics(OfPixels):
    """`pixel_statistics` as an objective, of normalized pixels.

    Args:
        weight: factor of the term.
        pixel_mean: mean of the pixels of real images, in [0, 1].
        pixel_std: their standard deviation.
    """

    def value(self, batch: Synthesized):
        return pixel_statistics(self.normalized(batch.images))
