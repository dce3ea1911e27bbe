"""LayerRecipe: students that are made of some of their teacher's layers."""

import dataclasses
from typing import Annotated

import keras

from tfkd import students
from tfkd._core.options import AtLeast
from tfkd.text._parts_of_models import layers_of
from tfkd.text._recipe import TextRecipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerRecipe(TextRecipe):
    """A recipe whose student is made of layers of its teacher, and begins with their weights.

    Args:
        layers: how many of the teacher's layers the student has, or their numbers from 0; None for half of
            them, at least one.
        hidden_dim: width of the student's hidden states, to which weights are projected; None for the
            teacher's.
        **kwargs: the options of `TextRecipe`.

    Raises:
        ValueError: for a value out of its range.
    """

    layers: int | tuple[int, ...] | None = None
    hidden_dim: Annotated[int | None, AtLeast(1)] = None

    def check(self) -> None:
        super().check()
        numbers = self.layers if isinstance(self.layers, tuple) else ()
        count = len(numbers) if isinstance(self.layers, tuple) else self.layers
        wrong = count is not None and (not _is_int(count) or count < 1)
        if wrong or any(not _is_int(n) or n < 0 for n in numbers) or list(numbers) != sorted(set(numbers)):
            self._refuse("layers", "a number of layers of at least 1, their numbers in order, or None")

    def student(self, teacher: keras.Model) -> keras.Model:
        layers = self.inherited_layers(len(layers_of(teacher, "teacher").hidden))
        return students.from_layers(teacher, layers, self.hidden_dim)

    def inherited_layers(self, depth: int) -> list[int]:
        """The numbers of the teacher's layers that the student begins with.

        Args:
            depth: how many layers the teacher has.

        Raises:
            ValueError: if the student is to have more, or one that there is not.
        """
        if isinstance(self.layers, tuple):
            if self.layers[-1] >= depth:
                raise ValueError(
                    f"`layers` must be numbers from 0 to {depth - 1} of the teacher's layers. Received: "
                    f"layers={self.layers}."
                )
            return list(self.layers)
        return self.choice_of(self.count(depth), depth)

    def choice_of(self, count: int, depth: int) -> list[int]:
        """Which layers they are, where only their number is given."""
        return students.spread_layers(depth, count)

    def count(self, depth: int) -> int:
        """How many layers the student has.

        Raises:
            ValueError: if those are more than the teacher has.
        """
        if isinstance(self.layers, tuple):
            return len(self.layers)
        count = max(1, depth // 2) if self.layers is None else self.layers
        if count > depth:
            raise ValueError(
                f"`layers` must be at most the {depth} layers that the teacher has. Received: "
                f"layers={count}. Give fewer, or a deeper teacher."
            )
        return count


def _is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)
