"""DeepInversion: pixels optimized to match the teacher's statistics."""

import dataclasses
from typing import Annotated

import keras

from tfkd._core.options import Above, AtLeast, Between, Formerly
from tfkd.datafree import _views as views
from tfkd.datafree._inversion_recipe import PixelInversionRecipe
from tfkd.datafree._lesson import Lesson
from tfkd.datafree.objectives import L2, Adversarial, BatchStatistics, Objective, OneHot, TotalVariation
from tfkd.datafree.sources.inversion import Inversion


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepInversion(PixelInversionRecipe):
    """Batches of pixels optimized for labels, batch statistics and image priors.

    Defaults are the published CIFAR-10 settings: 2,000 Adam steps of 0.1 on batches of 256, statistics 10,
    total variation 2.5e-5, jitter of 2 pixels. `adaptive_weight` above 0 makes it adaptive (ADI): it
    favours images on which the student disagrees, by an unclipped Jensen-Shannon divergence; in the
    authors' experiments the student had been trained with 50 updates on each batch before. On ImageNet they
    use `pixel_learning_rate=0.2`, `beta=0.5`, `cosine=True`, `statistics=0.05`,
    `first_layer_multiplier=10`, `total_variation=1e-4`, `l2=1e-5`, `view_shift=30`. Published (by others,
    50,000 images): CIFAR-10 ResNet-34 95.70 % -> ResNet-18 93.26 %.

    When:
        You want to look at the images or keep them, and the teacher has batch normalization. A batch takes
        thousands of gradient steps.

    Args:
        one_hot: the weight of the cross-entropy with the targets.
        statistics: the weight of the batch statistics (norm "l2"); ignored, with a warning, for teachers
            without batch normalization.
        first_layer_multiplier: an extra factor for the first layer in the batch statistics.
        total_variation: the weight of the total variation.
        l2: the weight of the pixels' norm.
        adaptive_weight: the weight of the Jensen-Shannon divergence at temperature 3; 0 for the
            non-adaptive DeepInversion.
        pixel_learning_rate: the learning rate of Adam on normalized pixels.
        beta: the `beta_1` of that optimizer.
        cosine: whether, for each batch, its learning rate warms up in 100 steps and decays as a cosine.
        clip: whether pixels are kept in [0, 1].
        **kwargs: the options of `PixelInversionRecipe`.

    Example:
        >>> recipe = tfkd.datafree.DeepInversion(adaptive_weight=1.0, generator_steps=200)
        >>> tfkd.DataFreeDistiller(teacher, student, recipe)

    Reference:
        Yin et al., "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion", 2020. The authors
        released no student training; temperature 3 and 50 updates per batch are from their replies to
        questions. Deviations: pixels are clipped to [0, 1]; the best images of a batch's steps are used,
        not the last; the student learns from the latest images (`memory`), not only from the last batch.
    """

    one_hot: Annotated[float, AtLeast(0)] = 1.0
    statistics: Annotated[float, AtLeast(0)] = 10.0
    first_layer_multiplier: Annotated[float, Above(0), Formerly("first")] = 1.0
    total_variation: Annotated[float, AtLeast(0)] = 2.5e-5
    l2: Annotated[float, AtLeast(0)] = 0.0
    adaptive_weight: Annotated[float, AtLeast(0), Formerly("competition")] = 0.0
    pixel_learning_rate: Annotated[float, Above(0)] = 0.1
    beta: Annotated[float, Between(0, 0.9999)] = 0.9
    cosine: bool = False
    clip: bool = True
    view_shift: int = 2
    generator_steps: int = 2000
    temperature: float = 3.0
    replay_steps: int = 50
    epochs: int = 1000

    def unbounded_pixels_option(self) -> str | None:
        return None if self.clip else "clip=False"

    def own_objectives(self) -> tuple[Objective, ...]:
        return (
            OneHot(self.one_hot),
            BatchStatistics(self.statistics, first_layer_multiplier=self.first_layer_multiplier),
            TotalVariation(self.total_variation, self.pixel_std),
            L2(self.l2, self.pixel_mean, self.pixel_std),
            Adversarial(self.adaptive_weight, "jsd", temperature=3.0),
        )

    def view(self) -> views.View | None:
        if not (self.view_shift or self.view_flip):
            return None
        return views.Jitter(self.view_shift, self.view_flip)

    def build_inversion(self, lesson: Lesson) -> Inversion:
        rate = self.pixel_learning_rate
        optimizer = keras.optimizers.Adam(self.cosine_rate(rate) if self.cosine else rate, beta_1=self.beta)
        return self.build_pixels(lesson, optimizer, self.clip)
