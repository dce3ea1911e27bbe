"""DeepInversion: pixels optimized until the teacher's statistics fit."""

import dataclasses
import math

import keras

from tfkd.datafree import _views as views
from tfkd.datafree._inversion_recipe import InversionRecipe
from tfkd.datafree.objectives import L2, Adversarial, BatchStatistics, Objective, OneHot, TotalVariation
from tfkd.datafree.sources.inversion import Inversion, Pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepInversion(InversionRecipe):
    """Batches of pixels optimized against labels, batch statistics and image priors.

    Defaults are the published CIFAR-10 settings: 2,000 Adam steps of 0.1 on batches of 256, statistics 10,
    total variation 2.5e-5, jitter of 2 pixels. `competition` above 0 makes it adaptive (ADI): images on
    which the student disagrees, by a Jensen-Shannon divergence that nothing clips; the authors have it
    where the student has learned from 50 updates on each batch before. On ImageNet they have
    `pixel_learning_rate=0.2`, `beta=0.5`, `cosine=True`, `statistics=0.05`, `first=10`,
    `total_variation=1e-4`, `l2=1e-5`, `view_shift=30`. Published (by others, 50,000 images): CIFAR-10
    ResNet-34 95.70 % -> ResNet-18 93.26 %.

    Args:
        one_hot: weight of the cross-entropy with the targets.
        statistics: weight of the batch statistics (norm "l2"); left out, with a warning, for teachers
            without normalization.
        first: factor of the first layer in it.
        total_variation: its weight.
        l2: weight of the pixels' norm.
        competition: weight of the Jensen-Shannon divergence at temperature 3; 0 for DeepInversion proper.
        pixel_learning_rate: of Adam on normalized pixels.
        beta: first moment of that Adam.
        cosine: whether its rate warms up in 100 steps and decays as a cosine on each batch.
        clip: whether pixels are kept in [0, 1].
        **kwargs: the fields of `InversionRecipe`.

    Example:
        >>> recipe = tfkd.datafree.DeepInversion(competition=1.0, generator_steps=200)
        >>> tfkd.DataFreeDistiller(teacher, student, recipe)

    Reference:
        Yin et al., "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion", 2020. The authors
        released no student loop; temperature 3 and 50 updates a batch are from their answers to questions.
        Deviations: pixels are kept in [0, 1]; the best images of a batch's steps are kept, not the last;
        the student learns from the latest images (`memory`), not from the last batch alone.
    """

    one_hot: float = 1.0
    statistics: float = 10.0
    first: float = 1.0
    total_variation: float = 2.5e-5
    l2: float = 0.0
    competition: float = 0.0
    pixel_learning_rate: float = 0.1
    beta: float = 0.9
    cosine: bool = False
    clip: bool = True
    view_shift: int = 2
    generator_steps: int = 2000
    temperature: float = 3.0
    replay_steps: int = 50
    epochs: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        self._above_0("pixel_learning_rate", "first")
        self._in_range(0, 0.9999, "beta")
        self._in_range(0, math.inf, "one_hot", "statistics", "total_variation", "l2", "competition")

    def leaving_range(self) -> str | None:
        return super().leaving_range() if self.clip else "clip=False"

    def build_objectives(self) -> tuple[Objective, ...]:
        terms = (
            OneHot(self.one_hot),
            BatchStatistics(self.statistics, first=self.first),
            TotalVariation(self.total_variation, self.pixel_std),
            L2(self.l2, self.pixel_mean, self.pixel_std),
            Adversarial(self.competition, "jsd", temperature=3.0),
        )
        return self.with_own(terms)

    def view(self) -> views.View | None:
        return views.Jitter(self.view_shift, self.view_flip)

    def build_inversion(
        self, image_shape: tuple[int, int, int], classes: int, seed: keras.random.SeedGenerator
    ) -> Inversion:
        rate = self.pixel_learning_rate
        if self.cosine:
            warmup = min(100, self.generator_steps // 2)
            rate = keras.optimizers.schedules.CosineDecay(
                0.0, self.generator_steps - warmup, warmup_target=rate, warmup_steps=warmup
            )
        return Pixels(
            image_shape,
            self.inversion_batch,
            self.generator_steps,
            seed,
            optimizer=keras.optimizers.Adam(rate, beta_1=self.beta),
            pixel_mean=self.pixel_mean,
            pixel_std=self.pixel_std,
            clip=self.clip,
        )
