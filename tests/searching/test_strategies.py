import itertools
import sys

import keras
import pytest

from tfkd.searching._space import Space, key_of
from tfkd.searching._strategies import STRATEGIES, Proposals


def space(**choices):
    return Space(choices, lambda point: keras.Model())


def walk(points, strategy, objective, steps, seed=0):
    """The points that a strategy proposes where it is told `objective(point)`."""
    proposals, found = Proposals(points, strategy, seed), []
    for _ in range(steps):
        point = proposals.next()
        if point is None:
            break
        found.append(point)
        proposals.tell(point, objective(point))
    proposals.close()
    return found


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_point_of_a_small_space_comes_once(strategy):
    points = space(a=[1, 2, 3], b=["x", None], c=[True])
    found = walk(points, strategy, lambda point: float(point["a"]), 20)
    assert sorted(map(key_of, found)) == sorted(key_of(points.point_number(i)) for i in range(6))


def test_grid_goes_in_the_order_of_the_choices_past_what_is_refused():
    points = space(a=[3, 1], b=["y", "x"])
    found = walk(points, "grid", lambda point: None if point["a"] == 3 else 1.0, 9)
    assert [tuple(point.values()) for point in found] == list(itertools.product([3, 1], ["y", "x"]))


@pytest.mark.parametrize("strategy", ["random", "bayesian"])
def test_a_search_goes_the_same_way_again_and_seeds_differ(strategy):
    points = space(a=list(range(8)), b=list(range(8)))
    ways = [walk(points, strategy, lambda point: -abs(point["a"] - 5.0), 8, seed) for seed in (0, 0, 1)]
    assert ways[0] == ways[1] != ways[2]


@pytest.mark.slow
def test_bayesian_search_finds_the_peak_sooner_than_chance():
    """A smooth peak in 400 points, which 22 random ones find in one of eighteen searches."""
    points = space(a=list(range(20)), b=list(range(20)))
    found = walk(points, "bayesian", lambda point: -((point["a"] - 13) ** 2 + (point["b"] - 4) ** 2), 22)
    assert {"a": 13, "b": 4} in found
    assert len({key_of(point) for point in found}) == 22


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_any_number_of_refusals_and_a_space_that_no_list_holds(strategy):
    points = space(**{name: list(range(100)) for name in "abcdef"})
    assert len({key_of(point) for point in walk(points, strategy, lambda point: None, 30)}) == 30


def test_what_is_not_there(monkeypatch):
    with pytest.raises(ValueError, match="`strategy` must be one of 'random', 'grid', 'bayesian'"):
        Proposals(space(a=[1]), "evolution", 0)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"A search needs sklearn: pip install 'tfkd\[search\]'"):
        Proposals(space(a=[1]), "bayesian", 0)
    monkeypatch.setitem(sys.modules, "keras_tuner", None)
    with pytest.raises(ImportError, match=r"A search needs keras_tuner"):
        Proposals(space(a=[1]), "random", 0)
