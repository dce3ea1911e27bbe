"""L2: images whose pixels stay near the middle of their scale."""

import dataclasses
from typing import ClassVar

from keras import ops

from tfkd.datafree.objectives.base import Objective, Synthesized
from tfkd.losses.base import check_positive


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
    return ops.mean(ops.sqrt(ops.sum(images**2, axis=(1, 2, 3)) + 1e-12))


@dataclasses.dataclass(frozen=True)
class L2(Objective):
    """`l2` as an objective, of normalized pixels.

    Args:
        weight: factor of the term.
        pixel_mean: what is subtracted from pixels in [0, 1].
        pixel_std: what they are then divided by.
    """

    pixel_mean: float = 0.5
    pixel_std: float = 0.25
    asks_networks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_positive(pixel_std=self.pixel_std)

    def value(self, batch: Synthesized):
        return l2((batch.images - self.pixel_mean) / self.pixel_std)
