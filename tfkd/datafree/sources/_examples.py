"""ExamplesSource: inputs made from real examples."""

from collections.abc import Callable

from tfkd.datafree._lesson import Lesson
from tfkd.datafree.sources._base import Batch, Source


class ExamplesSource(Source):
    """Makes an input from each real example of a step.

    Args:
        lesson: the networks, their task, and the random state.
        change: a function from examples to inputs.
        otherwise: the source to use if there are no examples, as in `synthesize`.
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
