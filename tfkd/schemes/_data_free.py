"""DataFree: the scheme of a stage whose inputs come from a recipe."""

import dataclasses

from tfkd.datafree import DataFreeDistiller, Recipe


@dataclasses.dataclass(frozen=True)
class DataFree:
    """A stage's scheme in which a recipe makes the inputs."""

    recipe: Recipe

    def __call__(self, teacher, student, losses, loss_weights, student_loss_weight) -> DataFreeDistiller:
        return DataFreeDistiller(teacher, student, self.recipe, student_loss_weight=student_loss_weight)

    def __repr__(self) -> str:
        return f"DataFreeDistiller({self.recipe.describe()})"
