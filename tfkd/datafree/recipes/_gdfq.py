"""GDFQ: a generator that is told the class, held to labels and statistics."""

import dataclasses
from typing import Annotated, ClassVar

import keras

import generators
from generators import Generator
from tfkd._core.options import Above, AtLeast
from tfkd.datafree._recipe import ConvGeneratorRecipe
from tfkd.datafree.objectives import BatchStatistics, Objective, OneHot
from tfkd.optimizers import cosine_nesterov
from tfkd.tasks import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class GDFQ(ConvGeneratorRecipe):
    """A conditional generator held to classes and batch statistics; the student learns soft targets.

    Defaults are the published ones for CIFAR-100: batch 200, latent 100, generator Adam 1e-3 with first
    moment 0.5, one update of each a step. The authors fine-tune a quantized copy of the teacher, at a rate
    of 1e-4; a student that starts from nothing needs the rate that is the default here.

    When:
        The student is a compressed copy of its teacher, or images of given classes are wanted of one
        generator.

    Args:
        one_hot: weight of the cross-entropy with the classes.
        statistics: weight of the batch statistics (norm "mse"); left out, with a warning, for teachers
            without normalization.
        generator_learning_rate: of Adam.
        student_learning_rate: of Nesterov SGD, decayed as a cosine.
        **kwargs: the options of `ConvGeneratorRecipe`.

    Example:
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.GDFQ())

    Reference:
        Xu et al., "Generative Low-bitwidth Data Free Quantization", 2020. Deviations: the student is a
        network of its own, learns soft targets only (summed over classes, where the authors average), from
        the beginning, without weight decay and with batch statistics of its own, which the authors freeze;
        both rates decay as a cosine; pixels are scaled by `pixel_mean` and `pixel_std`.
    """

    needs_classes: ClassVar[bool] = True

    one_hot: Annotated[float, AtLeast(0)] = 1.0
    statistics: Annotated[float, AtLeast(0)] = 0.1
    temperature: float = 20.0
    generator_learning_rate: Annotated[float, Above(0)] = 1e-3
    student_learning_rate: Annotated[float, Above(0)] = 0.1
    generator_steps: int = 1
    generator_order: str = "same_images"
    batch_size: int = 200
    output: str = "normalized"
    norm_epsilon: float = 0.8
    epochs: int = 400
    steps_per_epoch: int = 200

    def own_objectives(self) -> tuple[Objective, ...]:
        return (OneHot(self.one_hot), BatchStatistics(self.statistics, "mse"))

    def build_generator(self, input_shape: tuple[int, ...], task: Task) -> Generator:
        return generators.ConditionalGenerator(input_shape, task.classes, **self.generator_options())

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return cosine_nesterov(self.student_learning_rate, updates)

    def generator_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        schedule = keras.optimizers.schedules.CosineDecay(self.generator_learning_rate, max(1, updates))
        return keras.optimizers.Adam(schedule, beta_1=0.5)
