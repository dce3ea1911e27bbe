"""What networks end in, however it is written: one line for each."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfkd
from tests.tasks.mine import Maps
from tfkd.tasks import task_of
from tfkd.teachers import TaskWarning

X = np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")
UNITS = 5


def network(ending, units=UNITS):
    """A network of vectors, about whose scale nothing is known."""
    inputs = keras.Input((6,))
    model = keras.Model(inputs, ending(layers.Dense(units, name="logits")(inputs)), name="net")
    model.get_layer("logits").kernel.assign(2 * np.random.default_rng(1).normal(size=(6, units)))
    return model


def loaded(model, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return tfkd.load_teacher(model, **options)


class OwnSoftmax(layers.Layer):
    def call(self, x):
        return tf.nn.softmax(x)


class OwnModel(keras.Model):
    def call(self, x):
        return ops.softmax(x)


def softmax_in_code(z):
    return tf.nn.softmax(z)


def written_out(z):
    powers = ops.exp(z)
    return powers / ops.sum(powers, axis=-1, keepdims=True)


SOFTMAX = {
    "ops.softmax": ops.softmax,
    "exp over sum": written_out,
    "shifted exp over sum": lambda z: written_out(z - ops.max(z, axis=-1, keepdims=True)),
    "exp of log-softmax": lambda z: ops.exp(ops.log_softmax(z)),
    "temperature": lambda z: ops.softmax(z / 3.0),
    "temperature, layers": lambda z: layers.Softmax()(layers.Rescaling(1 / 3)(z)),
    "Lambda of TensorFlow's": layers.Lambda(tf.nn.softmax),
    "Activation of TensorFlow's": layers.Activation(tf.nn.softmax),
    "Activation of ops": layers.Activation(ops.softmax),
    "Dense of a function": layers.Dense(UNITS, activation=softmax_in_code),
    "a layer of one's own": OwnSoftmax(),
    "a model of one's own": OwnModel(),
    "then layers that change nothing": lambda z: layers.Identity()(
        layers.Dropout(0.5)(layers.Activation("linear")(layers.Reshape((UNITS,))(layers.Softmax()(z))))
    ),
    "axis 1": layers.Softmax(axis=1),
    "average of two": lambda z: layers.Average()([ops.softmax(z), ops.softmax(2 * z)]),
    "average over places": lambda z: layers.GlobalAveragePooling1D()(
        layers.Softmax()(layers.RepeatVector(3)(z))
    ),
    "p and 1 - p": lambda z: layers.Concatenate()([ops.sigmoid(z[:, :1]), 1 - ops.sigmoid(z[:, :1])]),
}


@pytest.mark.parametrize("name", SOFTMAX)
def test_classes_however_they_are_written(name):
    model = network(SOFTMAX[name])
    teacher = loaded(model)
    assert repr(task_of(teacher)) == f"Classification(({model.output_shape[1]},))"
    np.testing.assert_allclose(ops.softmax(teacher(X)), model(X), rtol=1e-3, atol=1e-5)


SIGMOID = {
    "ops.sigmoid": ops.sigmoid,
    "1 over 1 + exp": lambda z: 1 / (1 + ops.exp(-z)),
    "Lambda of TensorFlow's": layers.Lambda(tf.nn.sigmoid),
    "hard": layers.Activation("hard_sigmoid"),
    "hard, ops": ops.hard_sigmoid,
    "average of two": lambda z: layers.Average()([ops.sigmoid(z), ops.sigmoid(z / 2)]),
    "half a tanh": lambda z: (1 + ops.tanh(z)) / 2,
}


@pytest.mark.parametrize("units", [1, UNITS])
@pytest.mark.parametrize("name", SIGMOID)
def test_labels_however_they_are_written(name, units):
    model = network(SIGMOID[name], units)
    with pytest.warns(TaskWarning, match="sigmoid"):
        teacher = tfkd.load_teacher(model)
    assert repr(task_of(teacher)) == ("Classification((2,))" if units == 1 else f"MultiLabel(({units},))")
    z = np.asarray(teacher(X))[:, -units:]
    np.testing.assert_allclose(ops.sigmoid(z), model(X), rtol=1e-3, atol=1e-5)


# Endings that are logits, or taken for them without a word.
PLAIN = {
    "log-softmax layer": layers.Activation("log_softmax"),
    "log-softmax ops": ops.log_softmax,
    "log-softmax of TensorFlow's": layers.Lambda(tf.nn.log_softmax),
    "log of softmax": lambda z: ops.log(ops.softmax(z)),
    "scaled": lambda z: z / 3.0,
    "ReLU layer": layers.ReLU(),
    "ReLU ops": ops.relu,
    "normalized": layers.BatchNormalization(),
    # As in SqueezeNet, whose outputs may well lie between 0 and 1.
    "average of ReLUs": lambda z: layers.GlobalAveragePooling1D()(
        layers.ReLU()(layers.Rescaling(0.01)(layers.RepeatVector(3)(z)))
    ),
    "average of logits": lambda z: layers.Average()([0.001 * ops.abs(z), 0.002 * ops.abs(z)]),
}


@pytest.mark.parametrize("name", PLAIN)
def test_logits_stay_as_they_are(name):
    model = network(PLAIN[name])
    teacher = loaded(model)
    assert repr(task_of(teacher)) == f"Classification(({UNITS},))"
    np.testing.assert_allclose(teacher(X), model(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["tanh", "softplus", "softsign", "gelu", "elu", "exponential"])
@pytest.mark.parametrize("as_layer", [True, False])
def test_other_endings_are_asked_about_and_the_answers_work(name, as_layer):
    def ending(z):
        function = ops.exp if name == "exponential" else getattr(ops, name)
        return layers.Activation(name)(z) if as_layer else function(z)

    if name == "exponential" and not as_layer:
        pytest.skip("An exponential of one's own may be anything.")
    model = network(ending)
    with pytest.warns(TaskWarning, match=rf"ends in a {name}.*task='classification'.*task='regression'"):
        teacher = tfkd.load_teacher(model)
    np.testing.assert_allclose(teacher(X), model(X), rtol=1e-4, atol=1e-5)
    for task in ("classification", "regression"):
        said = loaded(model, task=task)
        assert task_of(said).name == task
        np.testing.assert_allclose(said(X), model(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["tanh", "softsign", "hard_tanh"])
@pytest.mark.parametrize("units", [1, UNITS])
def test_answers_of_minus_one_and_one(name, units):
    model = network(layers.Activation(name), units)
    task = "classification" if units == 1 else "multi_label"
    with pytest.warns(TaskWarning, match=rf"(?=.*{name}).*-1 and 1.*"):
        tfkd.load_teacher(model)
    teacher = loaded(model, task=task)
    z = np.asarray(teacher(X))[:, -units:]
    np.testing.assert_allclose(2 * np.asarray(ops.sigmoid(z)) - 1, model(X), rtol=1e-3, atol=1e-4)
    numbers = loaded(model, task="regression")
    np.testing.assert_allclose(numbers(X), model(X), rtol=1e-4, atol=1e-5)


def maps(ending):
    """Classes for each of 4 x 3 places, classes first: `(n, classes, 4, 3)`."""
    inputs = keras.Input((6,))
    z = layers.Dense(UNITS * 12)(inputs)
    return keras.Model(inputs, ending(layers.Reshape((UNITS, 4, 3))(z)), name="maps")


@pytest.mark.parametrize(
    "ending",
    [
        layers.Softmax(axis=1),
        lambda z: ops.softmax(z, axis=1),
        layers.Lambda(lambda z: tf.nn.softmax(z, 1)),
    ],
    ids=["layer", "ops", "code"],
)
def test_classes_that_are_not_last_are_refused_and_the_remedy_works(ending):
    model = maps(ending)
    remedy = r"keras\.Model\(model\.input, keras\.layers\.Permute\(\(2, 3, 1\)\)\(model\.output\)\)"
    with pytest.raises(ValueError, match=rf"softmax along axis 1 of 4.*{remedy}"):
        tfkd.load_teacher(model, task=Maps)


def test_classes_that_were_put_last_are_taken():
    model = maps(layers.Softmax(axis=1))
    last = keras.Model(model.input, keras.layers.Permute((2, 3, 1))(model.output))
    teacher = loaded(last, task=Maps)
    np.testing.assert_allclose(ops.softmax(teacher(X)), last(X), rtol=1e-3, atol=1e-5)
