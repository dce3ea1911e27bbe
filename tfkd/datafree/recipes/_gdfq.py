"""GDFQ: a generator that is told the class, held to labels and statistics."""

import dataclasses
import math

import keras

import generators
from generators import Generator
from tfkd.datafree._recipe import Recipe
from tfkd.datafree.objectives import BatchStatistics, Objective, OneHot
from tfkd.optimizers import cosine_nesterov


@dataclasses.dataclass(frozen=True, kw_only=True)
class GDFQ(Recipe):
    """A conditional generator held to classes and batch statistics; the student learns soft targets.

    Defaults are the published ones for CIFAR-100: batch 200, latent 100, generator Adam 1e-3 with first
    moment 0.5, one update of each a step. The authors fine-tune a quantized copy of the teacher, at a rate
    of 1e-4; a student that starts from nothing needs the rate that is the default here.

    Args:
        one_hot: weight of the cross-entropy with the classes.
        statistics: weight of the batch statistics (norm "mse"); left out, with a warning, for teachers
            without normalization.
        generator_learning_rate: of Adam.
        student_learning_rate: of Nesterov SGD, decayed as a cosine.
        **kwargs: the fields of `Recipe`.

    Example:
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.GDFQ())

    Reference:
        Xu et al., "Generative Low-bitwidth Data Free Quantization", 2020. Deviations: the student is a
        network of its own, learns soft targets only (summed over classes, where the authors average), from
        the beginning, without weight decay and with batch statistics of its own, which the authors freeze;
        both rates decay as a cosine; pixels are scaled by `pixel_mean` and `pixel_std`.
    """

    one_hot: float = 1.0
    statistics: float = 0.1
    temperature: float = 20.0
    generator_learning_rate: float = 1e-3
    student_learning_rate: float = 0.1
    generator_steps: int = 1
    same_inputs: bool = True
    batch_size: int = 200
    output: str = "normalized"
    norm_epsilon: float = 0.8
    epochs: int = 400
    steps_per_epoch: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        self._above_0("student_learning_rate", "generator_learning_rate")
        self._in_range(0, math.inf, "one_hot", "statistics")

    def build_objectives(self) -> tuple[Objective, ...]:
        terms = (OneHot(self.one_hot), BatchStatistics(self.statistics, "mse"))
        return self.with_own(terms)

    def build_generator(self, image_shape: tuple[int, int, int], classes: int) -> Generator:
        return generators.ConditionalGenerator(image_shape, classes, **self.generator_options())

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return cosine_nesterov(self.student_learning_rate, updates)

    def generator_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        schedule = keras.optimizers.schedules.CosineDecay(self.generator_learning_rate, max(1, updates))
        return keras.optimizers.Adam(schedule, beta_1=0.5)
