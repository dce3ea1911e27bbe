"""BlackBox: a generator trained with gradients that are estimated from a black-box teacher's outputs."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Annotated

import keras
from keras import ops

import generators
from generators import Generator
from tfkd._core.options import Above, AtLeast
from tfkd.datafree import _parts as parts
from tfkd.datafree import _views as views
from tfkd.datafree._lesson import Lesson
from tfkd.datafree._recipe import GeneratorRecipe
from tfkd.datafree.objectives import Adversarial
from tfkd.datafree.objectives._forward_differences import ForwardDifferences
from tfkd.losses import KnowledgeLoss, L1Logits
from tfkd.optimizers import sgd_with_coupled_decay
from tfkd.tasks import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlackBox(parts.ConvolutionalNetwork, parts.Latent, GeneratorRecipe):
    """Data-free model extraction: DFAD with the generator's gradient estimated from the teacher's outputs.

    Defaults are the published ones: batch 256, latent 256, student SGD 0.1, generator Adam 1e-4, both rates
    multiplied by 0.3 at 10, 30 and 50 % of the run, five student updates per generator update, one
    direction of length 1e-3. A step queries the teacher for 1,792 images. `Procedural(refine_steps=0)` also
    distills a black box, with far fewer queries.

    When:
        The teacher only returns predictions, like a TFLite file or a web service. If queries are expensive,
        use `Procedural(refine_steps=0)`.

    Args:
        step: the step length of the forward differences.
        directions: the number of directions per image.
        student_learning_rate: the learning rate of SGD.
        weight_decay: the student's weight decay, coupled to the gradient as in PyTorch.
        generator_learning_rate: the learning rate of Adam.
        **kwargs: the options of `ConvolutionalNetwork`, `Latent` and `GeneratorRecipe`.

    Example:
        >>> teacher = tfkd.load_teacher("teacher.tflite")
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.BlackBox())

    Reference:
        Truong et al., "Data-Free Model Extraction", 2021. Deviations: images are (tanh + 1) / 2, in [0, 1];
        the gradient is scaled by the actual number of values in an image, which is fixed to 3 * 32 * 32 in
        the authors' code.
    """

    step: Annotated[float, Above(0)] = 1e-3
    directions: Annotated[int, AtLeast(1)] = 1
    student_learning_rate: Annotated[float, Above(0)] = 0.1
    weight_decay: Annotated[float, AtLeast(0)] = 5e-4
    generator_learning_rate: Annotated[float, Above(0)] = 1e-4
    student_loss: KnowledgeLoss | None = dataclasses.field(default_factory=L1Logits)
    generator_steps: int = 1
    student_steps: int = 5
    batch_size: int = 256
    latent_size: int = 256
    epochs: int = 224

    @property
    def differentiates_teacher(self) -> bool:
        return False

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        yield "objectives", "forward differences support the adversarial objective only"
        for field in dataclasses.fields(parts.Refinement):
            yield field.name, "a black box has no gradients to refine images with"

    def own_objectives(self) -> tuple[Adversarial]:
        return (Adversarial(1.0, "l1"),)

    def build_image_objective(self, lesson: Lesson) -> ForwardDifferences:
        (adversary,) = self.own_objectives()
        return ForwardDifferences(lesson, adversary, self.pixels(), self.step, self.directions)

    def build_generator(self, input_shape: tuple[int, ...], task: Task) -> Generator:
        if not views.fit(input_shape):
            return generators.DenseGenerator(input_shape, self.latent_size, output="unbounded")
        return generators.ConvGenerator(
            input_shape, self.latent_size, self.filters, "unsquashed", epsilon=self.norm_epsilon
        )

    def pixels(self) -> Callable:
        # Differences are taken before pixels are squashed.
        return lambda generated: (ops.tanh(generated) + 1.0) / 2.0

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return sgd_with_coupled_decay(_stepped(self.student_learning_rate, updates), self.weight_decay)

    def generator_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(_stepped(self.generator_learning_rate, updates))


def _stepped(rate, updates):
    """The rate, multiplied by 0.3 at 10, 30 and 50 % of the updates."""
    boundaries = [max(i, round(updates * share)) for i, share in enumerate((0.1, 0.3, 0.5))]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, [rate * 0.3**i for i in range(4)])
