"""One warm-up for several students of one teacher."""

import math

import keras

from tfkd.datafree import DataFreeDistiller, Recipe


class SharedWarmUp:
    """Makes distillers of several students, of which only the first warms up.

    Each goes on making images where the run before it ended, and teaches its student in as many steps.

    Args:
        teacher: whom all students learn from.
        recipe: how.
        seed: of each distiller.
    """

    def __init__(self, teacher: keras.Model, recipe: Recipe, seed: int) -> None:
        self.teacher, self.recipe, self.seed = teacher, recipe, seed
        self._before: DataFreeDistiller | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch of the run that comes next."""
        if self._before is None:
            return self.recipe.steps_per_epoch
        taught = self.recipe.epochs * self.recipe.steps_per_epoch - self.recipe.warmup_steps
        return math.ceil(taught / self.recipe.epochs)

    @property
    def student_updates(self) -> int:
        """The student's updates in that run."""
        warmed_up = 0 if self._before is None else self.recipe.warmup_steps
        return self.recipe.student_updates(self.recipe.epochs * self.steps_per_epoch + warmed_up)

    def distiller(self, student: keras.Model) -> DataFreeDistiller:
        """A distiller for that run, still to be compiled."""
        distiller = DataFreeDistiller(self.teacher, student, self.recipe, seed=self.seed)
        if self._before is not None:
            distiller.take_over(self._before)
        return distiller

    def steps_done(self, distiller: DataFreeDistiller) -> int:
        """How many steps a distiller has taken, those it took over among them."""
        return int(distiller.steps_done.numpy())

    def ended(self, distiller: DataFreeDistiller) -> None:
        """Has the next run go on where this one has ended."""
        self._before = distiller


def check_something_to_teach(recipe: Recipe) -> None:
    """Raises ValueError for a recipe that would have nothing left after a shared warm-up."""
    steps = recipe.epochs * recipe.steps_per_epoch
    if recipe.warmup_steps >= steps:
        raise ValueError(
            f"`recipe`: `warmup_steps` must be below the {steps} steps of a run, or no student is taught. "
            f"Received: {recipe.warmup_steps}. Or raise `epochs`."
        )
