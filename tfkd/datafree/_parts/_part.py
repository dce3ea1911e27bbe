"""Part: options of one thing that a recipe does."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from tfkd._core.options import Options
from tfkd.tasks import Task

# Why a teacher gives an option no meaning.
NOT_TYPICAL = "It has no batch normalization, so nobody knows which images are typical"
NOT_CLASSES = "Its answers do not name classes"
NOT_IMAGES = "Its inputs are not images"
NOT_MOVED = "Its inputs are token ids, which no gradient moves"
NOT_UNIT = "Its features have ranges of their own, as its Normalization tells, and are not kept in [0, 1]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part(Options):
    """Options of one thing that a recipe does."""

    def unfit(self, teacher: keras.Model, task: Task) -> Iterator[tuple[str, str]]:
        """Options that a teacher gives no meaning to, and why."""
        yield from ()

    def substitutes(self, teacher: keras.Model) -> Iterator[tuple[str, Any, str]]:
        """Options that a teacher needs another value of, that value, and why."""
        yield from ()
