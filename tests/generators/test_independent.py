"""Independent values in ranges of their own, given or read from a teacher's normalization."""

import keras
import numpy as np
import pytest
from keras import layers

from generators import Gaussian, Uniform, feature_ranges


def test_values_are_spread_over_their_ranges():
    low, high = np.array([0, -5, 18], "float32"), np.array([1, 5, 99], "float32")
    values = Uniform((3,), low, high).sample(4000, seed=0).numpy()
    assert (values >= low).all() and (values <= high).all()
    np.testing.assert_allclose(values.mean(axis=0), (low + high) / 2, atol=0.03 * (high - low).max())
    np.testing.assert_allclose(values.std(axis=0), (high - low) / 12**0.5, rtol=0.05)
    assert np.abs(np.corrcoef(values.T) - np.eye(3)).max() < 0.06


def test_normal_values_have_their_mean_and_deviation():
    values = Gaussian((2, 3), mean=[0.0, 1.0, 9.0], std=[[1.0], [0.0]]).sample(4000, seed=0).numpy()
    np.testing.assert_allclose(values.mean(axis=0), [[0, 1, 9]] * 2, atol=0.06)
    np.testing.assert_allclose(values.std(axis=0), [[1, 1, 1], [0, 0, 0]], atol=0.06)


def network(*before):
    inputs = keras.Input((2,))
    x = inputs
    for layer in before:
        x = layer(x)
    return keras.Model(inputs, layers.Dense(3)(x), name="net")


def test_ranges_are_those_of_the_normalization():
    table = np.random.default_rng(0).normal([38.0, -2.0], [13.0, 0.5], (500, 2)).astype("float32")
    adapted = layers.Normalization()
    adapted.adapt(table)
    given = layers.Normalization(mean=table.mean(axis=0), variance=table.var(axis=0))
    nested = keras.Sequential([keras.Input((2,)), given])
    for model in (network(adapted), network(nested)):
        low, high = feature_ranges(model)
        np.testing.assert_allclose(low, table.mean(axis=0) - 3 * table.std(axis=0), rtol=1e-3)
        np.testing.assert_allclose(high, table.mean(axis=0) + 3 * table.std(axis=0), rtol=1e-3)
        assert Uniform((2,), low, high).sample(3, seed=0).shape == (3, 2)


@pytest.mark.parametrize(
    ("layers_before", "message"),
    [
        ([], "`model`: 'net' must have one keras.layers.Normalization.* Received: 0 of them"),
        ([layers.Normalization(mean=0, variance=1), layers.Normalization(mean=0, variance=1)], "2 of them"),
        (
            [layers.Normalization(mean=0, variance=1, invert=True)],
            "one with invert=True. Pass `low` and `high`",
        ),
    ],
)
def test_models_that_do_not_tell(layers_before, message):
    with pytest.raises(ValueError, match=message):
        feature_ranges(network(*layers_before))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Uniform((3,), low=[0, 0]), r"`low` must be finite numbers .* broadcast to shape \(3,\)"),
        (lambda: Uniform((3,), high="x"), "`high` must be finite numbers"),
        (lambda: Uniform((3,), low=np.nan), "`low` must be finite numbers"),
        (
            lambda: Uniform((2,), low=[0, 2]),
            r"`high` must nowhere be below `low`. Received: low=\[0.0, 2.0\]",
        ),
        (lambda: Gaussian((2,), std=-1), "`std` must be at least 0 everywhere"),
        (lambda: Gaussian((2,), mean=[[1, 2], [3, 4]]), "`mean` must be finite numbers"),
    ],
)
def test_what_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_which_ranges_are_those_of_images():
    assert Uniform((3,)).in_unit_range and Gaussian((3,)).in_unit_range
    assert not Uniform((2,), low=[0, 18], high=[1, 99]).in_unit_range
    assert not Uniform((2,), low=-1).in_unit_range and not Gaussian((2,), std=0.5).in_unit_range
