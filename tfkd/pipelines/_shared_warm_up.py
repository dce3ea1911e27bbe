"""One warm-up for several students of one teacher."""

import math

import keras

from tfkd.datafree import DataFreeDistiller, Recipe


class SharedWarmUp:
    """Makes distillers for several students; only the first warms up.

    Each continues making images where the previous run ended, and trains its student for the same number of
    steps.

    Args:
        teacher: the teacher of all students.
        recipe: the recipe.
        seed: seed of each distiller.
    """

    def __init__(self, teacher: keras.Model, recipe: Recipe, seed: int) -> None:
        self.teacher, self.recipe, self.seed = teacher, recipe, seed
        self._before: DataFreeDistiller | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Steps per epoch of the next run."""
        if self._before is None:
            return self.recipe.steps_per_epoch
        taught = self.recipe.epochs * self.recipe.steps_per_epoch - self.recipe.warmup_steps
        return math.ceil(taught / self.recipe.epochs)

    @property
    def student_updates(self) -> int:
        """The student's updates in the next run."""
        warmed_up = 0 if self._before is None else self.recipe.warmup_steps
        return self.recipe.student_updates(self.recipe.epochs * self.steps_per_epoch + warmed_up)

    def distiller(self, student: keras.Model) -> DataFreeDistiller:
        """A distiller for the next run, not yet compiled."""
        distiller = DataFreeDistiller(self.teacher, student, self.recipe, seed=self.seed)
        if self._before is not None:
            distiller.take_over(self._before)
        return distiller

    def steps_done(self, distiller: DataFreeDistiller) -> int:
        """The number of steps a distiller has taken, including those taken over."""
        return int(distiller.steps_done.numpy())

    def ended(self, distiller: DataFreeDistiller) -> None:
        """Makes the next run continue where this one ended."""
        self._before = distiller


def check_something_to_teach(recipe: Recipe) -> None:
    """Raises ValueError for a recipe with no steps left after a shared warm-up."""
    steps = recipe.epochs * recipe.steps_per_epoch
    if recipe.warmup_steps >= steps:
        raise ValueError(
            f"`recipe`: `warmup_steps` must be below the {steps} steps of a run, or no student is trained. "
            f"Received: {recipe.warmup_steps}. Lower it, or raise `epochs`."
        )
