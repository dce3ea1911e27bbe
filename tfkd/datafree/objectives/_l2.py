"""L2: images whose pixels stay near the middle of their scale."""

import dataclasses

from keras import ops

from tfkd.datafree.objectives._base import OfPixels, Synthesized


def l2(images):
    """Euclidean norm of each image's pixels, mean over the batch.

    Args:
        images: `(batch, height, width, channels)`, 0 in the middle of the scale.

    Returns:
        A float32 scalar, at least 0.

    Reference:
        Yin et al., "Dreaming to Distill" (DeepInversion), 2020.
    """
    images = ops.cast(images, "float32")
    return ops.mean(ops.sqrt(ops.sum(images**2, axis=tuple(range(1, len(images.shape)))) + 1e-12))


@dataclasses.dataclass(frozen=True)
class L2(OfPixels):
    """`l2` as an objective, of normalized pixels.

    Args:
        weight: factor of the term.
        pixel_mean: what is subtracted from pixels in [0, 1].
        pixel_std: what they are then divided by.
    """

    def value(self, batch: Synthesized):
        return l2(self.normalized(batch.images))
