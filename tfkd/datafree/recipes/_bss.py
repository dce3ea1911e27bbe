"""BSS: real examples, moved just across the teacher's decision boundaries."""

import dataclasses
from collections.abc import Iterator
from typing import Annotated, ClassVar

import keras

from tfkd._core.options import Above, AtLeast, Between
from tfkd.datafree import _parts as parts
from tfkd.datafree._lesson import Lesson
from tfkd.datafree._recipe import Recipe
from tfkd.datafree.sources import ExamplesSource
from tfkd.datafree.sources._boundary import boundary_supporting
from tfkd.optimizers import cosine_nesterov


@dataclasses.dataclass(frozen=True, kw_only=True)
class BSS(parts.NewInputs, Recipe):
    """Adversarial distillation with data: adds a boundary-supporting sample for each example.

    For `fit(x, y)`; it needs real examples to attack. Defaults are the published ones: 10 steps of size
    0.3, soft targets at temperature 3, student Nesterov SGD 0.1 with cosine decay.

    When:
        There are real examples, and the student should learn the teacher's decision boundaries.

    Args:
        attack_steps: the maximum number of steps towards the boundary.
        attack_step_size: the fraction of the distance to the boundary that a step covers, in (0, 1].
        learning_rate: the initial learning rate of SGD.
        **kwargs: the options of `NewInputs` and `Recipe`.

    Example:
        >>> distiller = tfkd.DataFreeDistiller(
        ...     teacher, student, tfkd.datafree.BSS(), student_loss_weight=0.3
        ... )
        >>> distiller.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> distiller.fit(x_train, y_train, epochs=80)

    Reference:
        Heo et al., "Knowledge Distillation with Adversarial Samples Supporting Decision Boundary", 2019.
        Deviations: all examples are attacked, not just up to 64 that both networks classify correctly; loss
        weights do not decay (use `tfkd.callbacks.WeightSchedule` for that); the loss includes the squared
        temperature.
    """

    needs_examples: ClassVar[bool] = True
    needs_classes: ClassVar[bool] = True

    attack_steps: Annotated[int, AtLeast(1)] = 10
    attack_step_size: Annotated[float, Above(0), Between(0, 1)] = 0.3
    temperature: float = 3.0
    learning_rate: Annotated[float, Above(0)] = 0.1

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        yield "warmup_steps", "nothing needs a warm-up"
        yield "microbatches", "batches of real examples are not split"

    def build_source(self, lesson: Lesson) -> ExamplesSource:
        def attacked(images):
            steps, size = self.attack_steps, self.attack_step_size
            return boundary_supporting(images, lesson.teacher, lesson.seed, steps, size, task=lesson.task)[
                0
            ]

        return ExamplesSource(lesson, attacked, self._prior_source(lesson, self.batch_size, parts.Prior()))

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return cosine_nesterov(self.learning_rate, updates)
