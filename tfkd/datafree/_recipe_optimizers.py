"""A recipe's optimizers, whose learning-rate schedules match the length of a run."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras

from tfkd._core.keras_internals import learning_rate
from tfkd.datafree._recipe import Recipe
from tfkd.datafree.sources import Source
from tfkd.distilling._steps import with_loss_scaling


@dataclasses.dataclass
class _ScheduledOptimizer:
    """An optimizer whose learning rate depends on the length of the run."""

    optimizer: keras.optimizers.Optimizer
    make: Callable[[int], keras.optimizers.Optimizer]
    count: Callable[[int, int], int]
    updates: int


class RecipeOptimizers:
    """Makes a recipe's optimizers, and adjusts their learning rates to a run.

    Args:
        recipe: the recipe.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._scheduled: list[_ScheduledOptimizer] = []

    def of_student(self) -> keras.optimizers.Optimizer:
        """The recipe's optimizer of the student, for a run of the recipe's default length."""
        return self._made(
            self._recipe.student_optimizer,
            lambda steps, warmed_up: self._recipe.student_updates(steps + warmed_up),
        )

    def of_network(self, name: str, updates_per_step: int) -> keras.optimizers.Optimizer:
        """The recipe's optimizer of a network that a source trains, for a run of the default length."""
        return self._made(
            lambda updates: self._recipe.network_optimizer(name, updates),
            lambda steps, _: max(1, steps) * updates_per_step,
        )

    def of_source(self, source: Source, given: Any) -> dict[str, keras.optimizers.Optimizer]:
        """A built optimizer for each network that a source trains.

        Args:
            source: the source.
            given: an optimizer, or a dictionary of optimizers by network name; the recipe's are used for
                the rest.

        Raises:
            ValueError: if one is for a network that does not exist, or for several networks.
        """
        trained = source.trained
        if given is not None and not isinstance(given, Mapping):
            given = dict.fromkeys(trained, given)
        given = given or {}
        if given.keys() - trained.keys() or (len(given) > len(set(map(id, given.values())))):
            raise ValueError(
                "`generator_optimizer` must be a separate optimizer for each network that is trained to "
                f"make inputs: {sorted(trained)}. Received: {given!r}."
            )
        made = {}
        for name, (network, updates) in trained.items():
            optimizer = given.get(name) or self.of_network(name, updates)
            made[name] = with_loss_scaling(optimizer, network)
            made[name].build(network.trainable_variables)
        return made

    def follow(self, steps: int, warmed_up: int = 0) -> bool:
        """Adjusts the learning-rate schedules of the optimizers made here to the length of a run.

        Args:
            steps: the number of steps in the run.
            warmed_up: warm-up steps that were taken over from another run.

        Returns:
            Whether any schedule changed, so that traces of steps are out of date.
        """
        changed = False
        for scheduled in self._scheduled:
            updates = scheduled.count(steps, warmed_up)
            if updates == scheduled.updates:
                continue
            schedule = learning_rate(scheduled.make(updates))
            if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
                scheduled.optimizer.learning_rate = schedule
                scheduled.updates, changed = updates, True
        return changed

    def _made(self, make, count):
        updates = count(self._recipe.epochs * self._recipe.steps_per_epoch, 0)
        optimizer = make(updates)
        self._scheduled.append(_ScheduledOptimizer(optimizer, make, count, updates))
        return optimizer
