"""Strategies: which point of a space comes next, as keras-tuner's oracles have it."""

import contextlib
import random
import tempfile
from collections.abc import Iterator
from typing import Any

from tfkd._core.checks import check_choice
from tfkd.searching._space import Point, Space, key_of

STRATEGIES = ("random", "grid", "bayesian")
# How many points there are at most to fall back on.
_RESERVE = 10_000
_OBJECTIVE = "objective"


class Proposals:
    """Asks one of keras-tuner's oracles for points, and tells it how good they were.

    An oracle asks for no point twice here: where it would, as Bayesian optimization does, or has run out of
    its own, a random one comes instead. What it is told decides what comes next, so a search that is told
    the same again goes the same way, and nothing of an oracle has to be saved.

    Args:
        space: where the points are.
        strategy: "random", "grid" or "bayesian".
        seed: of the random choices.

    Raises:
        ImportError: if keras-tuner is not installed, or scikit-learn for "bayesian".
        ValueError: for an unknown strategy.
    """

    def __init__(self, space: Space, strategy: str, seed: int) -> None:
        self.space, self.strategy = space, strategy
        self._oracle = _oracle(space, strategy, seed)
        # Oracles write what they know, which nobody reads.
        self._scratch = tempfile.TemporaryDirectory()
        self._oracle._set_project_dir(self._scratch.name, "oracle")
        self._seen: set[str] = set()
        self._reserve = self._in_random_order(seed)
        self._asked: Any = None

    def _in_random_order(self, seed) -> Iterator[Point]:
        size = self.space.size
        # No list is made of a range, however long.
        numbers = random.Random(seed).sample(range(size), min(size, _RESERVE))
        return map(self.space.point_number, numbers)

    def next(self) -> Point | None:
        """The next point, one that was not given before; None if there are no more."""
        with _one_thread(self.strategy):
            trial = self._oracle.create_trial("search")
        self._asked = trial if trial.status == "RUNNING" else None
        point = None
        if self._asked is not None:
            point = self.space.point([trial.hyperparameters.values[name] for name in self.space.choices])
        if point is None or key_of(point) in self._seen:
            point = next((each for each in self._reserve if key_of(each) not in self._seen), None)
        if point is not None:
            self._seen.add(key_of(point))
        return point

    def tell(self, point: Point, objective: float | None) -> None:
        """Says how good the point given last was.

        Args:
            point: that point.
            objective: larger is better; None if it did not become a trial.
        """
        trial = self._asked
        if trial is None:
            return
        trial.hyperparameters.values = {
            name: values.index(point[name]) for name, values in self.space.choices.items()
        }
        trial.status = "INVALID" if objective is None else "COMPLETED"
        if objective is not None:
            self._oracle.update_trial(trial.trial_id, {_OBJECTIVE: objective})
        self._oracle.end_trial(trial)

    def close(self) -> None:
        """Removes what the oracle has written."""
        self._scratch.cleanup()


def _one_thread(strategy):
    """Within it linear algebra takes one thread: for so small matrices more of them only wait."""
    if strategy != "bayesian":
        return contextlib.nullcontext()
    # scikit-learn brings it.
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def check_strategy(strategy: str) -> None:
    """Raises ValueError for an unknown strategy, ImportError where it cannot be had here."""
    check_choice("strategy", strategy, STRATEGIES)
    try:
        import keras_tuner  # noqa: F401

        if strategy == "bayesian":
            import sklearn  # noqa: F401
    except ImportError as error:
        raise ImportError(f"A search needs {error.name}: pip install 'tfkd[search]'.") from error


def _oracle(space, strategy, seed):
    check_strategy(strategy)
    import keras_tuner

    kinds = {
        "random": keras_tuner.oracles.RandomSearchOracle,
        "grid": keras_tuner.oracles.GridSearchOracle,
        "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
    }
    parameters = keras_tuner.HyperParameters()
    for name, values in space.choices.items():
        # Places in the list, since values of different kinds, and None, are no choices of keras-tuner.
        parameters.Choice(name, list(range(len(values))), ordered=_is_ordered(values))
    oracle = kinds[strategy](
        objective=keras_tuner.Objective(_OBJECTIVE, "max"),
        max_trials=None,
        hyperparameters=parameters,
        # 0 would be a new one each time.
        seed=seed + 1,
        # Points over the budget are no trials, so there may be any number of them in a row.
        max_consecutive_failed_trials=10**9,
    )
    oracle.verbose = 0
    return oracle


def _is_ordered(values):
    numbers = [value for value in values if isinstance(value, (int, float))]
    return len(numbers) == len(values) and numbers in (sorted(numbers), sorted(numbers, reverse=True))
