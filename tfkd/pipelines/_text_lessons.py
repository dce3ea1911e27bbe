"""Several students of one teacher, each trained on the same texts."""

import keras

from tfkd.datafree import Recipe
from tfkd.distilling import Distiller
from tfkd.tasks import task_of


class TextLessons:
    """Makes distillers for students that learn from real texts, in place of a warm-up.

    Args:
        teacher: the teacher of all students.
        recipe: defines length, batch size and temperature.
        seed: seed of the order of the texts.
    """

    def __init__(self, teacher: keras.Model, recipe: Recipe, seed: int) -> None:
        self.teacher, self.recipe, self.seed = teacher, recipe, seed
        self.steps_per_epoch = recipe.steps_per_epoch

    @property
    def student_updates(self) -> int:
        """The number of updates of each student."""
        return self.recipe.epochs * self.steps_per_epoch

    def distiller(self, student: keras.Model) -> Distiller:
        """A distiller for a student, not yet compiled."""
        loss = task_of(self.teacher).soft_loss(self.recipe.temperature)
        return Distiller(self.teacher, student, loss, student_loss_weight=0.0)

    def steps_done(self, distiller: Distiller) -> int:
        """The number of steps a distiller has taken."""
        return int(distiller.optimizer.iterations.numpy())

    def ended(self, distiller: Distiller) -> None:
        """Does nothing: students share no state."""
