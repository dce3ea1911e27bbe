"""Total variation: images whose neighbouring pixels resemble each other."""

import dataclasses
from typing import ClassVar

from keras import ops

from tfkd._core.checks import check_number
from tfkd.datafree.objectives._base import Objective, Synthesized


def total_variation(images):
    """Norms of the differences between neighbours in four directions, over the whole batch, added up.

    The Euclidean norm of each direction's differences (right, down and both diagonals) over all images,
    pixels and channels; it is neither squared nor divided by anything.

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
    # What is added under the root keeps the gradient of a flat image finite.
    return sum(ops.sqrt(ops.sum(d**2) + 1e-12) for d in differences)


@dataclasses.dataclass(frozen=True)
class TotalVariation(Objective):
    """`total_variation` as an objective, on a scale where pixels have a deviation of 1.

    Args:
        weight: factor of the term.
        pixel_std: what pixels in [0, 1] are divided by first; published weights are for normalized ones.
        target: root mean square of the differences, at least 0, on the scale of pixels with a deviation of
            1, that images are held to; the term is how far from it their total variation is.
    """

    pixel_std: float = 0.25
    target: float = 0.0
    needs_images: ClassVar[bool] = True
    asks_networks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("pixel_std", self.pixel_std, above=0)
        check_number("target", self.target, least=0)

    def value(self, batch: Synthesized):
        # Of each of the four directions that are added up.
        wanted = self.target * ops.sqrt(ops.cast(ops.size(batch.images), "float32"))
        return ops.abs(total_variation(batch.images) / self.pixel_std - 4 * wanted)
