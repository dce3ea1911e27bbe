"""DFAD: a generator that searches for images on which student and teacher disagree."""

import dataclasses
from typing import Annotated

import keras
from typing_extensions import Self

from tfkd._core.options import Above, AtLeast, OneOf
from tfkd.datafree._recipe import ConvGeneratorRecipe
from tfkd.datafree.objectives import Adversarial, Objective
from tfkd.losses import KnowledgeLoss, L1Logits
from tfkd.optimizers import sgd_with_coupled_decay
from tfkd.tasks import Segmentation, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class DFAD(ConvGeneratorRecipe):
    """Data-free adversarial distillation: five student updates reduce L1, one generator update raises it.

    Defaults are the published MNIST settings (batch 512, latent 100, student SGD 0.01 with momentum
    0.9, generator Adam 1e-3). Published: LeNet-5 98.9 % -> LeNet-5-half 98.3 % in 40 x 50 steps. For
    CIFAR the authors use `batch_size=256`, `latent_size=256`, `student_learning_rate=0.1`,
    `weight_decay=5e-4`, `epochs=500`, and divide both learning rates by 10 after 100 and 200 epochs: pass
    optimizers with such schedules to `compile`. For segmentation the generator maximizes log(L1 + 1), and
    they use `batch_size=64`, `latent_size=256` and `student_learning_rate=0.1`.

    When:
        The task is segmentation, or the generator should need only the teacher's outputs and their
        gradients.

    Args:
        adversarial: the weight of the adversarial objective.
        distance: the distance that the generator maximizes, "l1" or "log_l1"; None for the authors' choice:
            "log_l1" for segmentation and "l1" for other tasks.
        student_learning_rate: the learning rate of SGD.
        weight_decay: the student's weight decay, coupled to the gradient as in PyTorch.
        generator_learning_rate: the learning rate of Adam.
        **kwargs: the options of `ConvGeneratorRecipe`.

    Example:
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.DFAD())

    Reference:
        Fang et al., "Data-Free Adversarial Distillation", 2019. Deviations: the student is in
        inference mode while the generator is updated (in the authors' code those batches change its batch
        statistics); "normalized" pixels use `pixel_mean` and `pixel_std`; Keras decouples weight decay from
        momentum, so it is scaled by 1 / (1 - momentum), which is equivalent in the long run.
    """

    adversarial: Annotated[float, AtLeast(0)] = 1.0
    distance: Annotated[str | None, OneOf("l1", "log_l1")] = None
    student_learning_rate: Annotated[float, Above(0)] = 0.01
    weight_decay: Annotated[float, AtLeast(0)] = 1e-4
    generator_learning_rate: Annotated[float, Above(0)] = 1e-3
    student_loss: KnowledgeLoss | None = dataclasses.field(default_factory=L1Logits)
    generator_steps: int = 1
    student_steps: int = 5
    batch_size: int = 512
    latent_size: int = 100
    output: str = "normalized"

    def for_teacher(self, teacher: keras.Model, task: Task) -> Self:
        fitting = super().for_teacher(teacher, task)
        if fitting.distance is not None:
            return fitting
        return fitting.with_options(distance="log_l1" if isinstance(task, Segmentation) else "l1")

    def own_objectives(self) -> tuple[Objective, ...]:
        return (Adversarial(self.adversarial, self.distance or "l1"),)

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return sgd_with_coupled_decay(self.student_learning_rate, self.weight_decay)

    def generator_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(self.generator_learning_rate)
