"""ExamplesSource: inputs made of real examples."""

from collections.abc import Callable

from tfkd.datafree._lesson import Lesson
from tfkd.datafree.sources._base import Batch, Source


class ExamplesSource(Source):
    """Makes an input of each real example of a step.

    Args:
        lesson: the networks, their task, and random numbers.
        change: makes inputs of examples.
        otherwise: where images come from when there are no examples at hand, as in `synthesize`.
        **kwargs: passed to `keras.Layer`.
    """

    def __init__(self, lesson: Lesson, change: Callable, otherwise: Source, **kwargs) -> None:
        super().__init__(lesson, **kwargs)
        self.change, self.otherwise = change, otherwise

    def draw(self, n: int, made=None, examples=None) -> Batch:
        if examples is None:
            return self.otherwise.draw(n)
        images = self.change(examples)
        return Batch(images, self.lesson.answers(images))

    def candidates(self, targets):
        return self.otherwise.candidates(targets)
