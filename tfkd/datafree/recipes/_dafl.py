"""DAFL: a generator trained with the teacher as a fixed discriminator."""

import dataclasses
from typing import Annotated

import keras

from tfkd._core.options import Above, AtLeast
from tfkd.datafree._recipe import ConvGeneratorRecipe
from tfkd.datafree.objectives import Activation, ClassBalance, Objective, OneHot


@dataclasses.dataclass(frozen=True, kw_only=True)
class DAFL(ConvGeneratorRecipe):
    """Data-free learning: one-hot, activation and class balance; the student learns on the same batch.

    Defaults are the published MNIST settings (batch 512, latent 100, generator Adam 0.2, student
    Adam 2e-3, 1 : 1 updates, soft targets at temperature 1). Published: LeNet-5 98.91 % ->
    LeNet-5-half 98.20 % in 200 x 120 steps. For CIFAR-10 the authors use `one_hot=0.05`,
    `activation=0.01`, `batch_size=1024`, `latent_size=1000`, `generator_learning_rate=0.02`,
    `epochs=2000`, and for the student SGD with weight decay 5e-4 and a learning rate of 0.1 that is divided
    by 10 after 800 and 1,600 epochs; pass such an optimizer to `compile`.

    When:
        You want to compare with its published results.

    Args:
        one_hot: the weight of the one-hot objective.
        class_balance: the weight of the class balance objective, whose logarithm has base 10 as in the
            authors' code.
        activation: the weight of the activation objective.
        generator_learning_rate: the learning rate of Adam.
        student_learning_rate: the learning rate of Adam.
        **kwargs: the options of `ConvGeneratorRecipe`.

    Example:
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.DAFL())

    Reference:
        Chen et al., "Data-Free Learning of Student Networks", 2019. Deviation: "normalized" pixels use
        `pixel_mean` and `pixel_std` instead of the data set's mean and standard deviation.
    """

    one_hot: Annotated[float, AtLeast(0)] = 1.0
    class_balance: Annotated[float, AtLeast(0)] = 5.0
    activation: Annotated[float, AtLeast(0)] = 0.1
    generator_learning_rate: Annotated[float, Above(0)] = 0.2
    student_learning_rate: Annotated[float, Above(0)] = 2e-3
    generator_steps: int = 1
    generator_order: str = "same_images"
    batch_size: int = 512
    latent_size: int = 100
    output: str = "normalized"
    norm_epsilon: float = 0.8
    epochs: int = 200
    steps_per_epoch: int = 120

    def own_objectives(self) -> tuple[Objective, ...]:
        return (
            OneHot(self.one_hot),
            ClassBalance(self.class_balance, base=10.0),
            Activation(self.activation),
        )

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(self.student_learning_rate)

    def generator_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(self.generator_learning_rate)
