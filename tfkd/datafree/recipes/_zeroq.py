"""ZeroQ: a calibration batch with the statistics of the teacher's training data."""

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
    """Noise optimized so that each image matches the teacher's statistics, without labels or the student.

    It is meant for calibrating quantization: call `distiller.fit(epochs=1)`, then use
    `distiller.synthesize(64)` as `representative_data`. Defaults are the published ones: 500 Adam steps of
    0.5. The teacher needs batch normalization. Each image is also matched to `pixel_mean` and `pixel_std`,
    which should be those of the teacher's images.

    When:
        You want to quantize a network with batch normalization, but have no images for calibration.

    Args:
        pixel_learning_rate: the learning rate of Adam on normalized pixels.
        **kwargs: the options of `PixelInversionRecipe`.

    Example:
        >>> distiller = tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.ZeroQ())

    Reference:
        Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", 2020. Deviations: pixels stay in
        [0, 1]; the input of each normalization layer is compared, while the authors pair convolutions and
        normalization layers by their order; the initial noise has the standard deviation that they intend
        (their code divides by the variance); the learning rate is constant, not reduced on a plateau.
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
