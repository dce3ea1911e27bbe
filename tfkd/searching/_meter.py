"""Meter: costs of networks, comparable even on a busy machine."""

import os
import pathlib

import keras
import numpy as np

from tfkd._core import files
from tfkd._core.flops import count_flops
from tfkd._core.runtimes import require_litert
from tfkd.searching._budget import Budget, Cost
from tfkd.searching._timing import file_of, timed_rounds


class Meter:
    """Measures networks.

    The first timed network becomes the reference. Each later one alternates with the reference file, and
    its milliseconds are the ratio of the two times, multiplied by the reference's first time. So other load
    on the machine, or measuring on another day, does not favour some networks.

    Args:
        budget: defines what is measured.
        folder: where the reference file is kept for later runs.
        inputs: inputs `(n, ...)` for calibrating int8 files.

    Raises:
        ImportError: if students are to be timed and `ai_edge_litert` is not installed.
    """

    def __init__(self, budget: Budget, folder: str, inputs: np.ndarray) -> None:
        if budget.is_timed:
            require_litert()
        self.budget, self.inputs = budget, inputs
        self._file = os.path.join(folder, f"timed_beside_{budget.quantization}.tflite")
        self._milliseconds = f"{self._file}.txt"

    def cost(self, model: keras.Model) -> Cost:
        """The cost of a network; it is timed only if everything else is within the budget."""
        cost = self._counted(model)
        if self.budget.is_timed and not self.budget.exceeded(cost):
            return self._timed(model, cost)
        return cost

    def cost_of_teacher(self, teacher: keras.Model) -> Cost:
        """The cost of a teacher, within the budget or not."""
        cost = self._counted(teacher)
        return self._timed(teacher, cost) if self.budget.is_timed else cost

    def _counted(self, model):
        return Cost(parameters=model.count_params(), flops=self._flops(model))

    def _timed(self, model, cost):
        """The cost of a network with its time."""
        content = file_of(model, self.budget.quantization, self.inputs)
        if not os.path.exists(self._milliseconds):
            first = 1000 * float(np.median(timed_rounds([content])))
            files.write_bytes(self._file, content)
            files.write_text(self._milliseconds, repr(first))
        measure = pathlib.Path(self._file).read_bytes()
        first = float(pathlib.Path(self._milliseconds).read_text())
        rounds = timed_rounds([measure, content])
        milliseconds = first * float(np.median(rounds[:, 1] / rounds[:, 0]))
        return Cost(parameters=cost.parameters, flops=cost.flops, milliseconds=milliseconds)

    def _flops(self, model):
        """FLOPs; None if they cannot be counted, unless a limit needs them."""
        try:
            return count_flops(model)
        except ValueError:
            if self.budget.flops is not None:
                raise
            return None
