"""Metrics of several outputs, or of several networks, for the same labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfkd._core.copies import fresh_metrics
from tfkd._core.keras_internals import compiled_metrics
from tfkd.distilling._steps import position_weights


class NamedMetrics(keras.metrics.Metric):
    """The metrics given to `compile`, copied for each of several outputs or networks.

    Args:
        outputs: names of the outputs, prefixed to the names of metrics: `"exit_1_accuracy"`.
    """

    def __init__(self, outputs: Sequence[str]) -> None:
        super().__init__(name="named_metrics")
        self.outputs = list(outputs)
        self.each: dict[str, Any] = {}

    def compile(self, metrics: Any, weighted_metrics: Any) -> None:
        """Takes metrics as `keras.Model.compile` does for one output, replacing earlier ones."""
        self.each = {}
        if metrics or weighted_metrics:
            self.each = {
                name: compiled_metrics(fresh_metrics(metrics), fresh_metrics(weighted_metrics))
                for name in self.outputs
            }

    def update_state(self, y_true, y_pred: Mapping[str, Any], sample_weight=None) -> None:
        for name, metrics in self.each.items():
            output = y_pred[name]
            metrics.update_state(y_true, output, position_weights(sample_weight, output))

    def result(self) -> dict[str, Any]:
        """The current values of all metrics; empty until labels were seen."""
        return {
            f"{name}_{key}": value
            for name, metrics in self.each.items()
            if metrics.built
            for key, value in metrics.result().items()
        }

    def reset_state(self) -> None:
        for metrics in self.each.values():
            metrics.reset_state()

    @property
    def variables(self) -> list[keras.Variable]:
        return [variable for metrics in self.each.values() for variable in metrics.variables]
