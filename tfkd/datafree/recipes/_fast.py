"""Fast: a meta-learned generator that adapts to each batch in a few steps."""

import dataclasses
import math
from typing import Annotated

import keras

import generators
from tfkd._core.options import Above, AtLeast, Formerly, Share
from tfkd.datafree import _parts as parts
from tfkd.datafree._inversion_recipe import InversionRecipe
from tfkd.datafree._lesson import Lesson
from tfkd.datafree.objectives import Adversarial, BatchStatistics, Objective, OneHot
from tfkd.datafree.sources.inversion import Inversion, Meta

# Published learning rates of latents and generator by the number of steps on a batch.
_RATES = {2: (0.015, 5e-3), 5: (0.01, 3e-3), 10: (0.01, 2e-3)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fast(parts.ConvolutionalNetwork, parts.Latent, InversionRecipe):
    """A meta-learned generator adapts to each batch in a few steps; batch statistics are running averages.

    Defaults are the published ones for CIFAR-10 and wide ResNets (`Fast-5`): 5 steps on 256 images, then
    400 student updates at temperature 20; 20 batches of warm-up. Published: WRN-40-2 94.87 % -> WRN-16-1
    88.90 % with 5 steps, 89.29 % with 10; synthesis takes minutes on a GPU, the 80,000 updates hours.

    When:
        Training the generator should take little time, and the teacher has batch normalization.

    Args:
        one_hot: the weight of the cross-entropy with the targets.
        statistics: the weight of the batch statistics (norm "l2"); ignored, with a warning, for teachers
            without batch normalization.
        momentum: the share of earlier batches in the statistics.
        adversarial: the weight of the divergence between teacher and student on images they agree on.
        latent_learning_rate: the learning rate of Adam for latents; None for the published value for the
            nearest number of steps.
        generator_learning_rate: the learning rate of Adam for the copied generator; None for the published
            value for the nearest number of steps.
        reptile: whether the meta generator is trained by Reptile instead of FOMAML.
        reset_first_layer_at: the batch before which its first layer is reinitialized; None for never.
        **kwargs: the options of `ConvolutionalNetwork`, `Latent` and `InversionRecipe`.

    Example:
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.Fast(generator_steps=10))

    Reference:
        Fang et al., "Up to 100x Faster Data-Free Knowledge Distillation", 2022. Deviations: images are
        stored without rounding, not in 8-bit files, and only the latest are kept (`memory`), not all; the
        first normalization's scales are reinitialized around 1, not around 0; the meta generator takes over
        the copy's moving statistics.
    """

    one_hot: Annotated[float, AtLeast(0)] = 0.4
    statistics: Annotated[float, AtLeast(0)] = 10.0
    momentum: Annotated[float, Share()] = 0.9
    adversarial: Annotated[float, AtLeast(0)] = 1.1
    latent_learning_rate: Annotated[float | None, Above(0)] = None
    generator_learning_rate: Annotated[float | None, Above(0)] = None
    reptile: bool = False
    reset_first_layer_at: Annotated[int | None, AtLeast(0), Formerly("forget_at")] = 140
    latent_size: int = 256
    generator_steps: int = 5
    replay_steps: int = 400
    warmup_steps: int = 20
    view_shift: int = 4
    view_flip: bool = True
    student_shift: int = 4
    student_flip: bool = True
    student_learning_rate: float = 0.2
    epochs: int = 220

    def own_objectives(self) -> tuple[Objective, ...]:
        return (
            OneHot(self.one_hot),
            BatchStatistics(self.statistics, momentum=self.momentum),
            Adversarial(self.adversarial, "kl", only_where_agreeing=True),
        )

    def build_inversion(self, lesson: Lesson) -> Inversion:
        nearest = min(_RATES, key=lambda steps: abs(math.log(self.generator_steps / steps)))
        given = (self.latent_learning_rate, self.generator_learning_rate)
        of_latents, of_generator = (g or r for g, r in zip(given, _RATES[nearest], strict=True))

        def generator(name):
            return generators.ConvGenerator(
                lesson.input_shape, self.latent_size, self.filters, epsilon=self.norm_epsilon, name=name
            )

        # FOMAML uses the sum of the steps' gradients, and the authors also raise the rate for it.
        meta_rate = of_generator * (1 if self.reptile else self.generator_steps)
        return Meta(
            lesson.input_shape,
            self.inversion_batch,
            self.generator_steps,
            lesson.seed,
            generator=generator("meta"),
            fast_generator=generator("copy"),
            optimizer=keras.optimizers.Adam(of_generator, beta_1=0.5),
            latent_optimizer=keras.optimizers.Adam(of_latents, beta_1=0.5),
            meta_optimizer=keras.optimizers.Adam(meta_rate, beta_1=0.5),
            reptile=self.reptile,
            reset_first_layer_at=self.reset_first_layer_at,
        )
