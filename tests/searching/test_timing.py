import math

import numpy as np
import pytest

from tests.conftest import blobs, small_network
from tfkd._core.flops import count_flops
from tfkd.searching import Budget, _meter, measure_milliseconds
from tfkd.searching._meter import Meter


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_larger_networks_take_longer(quantization):
    large, small = measure_milliseconds([small_network(64), small_network(2)], quantization, blobs(8)[0])
    assert large > 1.5 * small > 0


def test_what_cannot_be_timed(monkeypatch):
    with pytest.raises(ValueError, match="`quantization` must be one of"):
        measure_milliseconds([small_network()], "float64")
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ImportError, match=r"tfkd\[litert\]"):
        measure_milliseconds([small_network()])
    with pytest.raises(ImportError, match=r"tfkd\[litert\]"):
        Meter(Budget(milliseconds=1.0), "nowhere", blobs(2)[0])


def test_times_are_shares_of_one_file(tmp_path, monkeypatch):
    """A machine that is three times as slow in the second run changes nothing."""
    monkeypatch.setattr(_meter, "file_of", lambda model, quantization, inputs: model.name.encode())
    seconds, slowness = {b"first": 0.001, b"second": 0.004}, [1.0]

    def timed_rounds(contents):
        each = [seconds[content] * slowness[0] for content in contents]
        # Rounds differ, and what is slow for one is slow for all.
        return np.array([each, [2 * value for value in each], each])

    monkeypatch.setattr(_meter, "timed_rounds", timed_rounds)
    networks = [small_network(2, name=name) for name in ("first", "second")]
    budget = Budget(milliseconds=math.inf)
    first = Meter(budget, str(tmp_path), np.empty(0)).cost(networks[0])
    assert math.isclose(first.milliseconds, 1.0)
    slowness[0] = 3.0
    again, second = (Meter(budget, str(tmp_path), np.empty(0)).cost(each) for each in networks)
    assert math.isclose(again.milliseconds, 1.0) and math.isclose(second.milliseconds, 4.0)
    assert second.parameters == networks[1].count_params() and second.flops == count_flops(networks[1])


def test_only_what_is_within_the_budget_otherwise_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(_meter, "file_of", lambda *arguments: pytest.fail("converted"))
    cost = Meter(Budget(parameters=3, milliseconds=1.0), str(tmp_path), np.empty(0)).cost(small_network(2))
    assert cost.milliseconds is None and cost.parameters > 3
    assert Meter(Budget(), str(tmp_path), np.empty(0)).cost(small_network(2)).milliseconds is None
