"""The metrics given to `compile`, once for each of several students."""

from collections.abc import Sequence
from typing import Any

from tfkd._core.copies import fresh_metrics
from tfkd._core.keras_internals import compiled_metrics


class StudentMetrics:
    """Metrics of each student, which its name in logs precedes.

    Args:
        names: of the students, such as "student_0".
        metrics: what `compile` was given.
    """

    def __init__(self, names: Sequence[str], metrics: Any) -> None:
        self.names = list(names)
        self._of = [compiled_metrics(fresh_metrics(metrics)) for _ in names] if metrics else []

    def update(self, y, outputs: Sequence, sample_weight=None) -> None:
        """Takes what each student answered to examples with labels."""
        for each, output in zip(self._of, outputs, strict=bool(self._of)):
            each.update_state(y, output, sample_weight)

    def results(self) -> dict:
        """The values so far, by name."""
        named = zip(self.names, self._of, strict=bool(self._of))
        return {
            f"{name}_{key}": value
            for name, each in named
            if each.built
            for key, value in each.result().items()
        }

    def reset(self) -> None:
        """Begins anew."""
        for each in self._of:
            each.reset_state()
