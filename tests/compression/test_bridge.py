"""Keras 3 models in tf_keras and back, and tf_keras models under Keras 3's training."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tfkd import losses, students, taps
from tfkd.compression import BridgedModel, from_tf_keras, to_tf_keras
from tfkd.compression import _tfmot as importing

pytestmark = pytest.mark.slow

CLASSES = 3


def scrambled(model, seed=0):
    """The model with weights that no initializer gives, variances above 0, outputs of size one or so."""
    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


def inputs_of(model, n=3, seed=1):
    rng = np.random.default_rng(seed)

    def example(tensor):
        shape = (n, *tensor.shape[1:])
        if not keras.backend.is_float_dtype(tensor.dtype):
            return rng.integers(2, size=shape).astype(tensor.dtype)
        values = rng.uniform(size=shape)
        if len(shape) == 3:
            # Steps that a Masking layer masks.
            values[:, 1:] *= rng.uniform(size=(n, shape[1] - 1, 1)) < 0.6
        return values.astype(tensor.dtype)

    return keras.tree.map_structure(example, getattr(model, "_functional", model)._inputs_struct)


def assert_same(model, other):
    x = inputs_of(model)
    outputs = [keras.tree.flatten(each(x, training=False)) for each in (model, other)]
    for ours, theirs in zip(*outputs, strict=True):
        assert np.ptp(ours) > 1e-4
        scale = max(1.0, float(np.abs(ours).max()))
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-6 * scale)


def small(name="net"):
    x = inputs = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(8, 3, padding="same", kernel_regularizer=keras.regularizers.L2(1e-2), name="conv")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Add(name="add")([x, layers.Conv2D(8, 1, name="skip")(x)])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return scrambled(keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x), name=name))


def shared_layers():
    inputs = keras.Input((6,))
    dense = layers.Dense(6, activation="hard_silu")
    return keras.Model(inputs, [dense(dense(inputs)), dense(inputs) * 2 + 1])


def nested():
    inner = scrambled(
        keras.Sequential(
            [
                keras.Input((8, 8, 2)),
                layers.Conv2D(4, 3),
                layers.BatchNormalization(),
                layers.LeakyReLU(0.1),
            ]
        )
    )
    one, two = keras.Input((8, 8, 2), name="one"), keras.Input((8, 8, 2), name="two")
    x = layers.Flatten()(layers.Concatenate()([inner(one), inner(two)]))
    return keras.Model({"one": one, "two": two}, {"logits": layers.Dense(3, "hard_sigmoid")(x)})


def recurrent():
    inputs = keras.Input((7, 5))
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(inputs)
    x = layers.TimeDistributed(layers.Dense(4, "gelu"))(layers.GRU(4, return_sequences=True)(x))
    x = layers.LayerNormalization()(layers.MultiHeadAttention(2, 3)(x, x))
    return keras.Model(inputs, x)


def masked():
    words, given = keras.Input((5,), dtype="int32"), keras.Input((5,), dtype="bool")
    values = keras.Input((5, 4))
    seen = layers.Embedding(4, 4, mask_zero=True)(words)
    x = layers.LSTM(3)(layers.MultiHeadAttention(2, 3)(seen, seen))
    pooled = layers.GlobalAveragePooling1D()(layers.Masking()(values))
    return keras.Model([words, given, values], [x, pooled, layers.GRU(3)(values, mask=given)])


def attentive():
    one, two = keras.Input((5, 4)), keras.Input((6, 4))
    x = layers.LayerNormalization(axis=[1, 2])(layers.Attention(use_scale=True)([one, two]))
    cells = [layers.LSTMCell(3), layers.LSTMCell(2)]
    return keras.Model([one, two], [1 - x / 2, layers.RNN(cells)(x)])


def augmented():
    x = inputs = keras.Input((8, 8, 3))
    for layer in (
        *(layers.RandomFlip(), layers.RandomRotation(0.1), layers.RandomZoom(0.1)),
        *(layers.RandomTranslation(0.1, 0.1), layers.RandomContrast(0.1), layers.RandomBrightness(0.1)),
    ):
        x = layer(x)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(layers.GaussianNoise(0.1)(x))))


def vgg():
    x = inputs = keras.Input((16, 16, 3))
    for width in (8, 16):
        for _ in range(2):
            x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.5)(layers.Dense(16, "relu")(layers.Flatten()(x)))
    return keras.Model(inputs, layers.Dense(3)(x))


def images():
    norm = layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(3, 2, (20, 8, 8, 2)))
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            norm,
            layers.ZeroPadding2D(((1, 0), (0, 1))),
            layers.SeparableConv2D(6, 3, activation="relu6"),
            layers.DepthwiseConv2D(3, activation="swish"),
            layers.Conv2DTranspose(4, 3, strides=2),
            layers.AveragePooling2D(2),
            layers.Rescaling(2.0, -1.0),
            layers.ReLU(6.0, negative_slope=0.1),
            layers.PReLU(alpha_initializer="ones"),
            layers.Dropout(0.5),
            layers.Reshape((-1, 4)),
            layers.Softmax(),
        ]
    )


MODELS = {
    "small": small,
    "shared layers": shared_layers,
    "nested, dictionaries": nested,
    "recurrent": recurrent,
    "masked": masked,
    "attentive": attentive,
    "augmented": augmented,
    "images": images,
    "vgg": vgg,
    "lenet": lambda: students.lenet5(),
    "resnet": lambda: scrambled(students.resnet(8, (16, 16, 3))),
    "wide resnet": lambda: scrambled(students.wide_resnet(10, 1, (16, 16, 3))),
}


def trained_weights(model):
    """What is trained, in no order of its own."""
    return sorted(weight.numpy().tobytes() for weight in model.trainable_weights)


def assert_both_ways(model):
    """The same outputs, weights and layers in tf_keras, and outputs in Keras 3 again."""
    old = to_tf_keras(model)
    assert_same(model, old)
    assert trained_weights(model) == trained_weights(old)
    names = [layer.name for layer in old.layers]
    assert set(names) >= {layer.name for layer in getattr(model, "_functional", model).layers}
    assert_same(model, from_tf_keras(old))


@pytest.mark.parametrize("name", MODELS)
def test_both_ways(name):
    pytest.importorskip("tf_keras")
    assert_both_ways(MODELS[name]())


# benchmarks/bridge.py compares more, and larger ones.
@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small"])
def test_applications(name):
    pytest.importorskip("tf_keras")
    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=(32, 32, 3), classes=5, classifier_activation=None)
    assert_both_ways(scrambled(model))
    keras.backend.clear_session()


def test_regularization_and_frozen_layers_stay():
    model = small()
    old = to_tf_keras(model)
    assert float(old.losses[0]) == pytest.approx(float(model.losses[0]), rel=1e-6)
    model.get_layer("conv").trainable = False
    old = to_tf_keras(model)
    assert not old.get_layer("conv").trainable and old.get_layer("skip").trainable


def test_what_has_no_counterpart_is_named():
    inputs = keras.Input((4, 4, 2))

    @keras.saving.register_keras_serializable("tests")
    class Own(layers.Layer):
        def call(self, x):
            return x

    for x, named in (
        (Own(name="mine")(inputs), r"'mine' \(Own\) has no counterpart.*Replace it"),
        (layers.Lambda(lambda x: x, name="code")(inputs), r"'code' \(Lambda\) has no counterpart"),
        (keras.ops.reshape(inputs, (-1, 32)), r"\(Reshape\).*Use a layer instead"),
    ):
        with pytest.raises(ValueError, match=named):
            to_tf_keras(keras.Model(inputs, x))


@pytest.mark.parametrize(
    "layer, message",
    [
        (layers.RandomCrop(3, 3), r"shapes.*'named' \(RandomCrop\) differs first"),
        (layers.SpectralNormalization(layers.Conv2D(2, 3)), r"'named' \(SpectralNorm.*Replace it"),
    ],
)
def test_what_tf_keras_does_otherwise_is_named(layer, message):
    layer.name = "named"
    with pytest.raises(ValueError, match=message):
        to_tf_keras(keras.Sequential([keras.Input((4, 4, 2)), layer, layers.Flatten()]))


def test_functions_that_keras_3_does_not_have_are_named():
    tf_keras = pytest.importorskip("tf_keras")
    inputs = tf_keras.Input((4,))
    with pytest.raises(ValueError, match=r"tf\.math\.sin \(tf\.math\.sin\)"):
        from_tf_keras(tf_keras.Model(inputs, tf.math.sin(inputs)))


def test_models_of_code_are_refused():
    class Code(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="functional model"):
        to_tf_keras(Code())


def test_other_outputs_are_refused(monkeypatch):
    monkeypatch.setattr("tfkd.compression._to_tf_keras._copy", lambda layer, made: None)
    with pytest.raises(ValueError, match="rebuilt in tf_keras, does not compute the same"):
        to_tf_keras(small())


def plain(model):
    return to_tf_keras(model)


def quantized(model):
    return importing.load().quantization.keras.quantize_model(to_tf_keras(model))


def pruned(model):
    sparsity = importing.load().sparsity.keras
    schedule = sparsity.ConstantSparsity(0.5, begin_step=0, frequency=1)
    return sparsity.prune_low_magnitude(to_tf_keras(model), pruning_schedule=schedule)


def clustered(model):
    clustering = importing.load().clustering.keras
    start = clustering.CentroidInitialization.LINEAR
    return clustering.cluster_weights(
        to_tf_keras(model), number_of_clusters=4, cluster_centroids_init=start
    )


WRAPPINGS = {"plain": plain, "quantized": quantized, "pruned": pruned, "clustered": clustered}
X = np.random.default_rng(2).normal(size=(32, 8, 8, 2)).astype("float32")
Y = np.arange(32) % CLASSES


@pytest.fixture(params=WRAPPINGS)
def bridged(request):
    return BridgedModel(WRAPPINGS[request.param](small()))


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_trains_and_resumes(bridged, jit_compile, tmp_path):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    bridged.compile("sgd", loss, jit_compile=jit_compile)
    before = harness.snapshot(bridged)
    first = bridged.fit(X, Y, batch_size=16, epochs=4, shuffle=False, verbose=0).history["loss"]
    assert first[-1] < first[0] and not np.allclose(before[0], bridged.weights[0])
    # Keras 3's variables are those that the inner model computes with.
    np.testing.assert_allclose(bridged.predict(X, verbose=0), bridged.inner(X, training=False), atol=1e-5)
    bridged.save_weights(tmp_path / "some.weights.h5")
    kept = harness.snapshot(bridged)
    expected = bridged.predict(X, verbose=0)
    for variable in bridged.trainable_variables:
        variable.assign(0 * variable)
    bridged.load_weights(tmp_path / "some.weights.h5")
    harness.assert_same_weights(kept, bridged)
    np.testing.assert_allclose(bridged.predict(X, verbose=0), expected, atol=1e-6)


def test_is_saved_whole(bridged, tmp_path):
    bridged.compile("adam", "mse")
    bridged.fit(X, np.zeros((32, CLASSES)), verbose=0)
    bridged.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_allclose(loaded.predict(X, verbose=0), bridged.predict(X, verbose=0), atol=1e-6)


def test_is_a_model_with_layers_by_their_own_names(bridged):
    lines = []
    bridged.summary(print_fn=lines.append)
    assert "logits" in "\n".join(map(str, lines))
    assert bridged.input_shape == (None, 8, 8, 2) and bridged.output_shape == (None, CLASSES)
    assert {"conv", "norm", "relu", "add", "skip", "pool", "logits"} <= set(taps.named_layers(bridged))
    assert taps.shape(bridged, "relu") == (None, 8, 8, 8)
    assert taps.shape(bridged, "logits:input") == (None, 8)
    with taps.record(bridged, ["relu", "logits:input"]) as seen:
        bridged(X)
    assert seen["relu"].shape == (32, 8, 8, 8) and seen["logits:input"].shape == (32, 8)


def test_learns_features_from_a_teacher(bridged):
    teacher = small("teacher")
    hints = [losses.SoftTargets(2.0), losses.Hint("relu", "relu")]
    distiller = tfkd.Distiller(teacher, bridged, hints)
    distiller.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = distiller.fit(X, Y, epochs=3, verbose=0).history
    assert history["distillation_loss"][-1] < history["distillation_loss"][0]


@pytest.mark.parametrize("wrapped", [quantized, clustered])
def test_learns_without_data(wrapped):
    bridged = BridgedModel(wrapped(small()))
    teacher = scrambled(small("teacher"))
    recipe = tfkd.datafree.Procedural(batch_size=8, memory=16)
    distiller = tfkd.DataFreeDistiller(teacher, bridged, recipe, seed=0)
    distiller.compile()
    history = distiller.fit(epochs=1, steps_per_epoch=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    "layer",
    [
        *(layers.RandomFlip(), layers.RandomRotation(0.3), layers.RandomZoom(0.3)),
        *(layers.RandomTranslation(0.3, 0.3), layers.RandomContrast(0.5), layers.RandomBrightness(0.5)),
        *(layers.GaussianNoise(0.5), layers.SpatialDropout2D(0.5)),
    ],
)
def test_random_layers_work_in_training_only(layer):
    student = BridgedModel(to_tf_keras(keras.Sequential([keras.Input((8, 8, 3)), layer])))
    x = np.random.default_rng(0).uniform(size=(16, 8, 8, 3)).astype("float32")
    for training in (True, False):
        first, second = (student(x, training=training).numpy() for _ in range(2))
        assert np.array_equal(first, second) != training


def words(join=None):
    """An LSTM behind a masked sequence, or what joins two of them."""
    embedding = layers.Embedding(2, 4, mask_zero=True, embeddings_initializer="normal")
    inputs = [keras.Input((5,), dtype="int32") for _ in range(2 if join else 1)]
    seen = [embedding(each) for each in inputs]
    return keras.Model(inputs, layers.LSTM(3)(join(seen) if join else seen[0]))


def masked_steps(layer):
    inputs = keras.Input((6, 4))
    return keras.Model(inputs, layers.LSTM(3)(layer(layers.Masking()(inputs))))


@pytest.mark.parametrize(
    "model",
    [
        *(lambda: words(layers.Add()), lambda: words(layers.Concatenate())),
        lambda: masked_steps(layers.Rescaling(2.0)),
    ],
)
def test_masks_that_tf_keras_hands_on_otherwise_are_refused(model):
    with pytest.raises(ValueError, match=r"does not compute the same.*'lstm\w*' \(LSTM\) differs first"):
        to_tf_keras(model())


def test_masks_of_models_that_were_cloned():
    model = keras.models.clone_model(words())
    assert_same(model, to_tf_keras(model))


def calculating():
    """Arithmetic of tensors, numbers and arrays, inside a nested model and behind it."""
    inner_input = keras.Input((4,))
    x = layers.Dense(4)(inner_input)
    inner = keras.Model(inner_input, x * x + inner_input, name="inner")
    inputs = keras.Input((4,))
    y = inner(inputs)
    z = inner(y)
    scaled = (1 - y) / np.arange(1, 5, dtype="float32")
    return keras.Model(
        inputs, [y * y, y - z, scaled * z, keras.ops.subtract(np.ones(4, "float32"), inner(z))]
    )


@pytest.mark.parametrize("flatten", [False, True])
def test_arithmetic(flatten):
    model = calculating()
    old = to_tf_keras(model, flatten=flatten)
    assert_same(model, old)
    assert_same(model, from_tf_keras(old))


def test_functions_of_ones_own_come_back():
    tf_keras = pytest.importorskip("tf_keras")

    def shifted(x):
        return x + 1

    register = tf_keras.utils.register_keras_serializable("tests", "shifted")
    keras.saving.register_keras_serializable("tests", "shifted")(register(shifted))
    inputs = tf_keras.Input((4,))
    outputs = tf_keras.layers.Activation("relu")(tf_keras.layers.Dense(3, activation=shifted)(inputs))
    old = tf_keras.Model(inputs, outputs)
    x = np.ones((2, 4), "float32")
    np.testing.assert_allclose(from_tf_keras(old)(x), old(x), atol=1e-6)


def test_models_of_the_other_library_are_refused():
    with pytest.raises(TypeError, match=r"must be a tf_keras model.*a Keras 3 model"):
        from_tf_keras(small())
    with pytest.raises(TypeError, match=r"must be a Keras 3 model.*from_tf_keras"):
        to_tf_keras(to_tf_keras(small()))


def test_learns_under_xla_in_a_distiller():
    for wrapped in (quantized, pruned):
        student = BridgedModel(wrapped(small()))
        distiller = tfkd.Distiller(small("teacher"), student, losses.SoftTargets(2.0), None, 0.0)
        distiller.compile("adam", jit_compile=True)
        history = distiller.fit(X, epochs=3, verbose=0).history["loss"]
        assert history[-1] < history[0]


def test_pruning_needs_no_callback():
    student = BridgedModel(pruned(small()))
    student.compile("sgd", "mse")
    student.fit(X, np.zeros((32, CLASSES)), batch_size=8, verbose=0)
    # Masked once more by whoever runs it.
    student.predict(X, verbose=0)
    kernel = student.inner.layers[1].layer.kernel.numpy()
    assert np.mean(kernel == 0) == pytest.approx(0.5, abs=0.02)


_PROCESS = """
import os, sys
import tfkd, tensorflow as tf
assert not {"tf_keras", "tensorflow_model_optimization"} & set(sys.modules)
import tfkd.compression
assert not {"tf_keras", "tensorflow_model_optimization"} & set(sys.modules)
from tfkd.compression import _tfmot as tfmot
if %r:
    tf.keras.__version__
tfmot.load()
assert tf.keras.__version__.startswith("3."), tf.keras.__version__
assert "TF_USE_LEGACY_KERAS" not in os.environ
"""


@pytest.mark.parametrize("looked_at_before", [True, False])
def test_tf_keras_stays_what_it_is(looked_at_before):
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    code = _PROCESS % looked_at_before
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_users_own_setting_is_kept(monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")
    importing.load()
    assert os.environ["TF_USE_LEGACY_KERAS"] == "0" and tf.keras.__version__.startswith("3.")
