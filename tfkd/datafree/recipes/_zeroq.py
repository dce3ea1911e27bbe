"""ZeroQ: a calibration batch whose statistics are those of the teacher's training data."""

import dataclasses
from typing import Annotated

import keras

from tfkd._core.options import Above
from tfkd.datafree._inversion_recipe import PixelInversionRecipe
from tfkd.datafree._lesson import Lesson
from tfkd.datafree.objectives import BatchStatistics, Objective, PixelStatistics
from tfkd.datafree.sources.inversion import Inversion


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZeroQ(PixelInversionRecipe):
    """Noise optimized until the statistics of each image fit; no labels, no student in it.

    Made for calibrating quantization: `distiller.fit(epochs=1)` and then `distiller.synthesize(64)` as
    `representative_data`. Defaults are the published ones: 500 Adam steps of 0.5. A teacher needs batch
    normalization, and `pixel_mean` and `pixel_std` should be those of its images, which each image is
    held to.

    When:
        A network with batch normalization is to be quantized, and there are no images to calibrate by.

    Args:
        pixel_learning_rate: of Adam on normalized pixels.
        **kwargs: the options of `PixelInversionRecipe`.

    Example:
        >>> distiller = tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.ZeroQ())

    Reference:
        Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", 2020. Deviations: pixels
        stay in [0, 1]; what enters each normalization is compared, where the authors pair convolutions and
        normalizations by their order; noise starts with the deviation that they mean (they divide by the
        variance); the rate is constant, where theirs follows a plateau.
    """

    pixel_learning_rate: Annotated[float, Above(0)] = 0.5
    generator_steps: int = 500
    inversion_batch: int = 64
    batch_size: int = 64
    replay_steps: int = 1
    epochs: int = 1

    def own_objectives(self) -> tuple[Objective, ...]:
        of_pixels = PixelStatistics(1.0, self.pixel_mean, self.pixel_std)
        return (BatchStatistics(1.0, "per_image"), of_pixels)

    def build_inversion(self, lesson: Lesson) -> Inversion:
        return self.build_pixels(lesson, keras.optimizers.Adam(self.pixel_learning_rate))
