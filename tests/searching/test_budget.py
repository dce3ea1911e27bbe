import math

import pytest

from tfkd.searching import Budget
from tfkd.searching._budget import Cost


def test_what_is_above_a_budget():
    cost = Cost(parameters=100, flops=2000, milliseconds=0.5)
    assert Budget().exceeded(cost) == []
    assert Budget(parameters=100, flops=2000, milliseconds=0.5).exceeded(cost) == []
    assert Budget(parameters=99, flops=2000, milliseconds=0.4).exceeded(cost) == [
        "parameters",
        "milliseconds",
    ]
    assert Budget(flops=1, milliseconds=math.inf).exceeded(cost) == ["flops"]
    # What is not known is above nothing.
    assert Budget(flops=1, milliseconds=0.1).exceeded(Cost(parameters=1)) == []


def test_limits_in_words_and_what_is_drawn():
    assert Budget().describe() == "anything" and Budget(milliseconds=math.inf).describe() == "anything"
    assert Budget(parameters=12000, milliseconds=0.25).describe() == "12,000 parameters and 0.25 ms"
    quantities = [
        each.main_quantity for each in (Budget(), Budget(flops=9), Budget(flops=9, milliseconds=math.inf))
    ]
    assert quantities == ["parameters", "flops", "milliseconds"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parameters": 0}, "`parameters` must be an integer of at least 1"),
        ({"flops": 1.5}, "`flops` must be an integer"),
        ({"milliseconds": 0}, "`milliseconds` must be above 0"),
        ({"milliseconds": math.nan}, "`milliseconds` must be above 0"),
        ({"quantization": "int4"}, "`quantization` must be one of 'float32', 'int8'"),
    ],
)
def test_bad_budgets(options, message):
    with pytest.raises(ValueError, match=message):
        Budget(**options)
