"""Strategies: choosing the next point of a space with keras-tuner's oracles."""

import contextlib
import random
import tempfile
from collections.abc import Iterator
from typing import Any

from tfkd._core.checks import check_choice
from tfkd.searching._space import Point, Space, key_of

STRATEGIES = ("random", "grid", "bayesian")
# Maximum number of points for the random fallback.
_RESERVE = 10_000
_OBJECTIVE = "objective"


class Proposals:
    """Gets points from a keras-tuner oracle, and reports their objectives to it.

    No point is proposed twice: if an oracle would repeat one, as Bayesian optimization does, or has no
    more, a random point is used instead. The reported objectives determine the next points, so a search
    with the same results takes the same path, and no oracle state has to be saved.

    Args:
        space: the space of points.
        strategy: "random", "grid" or "bayesian".
        seed: seed of the random choices.

    Raises:
        ImportError: if keras-tuner is not installed, or scikit-learn for "bayesian".
        ValueError: for an unknown strategy.
    """

    def __init__(self, space: Space, strategy: str, seed: int) -> None:
        self.space, self.strategy = space, strategy
        self._oracle = _oracle(space, strategy, seed)
        # Oracles write their state to files, which are not used.
        self._scratch = tempfile.TemporaryDirectory()
        self._oracle._set_project_dir(self._scratch.name, "oracle")
        self._seen: set[str] = set()
        self._reserve = self._in_random_order(seed)
        self._asked: Any = None

    def _in_random_order(self, seed) -> Iterator[Point]:
        size = self.space.size
        # Ranges are not expanded to lists, however long.
        numbers = random.Random(seed).sample(range(size), min(size, _RESERVE))
        return map(self.space.point_number, numbers)

    def next(self) -> Point | None:
        """The next new point; None if there are no more."""
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
        """Reports the objective of the last point.

        Args:
            point: the last point.
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
        """Removes the oracle's files."""
        self._scratch.cleanup()


def _one_thread(strategy):
    """Limits linear algebra to one thread within the block; for small matrices, more threads do not
    help."""
    if strategy != "bayesian":
        return contextlib.nullcontext()
    # Installed with scikit-learn.
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def check_strategy(strategy: str) -> None:
    """Raises ValueError for an unknown strategy, ImportError if a package is missing."""
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
        # Indices into the list, since keras-tuner does not accept None or values of mixed types.
        parameters.Choice(name, list(range(len(values))), ordered=_is_ordered(values))
    oracle = kinds[strategy](
        objective=keras_tuner.Objective(_OBJECTIVE, "max"),
        max_trials=None,
        hyperparameters=parameters,
        # 0 would give a new seed each time.
        seed=seed + 1,
        # Points over the budget are not trials, so there may be any number of them in a row.
        max_consecutive_failed_trials=10**9,
    )
    oracle.verbose = 0
    return oracle


def _is_ordered(values):
    numbers = [value for value in values if isinstance(value, (int, float))]
    return len(numbers) == len(values) and numbers in (sorted(numbers), sorted(numbers, reverse=True))
