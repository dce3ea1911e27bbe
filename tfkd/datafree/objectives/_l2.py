"""L2: images whose pixels stay near the middle of their scale."""

import dataclasses

from keras import ops

from tfkd.datafree.objectives._base import OfPixels, Synthesized


def l2(images):
    """Euclidean norm of each image's pixels, averaged over the batch.

    Args:
        images: `(batch, height, width, channels)`, with 0 in the middle of the scale.

    Returns:
        A float32 scalar, at least 0.

    Reference:
        Yin et al., "Dreaming to Distill" (DeepInversion), 2020.
    """
    images = ops.cast(images, "float32")
    return ops.mean(ops.sqrt(ops.sum(images**2, axis=tuple(range(1, len(images.shape)))) + 1e-12))


@dataclasses.dataclass(frozen=True)
class L2(OfPixels):
    """`l2` of normalized pixels, as an objective.

    Args:
        weight: the weight of the term.
        pixel_mean: subtracted from pixels in [0, 1].
        pixel_std: the divisor of the result.
    """

    def value(self, batch: Synthesized):
        return l2(self.normalized(batch.images))
