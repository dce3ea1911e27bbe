"""Part: options of one aspect of a recipe."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from tfkd._core.options import Options
from tfkd.tasks import Task

# Why an option does not apply to a teacher.
NOT_TYPICAL = "It has no batch normalization, so typical images are unknown"
NOT_CLASSES = "Its task has no classes"
NOT_IMAGES = "Its inputs are not images"
NOT_MOVED = "Its inputs are token ids, which gradients cannot change"
NOT_UNIT = "Its features are not in [0, 1], by the statistics of its Normalization layer"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part(Options):
    """Options of one aspect of a recipe."""

    def unfit(self, teacher: keras.Model, task: Task) -> Iterator[tuple[str, str]]:
        """Yields options that do not apply to a teacher, and the reasons."""
        yield from ()

    def substitutes(self, teacher: keras.Model) -> Iterator[tuple[str, Any, str]]:
        """Yields options that need another value for a teacher, with that value and the reason."""
        yield from ()
