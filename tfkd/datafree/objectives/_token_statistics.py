"""Token statistics: images whose tokens have the statistics of photographs."""

import dataclasses
from typing import ClassVar

import keras

import generators
from tfkd import taps
from tfkd._core.checks import check_int
from tfkd.datafree.objectives._matched_statistics import MatchedStatistics
from tfkd.datafree.objectives._moments import measure


@dataclasses.dataclass(frozen=True)
class TokenStatistics(MatchedStatistics):
    """Distance of the tokens' statistics to those of photographs, for teachers with transformer blocks.

    Layer normalization does not store statistics of the training data. Therefore the mean and variance of
    each channel are measured for a teacher on crops of photographs (`tfkd.generators.Pictures`), over the
    output tokens of each block. Images are then matched to these statistics, as `BatchStatistics` does for
    batch normalization. If real images are available, their statistics are better:
    `BatchStatistics(given=tfkd.datafree.measure(teacher, images, layers))`.

    Args:
        weight: the weight of the term.
        norm: as in `BatchStatistics`: "l2", "mse", "gaussian_kl" or "per_image".
        momentum: the fraction of earlier batches' running statistics in the batch's, in [0, 1).
        first_layer_multiplier: an extra factor for the first block.
        layers: taps whose outputs are tokens or feature maps, channels last; None for the teacher's blocks.
        pictures: the number of crops to measure, at least 1.
        seed: the seed of the crops.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> recipe = tfkd.datafree.PSAQViT(token_statistics=0.1)  # Includes it.
        >>> recipe = tfkd.datafree.DAFL(objectives=[tfkd.datafree.objectives.TokenStatistics(0.1)])

    Reference:
        This project's own. Matching images to stored statistics comes from DeepInversion (Yin et al., 2020)
        and ZeroQ (Cai et al., 2020), for batch normalization; photographs in place of the training data
        were suggested by Asano, Saeed, "The Augmented Image Prior", 2023.
    """

    layers: tuple[str, ...] | None = None
    pictures: int = 256
    seed: int = 0
    needs_images: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("pictures", self.pictures)

    def stored(self, teacher: keras.Model) -> dict[str, tuple]:
        tokens = taps.transformer(teacher).hidden if self.layers is None else self.layers
        crops = generators.Pictures(teacher.input_shape[1:]).sample(self.pictures, seed=self.seed)
        return {tap: (*statistics, -1) for tap, statistics in measure(teacher, crops, tokens).items()}

    def problem(self, teacher: keras.Model) -> str | None:
        if self.layers is not None or taps.attention_layers(teacher):
            return None
        return "it has no transformer blocks, so there are no tokens to measure"
