"""GDFQ: a class-conditional generator, trained for labels and statistics."""

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
    """A conditional generator trained for classes and batch statistics; the student learns soft targets.

    Defaults are the published ones for CIFAR-100: batch 200, latent 100, generator Adam 1e-3 with
    `beta_1=0.5`, one update of each network per step. The authors fine-tune a quantized copy of the teacher
    with a learning rate of 1e-4; a student with random weights needs the default here.

    When:
        The student is a compressed copy of its teacher, or one generator should make images of given
        classes.

    Args:
        one_hot: the weight of the cross-entropy with the classes.
        statistics: the weight of the batch statistics (norm "mse"); ignored, with a warning, for teachers
            without batch normalization.
        generator_learning_rate: the learning rate of Adam.
        student_learning_rate: the learning rate of Nesterov SGD, with cosine decay.
        **kwargs: the options of `ConvGeneratorRecipe`.

    Example:
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.GDFQ())

    Reference:
        Xu et al., "Generative Low-bitwidth Data Free Quantization", 2020. Deviations: the student is a
        separate network; it learns only soft targets, summed (not averaged) over classes, from the
        beginning, without weight decay, and with its own batch statistics, which the authors freeze; both
        learning rates have cosine decay; pixels are scaled by `pixel_mean` and `pixel_std`.
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
