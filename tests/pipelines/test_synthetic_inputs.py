"""Inputs that ranges are taken from: typical of the teacher, of pictures where there are colours."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfkd
from tests.conftest import small_network
from tfkd.datafree import Procedural
from tfkd.datafree.recipes._choosing import calibrating_recipe
from tfkd.pipelines._compression_variants import synthetic_inputs

pytestmark = pytest.mark.eager


def of_colours():
    inputs = keras.Input((12, 12, 3))
    return keras.Model(inputs, layers.Dense(4)(layers.Flatten()(layers.Conv2D(2, 3)(inputs))))


def black_box():
    return tfkd.BlackBoxTeacher(lambda x: np.full((len(x), 3), 1 / 3), (12, 12, 3), 3)


def test_by_teacher(tmp_path):
    typical, coloured = calibrating_recipe(small_network()), calibrating_recipe(of_colours(), str(tmp_path))
    assert typical.prior == ("strokes",) and typical.refine_share == 1 and typical.refine_statistics > 0
    assert coloured.prior == ("pictures",) and coloured.pictures == str(tmp_path)
    assert coloured.refines() and coloured.refine_statistics == 0
    unmoved = calibrating_recipe(black_box())
    assert unmoved.prior == ("pictures",) and not unmoved.refines()


def apart(network, images):
    """How far what enters the normalization is from what it remembers, in its deviations."""
    norm = network.get_layer("norm1")
    seen = ops.convert_to_numpy(network.get_layer("conv1")(images)).reshape(-1, norm.moving_mean.shape[0])
    unit = np.sqrt(norm.moving_variance.numpy())
    shift = (seen.mean(axis=0) - norm.moving_mean.numpy()) / unit
    return np.mean(shift**2 + (seen.std(axis=0) / unit - 1) ** 2)


def test_inputs_have_the_statistics_that_a_teacher_remembers():
    keras.utils.set_random_seed(0)
    network = small_network()
    # It was trained on images that are darker than strokes.
    dark = np.random.default_rng(0).uniform(0, 0.3, (64, 12, 12, 1)).astype("float32")
    seen = ops.convert_to_numpy(network.get_layer("conv1")(dark)).reshape(-1, 8)
    norm = network.get_layer("norm1")
    norm.moving_mean.assign(seen.mean(axis=0))
    norm.moving_variance.assign(seen.var(axis=0))
    plain = Procedural(memory=0)
    before = tfkd.DataFreeDistiller(network, keras.models.clone_model(network), plain, seed=0).synthesize(
        256
    )
    calibration, judging = synthetic_inputs(network, network, seed=0)
    assert len(calibration) == 256 and len(judging) == 1000
    assert max(apart(network, calibration), apart(network, judging)) < 0.5 * apart(network, before)
