"""BSS: real examples and their counterparts on the other side of the teacher's borders."""

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
    """Adversarial distillation with data: each example comes with a boundary-supporting sample made of it.

    For `fit(x, y)`; there is nothing to attack without examples. Defaults are the published ones: 10 steps
    of 0.3, soft targets at temperature 3, student Nesterov SGD 0.1 decayed as a cosine.

    When:
        There are examples, and the student is to learn where the teacher's borders between classes run.

    Args:
        attack_steps: steps towards the border at most.
        attack_step_size: share of the way that a step takes, in (0, 1].
        learning_rate: of SGD, at the beginning.
        **kwargs: the options of `NewInputs` and `Recipe`.

    Example:
        >>> distiller = tfkd.DataFreeDistiller(
        ...     teacher, student, tfkd.datafree.BSS(), student_loss_weight=0.3
        ... )
        >>> distiller.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> distiller.fit(x_train, y_train, epochs=80)

    Reference:
        Heo et al., "Knowledge Distillation with Adversarial Samples Supporting Decision Boundary", 2019.
        Deviations: all examples are attacked, where the authors take up to 64 that both networks classify
        correctly; weights do not decay (`tfkd.callbacks.WeightSchedule` does that); the squared temperature
        stays in the loss.
    """

    needs_examples: ClassVar[bool] = True
    needs_classes: ClassVar[bool] = True

    attack_steps: Annotated[int, AtLeast(1)] = 10
    attack_step_size: Annotated[float, Above(0), Between(0, 1)] = 0.3
    temperature: float = 3.0
    learning_rate: Annotated[float, Above(0)] = 0.1

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        yield "warmup_steps", "nothing has to warm up"
        yield "microbatches", "real examples go through the networks whole"

    def build_source(self, lesson: Lesson) -> ExamplesSource:
        def attacked(images):
            steps, size = self.attack_steps, self.attack_step_size
            return boundary_supporting(images, lesson.teacher, lesson.seed, steps, size, task=lesson.task)[
                0
            ]

        return ExamplesSource(lesson, attacked, self._prior_source(lesson, self.batch_size, parts.Prior()))

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return cosine_nesterov(self.learning_rate, updates)
