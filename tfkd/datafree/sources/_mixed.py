"""Mixed: batches with shares from several sources."""

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
from keras import ops

from tfkd.datafree._lesson import Lesson
from tfkd.datafree.sources._base import Batch, Source, TrainedNetwork


class Mixed(Source):
    """Concatenates inputs from several sources, each with a fixed share of the batch.

    Args:
        lesson: the networks, their task, and the random state.
        sources: the sources.
        shares: their shares, each above 0, with sum 1.
        **kwargs: passed to `keras.Layer`.
    """

    def __init__(
        self, lesson: Lesson, sources: Sequence[Source], shares: Sequence[float], **kwargs
    ) -> None:
        super().__init__(lesson, **kwargs)
        self.sources, self.shares = list(sources), tuple(shares)

    @property
    def remedy(self) -> str:
        return self.sources[-1].remedy

    @property
    def trained(self) -> Mapping[str, TrainedNetwork]:
        return {name: network for source in self.sources for name, network in source.trained.items()}

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        return [optimizer for source in self.sources for optimizer in source.optimizers]

    @property
    def trackers(self) -> list[keras.metrics.Metric]:
        return [tracker for source in self.sources for tracker in source.trackers]

    def compile(self, optimizers: Mapping[str, keras.optimizers.Optimizer]) -> None:
        for source in self.sources:
            source.compile({name: optimizers[name] for name in source.trained})

    def retrace(self, once: Callable[[Callable], Callable]) -> None:
        for source in self.sources:
            source.retrace(once)

    def before(self, adversarial_weight) -> list:
        return [source.before(adversarial_weight) for source in self.sources]

    def draw(self, n: int, made: list | None = None, examples=None) -> Batch:
        made = [None] * len(self.sources) if made is None else made
        parts = zip(self.sources, self._sizes(n), made, strict=True)
        batches = [source.draw(size, each, examples) for source, size, each in parts if size]
        images, logits = zip(*batches, strict=True)
        return Batch(
            ops.concatenate(images), ops.concatenate(logits) if self.lesson.keeps_answers else None
        )

    def after(self, adversarial_weight) -> None:
        for source in self.sources:
            source.after(adversarial_weight)

    def wait(self) -> None:
        for source in self.sources:
            source.wait()

    def candidates(self, targets):
        parts, first = [], 0
        for source, size in zip(self.sources, self._sizes(targets.shape[0]), strict=True):
            if size:
                parts.append(source.candidates(targets[first : first + size]))
            first += size
        return ops.concatenate(parts)

    def made_by_draws(self, n: int, draws: int) -> int:
        parts = zip(self.sources, self._sizes(n), strict=True)
        return sum(source.made_by_draws(size, draws) for source, size in parts)

    def made_by_training(self) -> int:
        return sum(source.made_by_training() for source in self.sources)

    def made_by_waiting(self) -> int:
        return sum(source.made_by_waiting() for source in self.sources)

    def _sizes(self, n) -> list[int]:
        """The number of inputs, of `n`, that each source makes."""
        ends = np.round(n * np.cumsum(self.shares)).astype(int)
        return np.diff(ends, prepend=0).tolist()
