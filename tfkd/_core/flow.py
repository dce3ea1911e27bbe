"""Which calls of a model's graph a value has to pass on its way to the outputs."""

import keras

from tfkd._core.graphs import nodes
from tfkd._core.keras_internals import call_of


class Flow:
    """The calls of a functional or built Sequential model's graph, and what follows what.

    Args:
        model: the model; models nested in it are one call.
    """

    def __init__(self, model: keras.Model) -> None:
        self.calls = nodes(model)
        self._ends = [call_of(tensor) for tensor in model.outputs]
        self._next = {id(call): [] for call in self.calls}
        for call in self.calls:
            for tensor in call.input_tensors:
                if id(before := call_of(tensor)) in self._next:
                    self._next[id(before)].append(call)

    def times_called(self, operation) -> int:
        """How often the graph calls an operation."""
        return sum(call.operation is operation for call in self.calls)

    def takers(self, tensor) -> list:
        """The calls that have a tensor as their first input."""
        following = self._next[id(call_of(tensor))]
        return [call for call in following if call.input_tensors[0] is tensor]

    def passes(self, start, call) -> bool:
        """Whether every path from one call to an output leads through another."""
        reached = self._reached(start, without=call)
        return not any(id(end) in reached for end in self._ends)

    def leads(self, start, call) -> bool:
        """Whether a path leads from one call to another."""
        return id(call) in self._reached(start)

    def passed(self, start) -> list:
        """The calls that every path from `start` to an output leads through, in order, `start` first."""
        reached = self._reached(start)
        after = [call for call in self.calls if id(call) in reached and call is not start]
        return [start, *(call for call in after if self.passes(start, call))]

    def _reached(self, start, without=None):
        """Which calls, by id, paths from a call lead to, itself included."""
        reached, pending = set(), [start]
        while pending:
            call = pending.pop()
            if call is not without and id(call) not in reached:
                reached.add(id(call))
                pending.extend(self._next[id(call)])
        return reached
