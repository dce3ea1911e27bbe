"""Several students of one teacher, each taught on the same texts."""

import keras

from tfkd.datafree import Recipe
from tfkd.distilling import Distiller
from tfkd.tasks import task_of


class TextLessons:
    """Makes distillers of students that learn the teacher's answers to real texts, in place of a warm-up.

    Args:
        teacher: whom all students learn from.
        recipe: how long, in which batches, at which temperature.
        seed: of the texts' order.
    """

    def __init__(self, teacher: keras.Model, recipe: Recipe, seed: int) -> None:
        self.teacher, self.recipe, self.seed = teacher, recipe, seed
        self.steps_per_epoch = recipe.steps_per_epoch

    @property
    def student_updates(self) -> int:
        """The updates of each student."""
        return self.recipe.epochs * self.steps_per_epoch

    def distiller(self, student: keras.Model) -> Distiller:
        """A distiller for a student, still to be compiled."""
        loss = task_of(self.teacher).soft_loss(self.recipe.temperature)
        return Distiller(self.teacher, student, loss, student_loss_weight=0.0)

    def steps_done(self, distiller: Distiller) -> int:
        """How many steps a distiller has taken."""
        return int(distiller.optimizer.iterations.numpy())

    def ended(self, distiller: Distiller) -> None:
        """Nothing goes on from student to student."""
