"""The log-likelihood of the teacher's features against NumPy."""

import keras
import numpy as np
import pytest

import tfkd
from tests.conftest import blobs, small_network
from tfkd.analysis import log_likelihood

pytestmark = pytest.mark.slow


def test_of_a_distiller_that_was_trained():
    x, y = blobs(48)
    teacher, student = small_network(8), small_network(4)
    loss = tfkd.losses.VariationalInformation("relu1", "norm1", projector=keras.layers.Conv2D(8, 1))
    distiller = tfkd.Distiller(teacher, student, loss)
    distiller.compile(
        keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    distiller.fit(x, y, epochs=1, verbose=0)
    first = log_likelihood(loss, teacher, student, x)

    theirs = keras.Model(teacher.inputs, teacher.get_layer("relu1").output).predict(x, verbose=0)
    ours = keras.Model(student.inputs, student.get_layer("norm1").output).predict(x, verbose=0)
    kernel, bias = loss.projectors[0].get_weights()
    mean = ours.astype("float64") @ kernel[0, 0] + bias
    variance = np.log1p(np.exp(loss.log_scales[0].numpy().astype("float64"))) + 1e-5
    density = -0.5 * ((theirs - mean) ** 2 / variance + np.log(2 * np.pi * variance))
    assert first == pytest.approx(density.mean(), rel=1e-5)

    distiller.fit(x, y, epochs=10, verbose=0)
    assert log_likelihood(loss, teacher, student, x) > first


def test_bad_input():
    model, x = small_network(4), blobs(4)[0]
    with pytest.raises(TypeError, match="`loss` must be a VariationalInformation"):
        log_likelihood(tfkd.losses.SoftTargets(), model, model, x)
    with pytest.raises(ValueError, match="`loss` must name layers and be built"):
        log_likelihood(tfkd.losses.VariationalInformation("relu1", "relu1"), model, model, x)
