"""BlackBox: a teacher that only answers, and a generator that learns from differences of its answers."""

import dataclasses
import math
from typing import ClassVar

import keras
from keras import ops

from tfkd.datafree._recipe import Recipe
from tfkd.datafree.objectives import Adversarial, Objective
from tfkd.datafree.objectives._forward_differences import ForwardDifferences
from tfkd.losses import KnowledgeLoss, L1Logits
from tfkd.optimizers import sgd_of_the_papers


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlackBox(Recipe):
    """Data-free model extraction: DFAD with the generator's gradient estimated from the teacher's answers.

    Defaults are the published ones: batch 256, latent 256, student SGD 0.1, generator Adam 1e-4, both times
    0.3 at 10, 30 and 50 % of the run, five student updates to one of the generator, one direction of length
    1e-3. A step asks the teacher for 1,792 images. `Procedural(refine_steps=0)` also teaches from a black
    box, at far fewer questions.

    Args:
        step: length of the moves of the forward differences.
        directions: moves an image.
        student_learning_rate: of SGD.
        weight_decay: of the student, coupled to the gradient as in PyTorch.
        generator_learning_rate: of Adam.
        **kwargs: the fields of `Recipe`.

    Example:
        >>> teacher = tfkd.load_teacher("teacher.tflite")
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.BlackBox())

    Reference:
        Truong et al., "Data-Free Model Extraction", 2021. Deviations: images are (tanh + 1) / 2, in [0, 1];
        the number of values of an image is counted, where the authors' code has 3 * 32 * 32.
    """

    differentiates_teacher: ClassVar[bool] = False

    step: float = 1e-3
    directions: int = 1
    student_learning_rate: float = 0.1
    weight_decay: float = 5e-4
    generator_learning_rate: float = 1e-4
    student_loss: KnowledgeLoss = dataclasses.field(default_factory=L1Logits)
    generator_steps: int = 1
    student_steps: int = 5
    batch_size: int = 256
    latent_size: int = 256
    output: str = "unsquashed"
    epochs: int = 224

    def __post_init__(self) -> None:
        super().__post_init__()
        self._above_0("step", "student_learning_rate", "generator_learning_rate")
        self._at_least(1, "directions")
        self._in_range(0, math.inf, "weight_decay")
        if self.output != "unsquashed":
            self._refuse("output", "'unsquashed': differences are taken before pixels are squashed")
        if self.objectives:
            self._refuse("objectives", "empty: forward differences know the adversary only")
        if self.refines():
            self._refuse("refine_steps", "0: a black box gives no gradient to refine by")

    def build_objectives(self) -> tuple[Objective, ...]:
        return (Adversarial(1.0, "l1"),)

    def build_critic(
        self, teacher: keras.Model, student: keras.Model, seed: keras.random.SeedGenerator
    ) -> ForwardDifferences:
        return ForwardDifferences(
            teacher, student, *self.build_objectives(), self.pixels, self.step, self.directions, seed
        )

    def pixels(self, generated):
        return (ops.tanh(generated) + 1.0) / 2.0

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return sgd_of_the_papers(_stepped(self.student_learning_rate, updates), self.weight_decay)

    def generator_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(_stepped(self.generator_learning_rate, updates))


def _stepped(rate, updates):
    """The rate times 0.3 at 10, 30 and 50 % of the updates."""
    boundaries = [max(i, round(updates * share)) for i, share in enumerate((0.1, 0.3, 0.5))]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, [rate * 0.3**i for i in range(4)])
