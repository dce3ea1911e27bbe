"""Synthetic inputs that any model can be asked about."""

import keras
import numpy as np
import pytest
from keras import layers

from generators import DeadLeaves, SmoothNoise, image_shape, probe_images


def model(*shapes):
    inputs = [keras.Input(shape) for shape in shapes]
    outputs = [layers.Flatten()(each) for each in inputs]
    return keras.Model(*(each[0] if len(inputs) == 1 else each for each in (inputs, outputs)))


@pytest.mark.parametrize("shape", [(7,), (28, 28), (100, 3), (12, 20, 1), (4, 6, 5, 2)], ids=str)
def test_probes_for_any_model(shape):
    probes, again = (probe_images(model(shape), n=9) for _ in range(2))
    assert probes.shape == (9, *shape) and probes.dtype == np.float32
    assert probes.min() >= 0 and probes.max() <= 1
    np.testing.assert_array_equal(probes, again)
    assert not np.array_equal(probes, probe_images(model(shape), n=9, seed=1))


def test_probes_of_images_are_half_smooth_noise_and_half_dead_leaves():
    probes = probe_images(model((12, 12)), n=5)
    noise, leaves = (kind((12, 12, 1)).sample(n, seed=0) for kind, n in ((SmoothNoise, 2), (DeadLeaves, 3)))
    np.testing.assert_array_equal(probes, np.concatenate([noise, leaves])[..., 0])


def test_probes_of_series_are_smooth_in_time():
    probes = probe_images(model((100, 3)), n=4)
    np.testing.assert_array_equal(probes, SmoothNoise((100, 3)).sample(4, seed=0))


@pytest.mark.parametrize("shapes", [((None, 3),), ((8, 8, 1), (2,)), ((),)], ids=str)
def test_models_that_nothing_can_be_made_for(shapes):
    with pytest.raises(
        ValueError, match=r"`model`: .* must take one input of known shape. Received: .*input_shape="
    ):
        probe_images(model(*shapes))


def test_channels_of_images_without():
    assert image_shape((28, 28)) == (28, 28, 1) and image_shape([49, 40]) == (49, 40, 1)
    assert image_shape((128, 9)) == (128, 9)
    assert image_shape((7,)) == (7,) and image_shape((8, 8, 3)) == (8, 8, 3)


@pytest.mark.parametrize(("side", "count"), [(8, 128), (96, 128), (128, 72), (224, 32)])
def test_large_images_are_fewer(side, count):
    assert len(probe_images(model((side, side, 1)))) == count
