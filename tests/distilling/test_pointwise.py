"""Strided convolutions of one pixel are trained with the same values and gradients."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tfkd.distilling import _forward as forward
from tfkd.distilling._pointwise import unit_strides


def network(size=9, channels=5, **options):
    inputs = keras.Input((size, size, channels))
    x = layers.Conv2D(6, 1, name="pointwise", **{"strides": 2, **options})(inputs)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.ReLU()(x))))


def value_and_gradients(model, x, training):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(forward.forward_pass(model, [], x, training).output ** 2)
    return loss, tape.gradient(loss, [v.value for v in model.trainable_variables])


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": "same"},
        {"padding": "valid"},
        {"strides": (3, 2)},
        {"use_bias": False},
        {"activation": "relu"},
    ],
)
def test_values_and_gradients_are_the_same(size, options):
    model = network(size, **options)
    # Channels of a multiple of what may crash are not needed here: this is small.
    x = tf.random.stateless_normal((4, size, size, 5), (1, 2))
    (plain, expected), (thinned, gradients) = (value_and_gradients(model, x, t) for t in (False, True))
    np.testing.assert_allclose(thinned, plain, rtol=1e-5)
    for ours, theirs in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert "convolution_op" not in vars(model.get_layer("pointwise"))


@pytest.mark.parametrize("options", [{"kernel_size": 3}, {"strides": 1}, {"groups": 5, "filters": 5}])
def test_other_convolutions_are_left_alone(options):
    inputs = keras.Input((9, 9, 5))
    layer = layers.Conv2D(**{"filters": 6, "kernel_size": 1, "strides": 2, **options})
    model = keras.Model(inputs, layer(inputs))
    with unit_strides(model):
        assert "convolution_op" not in vars(layer)


def test_bridged_students_have_it_too():
    student = tfkd.compression.prune(network(), 0.5)
    x = np.random.default_rng(0).random((8, 9, 9, 5)).astype("float32")
    inner = tfkd.taps.resolve(student, "pointwise/pointwise")
    with unit_strides(student):
        assert "convolution_op" in vars(inner)
        thinned = student(x)
    np.testing.assert_allclose(thinned, student(x), rtol=1e-5, atol=1e-6)


CRASHING = """
import numpy as np, keras, tfkd
from tests.distilling.test_pointwise import network
student, teacher = network(60, 8, use_bias=False), network(60, 8)
distiller = tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets(), student_loss_weight=0.0)
distiller.compile("sgd")
distiller.fit(np.random.rand(32, 60, 60, 8).astype("float32"), batch_size=8, verbose=0)
"""


@pytest.mark.slow
def test_what_kills_tensorflow_on_some_processors_trains():
    ended = subprocess.run([sys.executable, "-c", CRASHING], capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
