"""Token statistics: images whose tokens are distributed as those of photographs."""

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

    Layer normalizations remember nothing of the training data. So the mean and the variance of each channel
    are measured, over the tokens that leave each block and over crops of photographs
    (`tfkd.generators.Pictures`), when the objective meets a teacher; images are then held to them as
    `BatchStatistics` holds them to those of batch normalizations. Where there are real images, their
    statistics are better: `BatchStatistics(given=tfkd.datafree.measure(teacher, images, layers))`.

    Args:
        weight: factor of the term.
        norm: as in `BatchStatistics`: "l2", "mse", "gaussian_kl" or "per_image".
        momentum: share of the running statistics of earlier batches in the batch's, in [0, 1).
        first_layer_multiplier: factor of the first block.
        layers: taps whose outputs are tokens or maps, channels last; None for the teacher's blocks.
        pictures: how many crops are measured, at least 1.
        seed: of the crops.

    Raises:
        ValueError: for an argument out of range.

    Example:
        >>> recipe = tfkd.datafree.PSAQViT(token_statistics=0.1)  # Has it.
        >>> recipe = tfkd.datafree.DAFL(objectives=[tfkd.datafree.objectives.TokenStatistics(0.1)])

    Reference:
        This project's own. Images held to remembered statistics are DeepInversion's (Yin et al., 2020) and
        ZeroQ's (Cai et al., 2020), for batch normalizations; photographs in place of the training data are
        suggested by Asano, Saeed, "The Augmented Image Prior", 2023.
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
