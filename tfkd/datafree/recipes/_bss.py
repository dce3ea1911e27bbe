"""BSS: real examples and their counterparts on the other side of the teacher's borders."""

import dataclasses
from typing import ClassVar

import keras

from tfkd.datafree._recipe import Recipe
from tfkd.datafree.sources._boundary import boundary_supporting
from tfkd.optimizers import cosine_nesterov


@dataclasses.dataclass(frozen=True, kw_only=True)
class BSS(Recipe):
    """Adversarial distillation with data: each example comes with a boundary-supporting sample made of it.

    For `fit(x, y)`; there is nothing to attack without examples. Defaults are the published ones: 10 steps
    of 0.3, soft targets at temperature 3, student Nesterov SGD 0.1 decayed as a cosine.

    Args:
        attack_steps: steps towards the border at most.
        attack_step_size: share of the way that a step takes, in (0, 1].
        learning_rate: of SGD, at the beginning.
        **kwargs: the other fields of `Recipe`.

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

    attack_steps: int = 10
    attack_step_size: float = 0.3
    temperature: float = 3.0
    learning_rate: float = 0.1
    prior_share: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "attack_steps")
        self._above_0("learning_rate", "attack_step_size")
        self._in_range(0, 1, "attack_step_size")

    def from_examples(self, images, teacher: keras.Model, seed: keras.random.SeedGenerator):
        hard, _ = boundary_supporting(images, teacher, seed, self.attack_steps, self.attack_step_size)
        return hard

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return cosine_nesterov(self.learning_rate, updates)
