"""Meter: what networks cost, in figures that can be compared however busy the machine is."""

import os
import pathlib

import keras
import numpy as np

from tfkd._core import files
from tfkd._core.flops import count_flops
from tfkd._core.graphs import has_graph
from tfkd._core.runtimes import require_litert
from tfkd.searching._budget import Budget, Cost
from tfkd.searching._timing import file_of, timed_rounds


class Meter:
    """Measures networks.

    The first network that is timed becomes the measure: each later one runs in turns with its file, and its
    milliseconds are its share of the time that this file took, times what the file took at first. So what
    else the machine does, or another day, does not favour some of them.

    Args:
        budget: what has to be measured.
        folder: where that file stays for later runs.
        inputs: inputs `(n, ...)` that ranges of int8 files are taken from.

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
        """What a network costs; it is timed only if all else is within the budget."""
        flops = count_flops(model) if has_graph(model) else None
        cost = Cost(parameters=model.count_params(), flops=flops)
        if self.budget.is_timed and not self.budget.exceeded(cost):
            return self.timed(model, cost)
        return cost

    def timed(self, model: keras.Model, cost: Cost) -> Cost:
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
