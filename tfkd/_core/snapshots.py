"""Looking at a run without changing it."""

import contextlib
from collections.abc import Iterator, Sequence

import keras


def optimizers_of(layers: Sequence[keras.Layer]) -> list[keras.optimizers.Optimizer]:
    """The optimizers that layers hold; Keras does not count their variables among a model's."""
    values = (value for layer in layers for value in vars(layer).values())
    return [value for value in values if isinstance(value, keras.optimizers.Optimizer)]


@contextlib.contextmanager
def put_back(variables: Sequence[keras.Variable]) -> Iterator[None]:
    """Puts variables back, when the block ends, to what they were."""
    kept = [(variable, variable.numpy()) for variable in variables]
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)
