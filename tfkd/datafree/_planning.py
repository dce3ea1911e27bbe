"""Learning rates of a recipe, which end where a run ends."""

import dataclasses
from collections.abc import Callable

import keras

from tfkd._core.keras_internals import learning_rate
from tfkd.datafree._recipe import Recipe


@dataclasses.dataclass
class _Follower:
    """An optimizer whose learning rate follows the length of the run."""

    optimizer: keras.optimizers.Optimizer
    make: Callable[[int], keras.optimizers.Optimizer]
    count: Callable[[int, int], int]
    updates: int


class Plan:
    """Makes a recipe's optimizers, and fits their learning rates to a run.

    Args:
        recipe: the recipe.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._followers: list[_Follower] = []

    def student_optimizer(self) -> keras.optimizers.Optimizer:
        """The recipe's optimizer of the student, for a run of the recipe's own length."""
        return self._made(self._recipe.student_optimizer, self._updates)

    def generator_optimizer(self) -> keras.optimizers.Optimizer:
        """The recipe's optimizer of the generator, likewise."""
        return self._made(self._recipe.generator_optimizer, self._generator_updates)

    def follow(self, steps: int, warmed_up: int = 0) -> bool:
        """Has the learning rates of the optimizers made here end after so many steps.

        Args:
            steps: of the run.
            warmed_up: steps of warm-up that another run had instead.

        Returns:
            Whether any is another now; what was traced with it is out of date.
        """
        changed = False
        for follower in self._followers:
            updates = follower.count(steps, warmed_up)
            if updates == follower.updates:
                continue
            schedule = learning_rate(follower.make(updates))
            if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
                follower.optimizer.learning_rate = schedule
                follower.updates, changed = updates, True
        return changed

    def _made(self, make, count):
        updates = count(self._recipe.epochs * self._recipe.steps_per_epoch, 0)
        optimizer = make(updates)
        self._followers.append(_Follower(optimizer, make, count, updates))
        return optimizer

    def _updates(self, steps, warmed_up):
        return self._recipe.student_updates(steps + warmed_up)

    def _generator_updates(self, steps, _):
        return max(1, steps) * self._recipe.generator_steps
