"""Pixel statistics: images that each have average brightness and contrast."""

import dataclasses

from keras import ops

from tfkd.datafree.objectives._base import OfPixels, Synthesized
from tfkd.datafree.objectives._matched_statistics import per_image_distance
from tfkd.datafree.objectives._moments import moments


def pixel_statistics(images):
    """Squared distance of each image's channel means and standard deviations to 0 and 1.

    Summed over channels, averaged over the batch; variances are unbiased.

    Args:
        images: `(batch, height, width, channels)`, normalized so that real images have mean 0 and standard
            deviation 1.

    Returns:
        A float32 scalar, at least 0.

    Reference:
        Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", 2020.
    """
    channels = images.shape[-1]
    return per_image_distance(moments(images, ops.zeros(channels), ops.ones(channels)))


@dataclasses.dataclass(frozen=True)
class PixelStatistics(OfPixels):
    """`pixel_statistics` of normalized pixels, as an objective.

    Args:
        weight: the weight of the term.
        pixel_mean: the mean of the pixels of real images, in [0, 1].
        pixel_std: the standard deviation of the pixels of real images.
    """

    def value(self, batch: Synthesized):
        return pixel_statistics(self.normalized(batch.images))
