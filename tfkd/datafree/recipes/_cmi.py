"""CMI: contrastive model inversion, in which every batch differs from those before it."""

import dataclasses
from typing import Annotated

import keras

import generators
from tfkd._core.options import Above, AtLeast
from tfkd.datafree import _parts as parts
from tfkd.datafree._inversion_recipe import InversionRecipe
from tfkd.datafree._lesson import Lesson
from tfkd.datafree.objectives import (
    Adversarial,
    BatchStatistics,
    ContrastiveInversion,
    Objective,
    OneHot,
)
from tfkd.datafree.sources.inversion import Inversion, Latents


@dataclasses.dataclass(frozen=True, kw_only=True)
class CMI(parts.ConvolutionalNetwork, parts.Latent, InversionRecipe):
    """A new generator for each batch, trained for labels, statistics and contrast with earlier images.

    Defaults are the published ones for training from scratch on CIFAR-10: 200 steps of Adam 1e-3 on 256
    images, then 400 student updates at temperature 20. Published: WRN-40-2 94.87 % -> WRN-16-1 88.82 %
    (90.01 % from images inverted in advance).

    When:
        Diverse images matter more than time: each batch needs a new generator.

    Args:
        one_hot: the weight of the cross-entropy with the targets.
        statistics: the weight of the batch statistics (norm "l2"); ignored, with a warning, for teachers
            without batch normalization.
        adversarial: the weight of the divergence between teacher and student on images they agree on.
        contrastive: the weight of the contrastive term.
        contrast_temperature: the temperature of the contrastive term.
        remembered: the number of earlier images that the contrastive term keeps.
        compared: the number of them that a batch is compared with.
        generator_learning_rate: the learning rate of Adam, for generator and latents.
        **kwargs: the options of `ConvolutionalNetwork`, `Latent` and `InversionRecipe`.

    Example:
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.CMI())

    Reference:
        Fang et al., "Contrastive Model Inversion for Data-Free Knowledge Distillation", 2021. Deviations:
        images are stored without rounding, not in 8-bit files (use `memory_dtype="uint8"` for that), and
        only the latest are kept (`memory`), not all; 8,192 images are kept for contrast instead of 40,960.
    """

    one_hot: Annotated[float, AtLeast(0)] = 1.0
    statistics: Annotated[float, AtLeast(0)] = 1.0
    adversarial: Annotated[float, AtLeast(0)] = 0.5
    contrastive: Annotated[float, AtLeast(0)] = 0.8
    contrast_temperature: Annotated[float, Above(0)] = 0.1
    remembered: Annotated[int, AtLeast(1)] = 8192
    compared: Annotated[int, AtLeast(1)] = 4096
    generator_learning_rate: Annotated[float, Above(0)] = 1e-3
    latent_size: int = 256
    batch_size: int = 128
    generator_steps: int = 200
    replay_steps: int = 400
    view_shift: int = 4
    view_flip: bool = True
    student_shift: int = 4
    student_flip: bool = True
    epochs: int = 200

    def own_objectives(self) -> tuple[Objective, ...]:
        return (
            OneHot(self.one_hot),
            BatchStatistics(self.statistics),
            Adversarial(self.adversarial, "kl", only_where_agreeing=True),
            ContrastiveInversion(
                self.contrastive,
                temperature=self.contrast_temperature,
                remembered=self.remembered,
                compared=self.compared,
            ),
        )

    def build_inversion(self, lesson: Lesson) -> Inversion:
        return Latents(
            lesson.input_shape,
            self.inversion_batch,
            self.generator_steps,
            lesson.seed,
            generator=generators.ConvGenerator(
                lesson.input_shape, self.latent_size, self.filters, epsilon=self.norm_epsilon
            ),
            optimizer=keras.optimizers.Adam(self.generator_learning_rate, beta_1=0.5),
        )
