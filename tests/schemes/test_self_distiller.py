"""Self-distillation: each method's step against its formula, files, metrics, options."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.conftest import SHAPE, blobs, small_network
from tests.schemes.cases import LABELS_LOSS
from tfkd import schemes
from tfkd.export import export_tflite
from tfkd.losses import BernoulliTargets, DecoupledKnowledge, Hint, SoftTargets, within
from tfkd.schemes import SelfDistiller, attach_exits

pytestmark = [pytest.mark.slow, pytest.mark.eager]

EXITS = ["relu1", "conv2"]
RATE = 0.1


def pooled_network(name="student"):
    """Two convolutions and a classifier on eight features, as many as heads have."""
    x = inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, strides=2, name="conv1")(x)
    x = layers.ReLU(name="relu1")(layers.BatchNormalization(name="norm1")(x))
    x = layers.Conv2D(8, 3, activation="relu", name="conv2")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(8, 2, activation="relu", name="conv3")(x))
    return keras.Model(inputs, layers.Dense(4, name="logits")(x), name=name)


def compiled(method="multi_exit", model=None, optimizer=None, **kwargs):
    options = {key: kwargs.pop(key) for key in ("jit_compile", "metrics") if key in kwargs}
    distiller = SelfDistiller(model or pooled_network(), EXITS, method, **kwargs)
    distiller.compile(optimizer or keras.optimizers.SGD(RATE), LABELS_LOSS, **options)
    return distiller


def copy_of(network):
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return copy


def entropies(target, logits):
    return -tf.reduce_sum(target * tf.nn.log_softmax(logits), -1)


def soft(last, logits, temperature):
    """T^2 H(last, exit): the entropy of the targets does not learn."""
    target = tf.stop_gradient(tf.nn.softmax(last / temperature))
    return temperature**2 * tf.reduce_mean(entropies(target, logits / temperature))


def byot(ce, logits, features):
    soft_targets = sum(soft(logits[-1], each, 3.0) for each in logits[:-1])
    deep = tf.stop_gradient(features[-1])
    # The sum over a batch of 128, which this has.
    distances = sum(tf.reduce_sum((each - deep) ** 2) for each in features[:-1])
    return 0.9 * sum(ce) + 0.1 * soft_targets + 1e-6 * distances


def multi_exit(ce, logits, features):
    return 0.5 * sum(ce) + sum(0.5 * soft(logits[-1], each, 1.0) for each in logits[:-1])


def ensemble(ce, logits, features):
    mean = sum(logits) / len(logits)
    return 0.9 * sum(ce) + 0.1 * sum(soft(mean, each, 3.0) for each in logits)


def imta(ce, logits, features):
    others = zip(ce[:-1], logits[:-1], strict=True)
    # Four classes, over which the divergence is averaged.
    return ce[-1] + sum(0.1 * own + 0.9 * soft(logits[-1], each, 3.0) / 4 for own, each in others)


FORMULAS = {"byot": byot, "multi_exit": multi_exit, "ensemble": ensemble, "imta": imta}


def step_by_formula(network, formula, x, y):
    """The weights after a step of gradient descent."""
    taps = ["exit_1/features", "exit_2/features", "pool"]
    with tf.GradientTape() as tape, tfkd.taps.record(network, taps) as seen:
        logits = network(x, training=True)
        ce = [tf.reduce_mean(entropies(tf.one_hot(y, 4), each)) for each in logits]
        loss = formula(ce, logits, [seen[tap] for tap in taps])
    gradients = tape.gradient(loss, network.trainable_variables)
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        variable.assign(variable - RATE * gradient)
    return network.get_weights()


@pytest.mark.parametrize("method", FORMULAS)
def test_a_step_is_that_of_the_formula(method):
    x, y = blobs(128)
    distiller = compiled(method)
    expected = step_by_formula(copy_of(distiller.network), FORMULAS[method], x, y)
    distiller.fit(x, y, batch_size=128, verbose=0)
    for mine, theirs in zip(distiller.network.get_weights(), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", FORMULAS)
def test_all_methods_under_xla(method):
    x, y = blobs(16)
    plain, xla = compiled(method), compiled(method, jit_compile=True)
    xla.network.set_weights(plain.network.get_weights())
    logs = [each.fit(x, y, shuffle=False, verbose=0).history["loss"][0] for each in (plain, xla)]
    assert logs[0] == pytest.approx(logs[1], rel=1e-4)


@pytest.mark.parametrize("split", [False, True], ids=["sgd", "dot"])
def test_gradient_equilibrium_is_that_of_rescaled_branches(split):
    """The paper's graph: gradients times 1/(exits left) where an exit branches off, and the rest behind."""
    optimizer = tfkd.optimizers.DOT(keras.optimizers.SGD(RATE, 0.5), 0.0) if split else None

    @tf.custom_gradient
    def scaled(x, factor):
        return tf.identity(x), lambda gradient: (gradient * factor, None)

    x, y = blobs(32)
    distiller = compiled("imta", optimizer=optimizer, gradient_equilibrium=True)
    network = copy_of(distiller.network)
    with tf.GradientTape() as tape:
        first = network.get_layer("relu1")(
            network.get_layer("norm1")(network.get_layer("conv1")(x), training=True)
        )
        first = scaled(first, 1 / 3)
        logits = [network.get_layer("exit_1")(first, training=True)]
        second = network.get_layer("conv2")(scaled(first, 2.0))
        second = scaled(second, 1 / 2)
        logits.append(network.get_layer("exit_2")(second, training=True))
        third = network.get_layer("pool")(network.get_layer("conv3")(scaled(second, 1.0)))
        logits.append(network.get_layer("logits")(third))
        loss = imta([tf.reduce_mean(entropies(tf.one_hot(y, 4), each)) for each in logits], logits, None)
    gradients = tape.gradient(loss, network.trainable_variables)
    distiller.fit(x, y, batch_size=32, verbose=0)
    # Heads are behind their branch, so that they are rescaled by nothing.
    pairs = zip(network.trainable_variables, gradients, distiller.network.trainable_variables, strict=True)
    for variable, gradient, trained in pairs:
        np.testing.assert_allclose(trained, variable - RATE * gradient, rtol=1e-4, atol=1e-6)


def test_the_temperature_grows_while_the_last_exit_is_sure_and_goes_on_after_loading(tmp_path):
    x, y = blobs(64)
    distiller = compiled(schemes.MultiExit(confidence=0.3))
    temperature = distiller.distillation_losses[0].temperature
    distiller.network.get_layer("logits").bias.assign([9.0, 0.0, 0.0, 0.0])
    distiller.fit(x, y, batch_size=16, verbose=0)
    assert float(temperature) == pytest.approx(1.05**4)
    distiller.evaluate(x, y, verbose=0)
    assert float(temperature) == pytest.approx(1.05**4)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    assert float(loaded.distillation_losses[0].temperature) == pytest.approx(1.05**4)
    fixed = compiled(schemes.MultiExit(temperature=4.0, growth=1.0, confidence=0.01))
    fixed.fit(x, y, verbose=0)
    assert float(fixed.distillation_losses[0].temperature) == 4.0


def test_files_metrics_and_the_student(tmp_path):
    x, y = blobs(64)
    distiller = compiled("byot", small_network(4), "adam", metrics=["accuracy"])
    history = distiller.fit(x, y, validation_data=(x, y), shuffle=False, verbose=0).history
    accuracies = {"accuracy", "exit_1_accuracy", "exit_2_accuracy", "ensemble_accuracy"}
    parts = {"exit_1_targets", "exit_2_targets", "exit_1_features", "exit_2_features"}
    assert accuracies | parts | {f"val_{each}" for each in accuracies} <= set(history)
    measured = distiller.evaluate(x, y, verbose=0, return_dict=True)
    outputs = distiller.network.predict(x, verbose=0)
    for name, logits in zip(["exit_1_", "exit_2_", "", "ensemble_"], [*outputs, sum(outputs)], strict=True):
        assert measured[f"{name}accuracy"] == pytest.approx((logits.argmax(-1) == y).mean())
    np.testing.assert_allclose(distiller.predict(x, verbose=0), outputs[-1], rtol=1e-5)
    assert distiller.students == [distiller.student] and len(distiller.student.outputs) == 1
    assert distiller.student.count_params() < distiller.network.count_params()
    assert isinstance(distiller, tfkd.distilling.Distillation)
    assert not any("accuracy" in name for name in distiller.evaluate(x, verbose=0, return_dict=True))
    check = export_tflite(distiller, None)
    assert check.agreement > 0.99

    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), distiller.predict(x, verbose=0))
    for model in (distiller, loaded):
        model.fit(x, y, shuffle=False, verbose=0)
    for mine, theirs in zip(distiller.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=1e-6)
    assert loaded.get_config().keys() == distiller.get_config().keys()


def test_any_loss_between_layers_and_weights_of_examples():
    x, y = blobs(32)
    pair = {"teacher_layer": "logits", "student_layer": "exit_1"}
    losses = [within(DecoupledKnowledge(**pair)), within(Hint("conv3", "conv2", projector=True))]
    distiller = compiled(None, losses=losses, loss_weights=[1.0, 2.0], student_loss_weight=0.3)
    history = distiller.fit(x, y, verbose=0).history
    assert history["decoupled_knowledge"][0] > 0 and history["hint"][0] > 0
    assert distiller.student_loss_weight == 0.3 and distiller.exit_weights == [1.0] * 3
    before = harness.snapshot(distiller.network)
    distiller.network.get_layer("norm1").trainable = False
    distiller.fit(x, y, sample_weight=np.zeros(32), verbose=0)
    moved = [
        v.path for v, old in zip(distiller.network.weights, before, strict=True) if (v != old).numpy().any()
    ]
    assert all("moving" in path for path in moved)
    more = compiled("byot", losses=within(SoftTargets(2.0, **pair)), loss_weights=[0.5])
    assert more.distillation_loss_weights[-1] == 0.5 and len(more.distillation_losses) == 5


def test_under_a_strategy(strategy):
    x, y = blobs(32)
    with strategy.scope():
        distiller = compiled("multi_exit", metrics=["accuracy"])
    alone = compiled("multi_exit", metrics=["accuracy"])
    alone.network.set_weights(distiller.network.get_weights())
    logs = [
        each.fit(x, y, batch_size=32, shuffle=False, verbose=0).history["loss"][0]
        for each in (alone, distiller)
    ]
    # Batch normalization sees half a batch in each replica.
    assert logs[0] == pytest.approx(logs[1], rel=0.2) and distiller.student.built


def test_networks_with_exits_can_be_pruned():
    distiller = compiled("multi_exit")
    pruned = tfkd.compression.prune(distiller.student, 0.5)
    assert pruned.output_shape == (None, 4)


def test_quantize_aware_networks_are_told_the_order():
    for model, exits in ((pooled_network(), EXITS), (attach_exits(pooled_network(), EXITS), None)):
        with pytest.raises(ValueError, match=r"quantize-aware or pruned.*Do that first"):
            SelfDistiller(tfkd.compression.quantize_aware(model), exits)


def test_softmaxes_of_independent_labels_are_refused():
    with pytest.raises(ValueError, match="LastExitTargets compares softmaxes, and `loss` is a binary"):
        compiled().compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    inputs = keras.Input((6,))
    hidden = layers.Dense(4, activation="relu", name="hidden")(inputs)
    binary = keras.Model(inputs, layers.Dense(1, name="logits")(hidden))
    for method in ("byot", "multi_exit", "ensemble", "imta"):
        with pytest.raises(ValueError, match="one output, and its softmax is always 1"):
            SelfDistiller(binary, ["hidden"], method)
    loss = within(BernoulliTargets(teacher_layer="logits", student_layer="exit_1"))
    distiller = SelfDistiller(binary, ["hidden"], None, loss, exit_weights=np.array([0.5, 1.0]))
    distiller.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    history = distiller.fit(np.ones((8, 6)), np.ones((8, 1)), verbose=0).history
    assert history["distillation_loss"][0] > 0


def test_what_self_distillation_refuses():
    with pytest.raises(ValueError, match=r"Unknown method 'biot'. Did you mean 'byot'"):
        SelfDistiller(pooled_network(), EXITS, "biot")
    with pytest.raises(TypeError, match=r"`method` must be one of 'multi_exit'.*3"):
        SelfDistiller(pooled_network(), EXITS, 3)
    with pytest.raises(ValueError, match=r"`distillation_losses` is empty"):
        SelfDistiller(pooled_network(), EXITS, None)
    with pytest.raises(ValueError, match=r"with 1 output.*attach_exits"):
        SelfDistiller(pooled_network())
    with pytest.raises(ValueError, match=r"`exit_weights` must be one number .* the 3 exits"):
        SelfDistiller(pooled_network(), EXITS, exit_weights=[1.0])
    with pytest.raises(ValueError, match=r"`alpha` must be above 0 and below 1"):
        schemes.BeYourOwnTeacher(alpha=1.0)
    with pytest.raises(ValueError, match=r"No layer 'exit_9' in model"):
        SelfDistiller(
            pooled_network(),
            EXITS,
            None,
            within(SoftTargets(teacher_layer="logits", student_layer="exit_9")),
        )
    heads = [keras.Sequential([layers.Flatten(), layers.Dense(4)], name=name) for name in ("a", "b")]
    with pytest.raises(
        ValueError, match=r"compares the layer 'a/features'.*no such layer.*feature_weight=0"
    ):
        SelfDistiller(pooled_network(), EXITS, "byot", heads=heads)
    network = attach_exits(pooled_network(), EXITS)
    distiller = SelfDistiller(network)
    for wrong in ({"loss": [LABELS_LOSS] * 3}, {"loss": LABELS_LOSS, "metrics": [["accuracy"]] * 3}):
        with pytest.raises(ValueError, match=r"must be (a single loss|for one output)"):
            distiller.compile("sgd", **wrong)
    marked = tfkd.tasks.mark(pooled_network(), tfkd.tasks.MultiLabel((4,)))
    with pytest.raises(ValueError, match=r"MultiExit compares softmaxes.*multi_label.*method=None"):
        SelfDistiller(marked, EXITS)
