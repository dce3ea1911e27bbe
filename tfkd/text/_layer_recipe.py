"""LayerRecipe: students made from some of the teacher's layers."""

import dataclasses
from typing import Annotated

import keras

from tfkd import students
from tfkd._core.options import AtLeast
from tfkd.text._parts_of_models import layers_of
from tfkd.text._recipe import TextRecipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerRecipe(TextRecipe):
    """A recipe whose student is made from layers of its teacher, with their weights.

    Args:
        layers: number of the teacher's layers in the student, or their indices; None for half of them, at
            least one.
        hidden_dim: width of the student's hidden states, to which weights are projected; None for the
            teacher's.
        **kwargs: the options of `TextRecipe`.

    Raises:
        ValueError: if a value is out of its range.
    """

    layers: int | tuple[int, ...] | None = None
    hidden_dim: Annotated[int | None, AtLeast(1)] = None

    def check(self) -> None:
        super().check()
        numbers = self.layers if isinstance(self.layers, tuple) else ()
        count = len(numbers) if isinstance(self.layers, tuple) else self.layers
        wrong = count is not None and (not _is_int(count) or count < 1)
        if wrong or any(not _is_int(n) or n < 0 for n in numbers) or list(numbers) != sorted(set(numbers)):
            self._refuse("layers", "a number of layers, at least 1, their indices in order, or None")

    def student(self, teacher: keras.Model) -> keras.Model:
        layers = self.inherited_layers(len(layers_of(teacher, "teacher").hidden))
        return students.from_layers(teacher, layers, self.hidden_dim)

    def inherited_layers(self, depth: int) -> list[int]:
        """The indices of the teacher's layers that initialize the student.

        Args:
            depth: number of the teacher's layers.

        Raises:
            ValueError: if the student would have more, or one that does not exist.
        """
        if isinstance(self.layers, tuple):
            if self.layers[-1] >= depth:
                raise ValueError(
                    f"`layers` must be indices from 0 to {depth - 1} of the teacher's layers. Received: "
                    f"layers={self.layers}."
                )
            return list(self.layers)
        return self.choice_of(self.count(depth), depth)

    def choice_of(self, count: int, depth: int) -> list[int]:
        """The layers to use if only their number is given."""
        return students.spread_layers(depth, count)

    def count(self, depth: int) -> int:
        """The number of the student's layers.

        Raises:
            ValueError: if that is more than the teacher has.
        """
        if isinstance(self.layers, tuple):
            return len(self.layers)
        count = max(1, depth // 2) if self.layers is None else self.layers
        if count > depth:
            raise ValueError(
                f"`layers` must be at most {depth}, the number of the teacher's layers. Received: "
                f"layers={count}. Give fewer, or a deeper teacher."
            )
        return count


def _is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)
