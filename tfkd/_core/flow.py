"""The calls in a model's graph that lie on every path from a value to the outputs."""

import keras

from tfkd._core.graphs import nodes
from tfkd._core.keras_internals import call_of


class Flow:
    """The calls in the graph of a functional or built Sequential model, and their order.

    Args:
        model: the model; a nested model counts as one call.
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
        """The calls whose first input is a given tensor."""
        following = self._next[id(call_of(tensor))]
        return [call for call in following if call.input_tensors[0] is tensor]

    def passes(self, start, call) -> bool:
        """Whether every path from `start` to an output goes through `call`."""
        reached = self._reached(start, without=call)
        return not any(id(end) in reached for end in self._ends)

    def leads(self, start, call) -> bool:
        """Whether a path leads from `start` to `call`."""
        return id(call) in self._reached(start)

    def passed(self, start) -> list:
        """The calls on every path from `start` to an output, in order, `start` first."""
        reached = self._reached(start)
        after = [call for call in self.calls if id(call) in reached and call is not start]
        return [start, *(call for call in after if self.passes(start, call))]

    def _reached(self, start, without=None):
        """The ids of the calls that can be reached from a call, itself included."""
        reached, pending = set(), [start]
        while pending:
            call = pending.pop()
            if call is not without and id(call) not in reached:
                reached.add(id(call))
                pending.extend(self._next[id(call)])
        return reached
