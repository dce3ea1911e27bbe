"""Total variation: images whose neighbouring pixels are similar."""

import dataclasses
from typing import ClassVar

from keras import ops

from tfkd._core.checks import check_number
from tfkd.datafree.objectives._base import Objective, Synthesized


def total_variation(images):
    """Sum of the norms of the differences between neighbours in four directions, over the whole batch.

    For each direction (right, down and both diagonals), the Euclidean norm of the differences is taken over
    all images, pixels and channels; it is neither squared nor averaged.

    Args:
        images: `(batch, height, width, channels)`.

    Returns:
        A float32 scalar, at least 0.

    Reference:
        Yin et al., "Dreaming to Distill" (DeepInversion), 2020.
    """
    images = ops.cast(images, "float32")
    differences = (
        images[:, :, 1:] - images[:, :, :-1],
        images[:, 1:] - images[:, :-1],
        images[:, 1:, 1:] - images[:, :-1, :-1],
        images[:, 1:, :-1] - images[:, :-1, 1:],
    )
    # The constant under the root keeps the gradient of a flat image finite.
    return sum(ops.sqrt(ops.sum(d**2) + 1e-12) for d in differences)


@dataclasses.dataclass(frozen=True)
class TotalVariation(Objective):
    """`total_variation` as an objective, on the scale of pixels with standard deviation 1.

    Args:
        weight: the weight of the term.
        pixel_std: the divisor of pixels in [0, 1]; published weights are for normalized pixels.
        target: the desired root mean square of the differences, at least 0, on the scale of pixels with
            standard deviation 1; the term is the distance of the images' total variation from it.
    """

    pixel_std: float = 0.25
    target: float = 0.0
    needs_images: ClassVar[bool] = True
    asks_networks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("pixel_std", self.pixel_std, above=0)
        check_number("target", self.target, least=0)

    def value(self, batch: Synthesized):
        # For each of the four directions in the sum.
        wanted = self.target * ops.sqrt(ops.cast(ops.size(batch.images), "float32"))
        return ops.abs(total_variation(batch.images) / self.pixel_std - 4 * wanted)
