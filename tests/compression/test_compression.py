"""Pruned, clustered and quantization-aware students, and what is left when they are stripped."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.compression.test_bridge import CLASSES, X, Y, recurrent, scrambled, small
from tfkd import compression
from tfkd._core import asking
from tfkd.compression import BridgedModel, _sparse, prune, quantize_aware, strip
from tfkd.compression import _tfmot as tfmot

pytestmark = pytest.mark.slow

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def sparse():
    """A plain model with two thirds of its kernels' weights 0."""
    model = small()
    for weight in _sparse.kernels(model):
        values = weight.numpy()
        weight.assign(np.where(np.abs(values) < np.quantile(np.abs(values), 2 / 3), 0, values))
    return model


def few_values(offset=0.1):
    """A plain model with three values a kernel; one is 0 without the offset."""
    model = small()
    for weight in _sparse.kernels(model):
        weight.assign(np.round(weight.numpy() / np.abs(weight).max()) / 4 + offset)
    return model


STUDENTS = {
    "pruned": lambda: prune(small(), 0.5, schedule=(0, 4)),
    "pruned 2 of 4": lambda: prune(small(), schedule=(0, 0), m_by_n=(2, 4), layers=["skip", "logits"]),
    "pruned in blocks": lambda: prune(small(), 0.5, schedule=(0, 0), block_size=(2, 1)),
    "quantized": lambda: quantize_aware(small()),
    "quantized per tensor": lambda: quantize_aware(small(), scheme="int8_per_tensor"),
    "quantized in part": lambda: quantize_aware(small(), layers=["conv", "relu"]),
    "clustered": lambda: compression.cluster(small(), 4),
    "sparse, clustered": lambda: compression.cluster(sparse(), 4, "linear", preserve_sparsity=True),
    "sparse, quantized": lambda: quantize_aware(sparse(), preserve="sparsity"),
    "clustered, quantized": lambda: quantize_aware(few_values(), preserve="clusters"),
    "sparse, clustered, quantized": lambda: quantize_aware(
        few_values(0), preserve=["sparsity", "clusters"]
    ),
}
KEEP_ZEROS = [name for name in STUDENTS if name.startswith("sparse")]
FEW_VALUES = [name for name in STUDENTS if "clustered" in name]
CANNOT_BE_SAVED_WHOLE = ("clustered, quantized", "sparse, clustered, quantized", "sparse, clustered")


def made(name):
    keras.utils.set_random_seed(0)
    return STUDENTS[name]()


def trained(name, jit_compile=False):
    student = made(name)
    student.compile(keras.optimizers.Adam(0.01), LOSS, jit_compile=jit_compile)
    losses = student.fit(X, Y, batch_size=8, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    return student


@pytest.mark.parametrize("name", STUDENTS)
def test_learns_goes_on_from_a_file_and_is_stripped(name, tmp_path):
    student, zeros = trained(name), compression.sparsity(made(name))
    student.save_weights(tmp_path / "some.weights.h5")
    same = made(name)
    same.load_weights(tmp_path / "some.weights.h5")
    harness.assert_same_weights(harness.snapshot(student), same)
    np.testing.assert_allclose(same.predict(X, verbose=0), student.predict(X, verbose=0), atol=1e-6)
    if name in CANNOT_BE_SAVED_WHOLE:
        with pytest.raises(ValueError, match="strip"):
            student.save(tmp_path / "student.keras")
    else:
        student.save(tmp_path / "student.keras")
        assert_goes_on(student, keras.models.load_model(tmp_path / "student.keras"))
    assert_stripped(student, name, zeros)


def assert_goes_on(student, loaded):
    """Trained further, a model of a file ends as the one it was made of."""
    np.testing.assert_allclose(loaded.predict(X, verbose=0), student.predict(X, verbose=0), atol=1e-6)
    for each in (student, loaded):
        each.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    np.testing.assert_allclose(loaded.predict(X, verbose=0), student.predict(X, verbose=0), atol=1e-4)
    for ours, theirs in zip(strip(student).get_weights(), strip(loaded).get_weights(), strict=True):
        np.testing.assert_array_equal(ours == 0, theirs == 0)


def assert_stripped(student, name, zeros):
    """What is left is a plain model that answers alike, with its zeros and few values."""
    plain = strip(student)
    assert not isinstance(plain, BridgedModel) and plain.count_params() == small().count_params()
    if "quantized" not in name:
        np.testing.assert_allclose(
            plain.predict(X, verbose=0), student.predict(X, verbose=0), rtol=1e-5, atol=1e-5
        )
    if name in KEEP_ZEROS:
        assert compression.sparsity(plain) >= zeros > 0.3
    if name in FEW_VALUES:
        kernels = (kernel.numpy() for kernel in _sparse.kernels(plain))
        # tfmot finds the values of each channel of a convolution that is quantized.
        channels = (channel for kernel in kernels for channel in np.moveaxis(kernel, -1, 0))
        assert all(len(np.unique(channel)) <= 4 for channel in channels)


@pytest.mark.xla
@pytest.mark.parametrize("name", ["pruned", "quantized", "sparse, clustered, quantized"])
def test_learns_under_xla(name):
    student = trained(name, jit_compile=True)
    assert_stripped(student, name, compression.sparsity(made(name)))


def test_sparsity_follows_the_schedule_of_updates():
    student = prune(small(), 0.75, schedule=(4, 12), layers=["conv", "logits"])
    student.compile("sgd", LOSS)
    seen = []
    for _ in range(14):
        student.fit(X[:8], Y[:8], verbose=0)
        seen.append(compression.sparsity(strip(student)))
    whole = _sparse.kernels(small())
    share = sum(np.size(w) for w in whole if w.path.startswith(("conv", "logits"))) / sum(
        map(np.size, whole)
    )
    assert max(seen[:3]) == 0 and seen == sorted(seen)
    assert seen[-1] == pytest.approx(0.75 * share, abs=0.01)
    # Cubic: more than half of it in the first half.
    assert seen[7] > 0.6 * seen[-1]


def test_pruned_weights_are_zero_right_after_every_update():
    student = prune(small(), 0.5, schedule=(0, 0))
    student.compile("adam", LOSS)
    student.fit(X[:8], Y[:8], verbose=0)
    kernel = next(w for w in student.weights if w.name == "conv_kernel")
    assert np.mean(kernel.numpy() == 0) == pytest.approx(0.5, abs=0.02)


def test_a_schedule_of_tfmot_knows_its_own_sparsity():
    schedule = tfmot.load().sparsity.keras.ConstantSparsity(0.25, 0, frequency=1)
    # What the argument says has no say.
    student = prune(small(), 2.0, schedule)
    student.compile("adam", LOSS)
    student.fit(X[:8], Y[:8], verbose=0)
    assert compression.sparsity(strip(student)) == pytest.approx(0.25, abs=0.02)
    with pytest.raises(ValueError, match="`distribution` must be 'uniform'"):
        prune(small(), 0.5, schedule, distribution="lamp")


def test_two_of_four_neighbours_along_the_inputs():
    student = trained("pruned 2 of 4")
    kernel = strip(student).get_layer("skip").kernel.numpy().reshape(-1, 8)
    assert kernel.shape == (8, 8)
    assert (np.sum(kernel.T.reshape(-1, 4) == 0, axis=1) == 2).all()


def test_dense_kernels_are_pruned_in_whole_blocks():
    kernel = strip(trained("pruned in blocks")).get_layer("logits").kernel.numpy() == 0
    blocks = kernel.reshape(4, 2, CLASSES)
    assert (blocks[:, 0] == blocks[:, 1]).all() and kernel.mean() == 0.5


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_recurrent_kernels_are_pruned(kind):
    inputs = keras.Input((5, 4))
    model = keras.Model(inputs, layers.Dense(CLASSES)(kind(8, name="recurrent")(inputs)))
    student = prune(model, 0.5, schedule=(0, 0), layers=["recurrent"])
    student.compile("adam", LOSS)
    student.fit(X[:, :5, 0, :1] * np.ones(4, "float32"), Y, verbose=0)
    cell = strip(student).get_layer("recurrent").cell
    assert [np.mean(np.equal(w, 0)) for w in (cell.kernel, cell.recurrent_kernel)] == [0.5, 0.5]


def test_only_the_layers_that_are_named_are_clustered():
    student = compression.cluster(small(), 4, layers=["conv"])
    values = {name: np.unique(strip(student).get_layer(name).kernel).size for name in ("conv", "skip")}
    assert values["conv"] <= 4 < values["skip"]


def test_a_scheme_of_ones_own():
    tfmot.load()
    from tensorflow_model_optimization.python.core.quantization.keras import default_8bit

    class DenseAlone(default_8bit.default_8bit_quantize_registry.Default8BitQuantizeRegistry):
        def supports(self, layer):
            return type(layer).__name__ == "Dense"

    class Scheme(default_8bit.default_8bit_quantize_scheme.Default8BitQuantizeScheme):
        def get_quantize_registry(self):
            return DenseAlone()

    student = quantize_aware(small(), scheme=Scheme(), images=X)
    assert {"conv", "skip"} <= set(compression.float_layers(student))
    assert "logits" not in compression.float_layers(student)


@pytest.mark.parametrize("make", [lambda model: prune(model, 0.5, (0, 0)), compression.cluster])
def test_layers_of_layers_are_stripped(make):
    """A Bidirectional and a TimeDistributed hold a layer, as the wrappers of tfmot do."""
    model = recurrent()
    student = make(model)
    assert {"bidirectional", "time_distributed"} <= {
        name.rpartition("_")[0] if name[-1].isdigit() else name for name in tfkd.taps.named_layers(student)
    }
    x = np.random.default_rng(0).normal(size=(8, *model.input_shape[1:])).astype("float32")
    student.compile("adam", "mse")
    student.fit(x, model(x), verbose=0)
    stripped = strip(student)
    np.testing.assert_allclose(stripped(x), student(x), rtol=1e-5, atol=1e-5)
    assert np.abs(stripped(x) - model(x)).max() > 1e-4


def test_sums_written_as_operations_are_quantized():
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    x = layers.Conv2D(4, 3, padding="same", name="second")(x) + x
    model = keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(layers.Conv2D(4, 3)(x))))
    student = quantize_aware(model, images=X)
    assert compression.float_layers(student) == []
    difference = np.abs(student.predict(X, verbose=0) - model.predict(X, verbose=0)).max()
    assert 0 < difference < 0.05 * np.ptp(model.predict(X, verbose=0))
    doubled = keras.Model(inputs, layers.Conv2D(4, 3, name="third")(x * 2))
    student = quantize_aware(doubled, images=X)
    np.testing.assert_allclose(student(X), doubled(X), atol=0.02 * np.ptp(doubled(X)))


def test_a_model_that_is_not_the_one_inside_is_refused():
    inner = compression.to_tf_keras(small())
    inputs = keras.Input((8, 8, 2))
    other = keras.Model(inputs, layers.Conv2D(3, 1, name="another")(inputs))
    with pytest.raises(ValueError, match=r"has no layers with the weights .*another/bias.*another/kernel"):
        strip(BridgedModel(inner, plain=other))


def test_ranges_begin_with_those_of_images():
    model = small()
    student = quantize_aware(model, images=X)
    expected = model.predict(X, verbose=0)
    error = np.abs(student.predict(X, verbose=0) - expected).max()
    assert 0 < error < 0.05 * np.ptp(expected)
    other = quantize_aware(model, images=X / 10)
    assert np.abs(other.predict(X, verbose=0) - expected).max() > 3 * error
    compression.calibrate(other, X)
    np.testing.assert_allclose(other.predict(X, verbose=0), student.predict(X, verbose=0), atol=1e-5)
    harness.assert_same_weights(harness.snapshot(model), model)


def ranges(student):
    """Every minimum and maximum that a quantization-aware student holds."""
    return [w.numpy() for w in student.inner.weights if w.name.endswith(("min:0", "max:0"))]


@pytest.mark.parametrize("order", [1, -1])
def test_ranges_of_parts_are_those_of_the_whole(order, monkeypatch):
    # The largest values are in one part alone, be it the first or the last.
    images = X[: len(X) // 2 * 2] * np.linspace(0.1, 1, len(X) // 2 * 2)[::order, None, None, None]
    model = small()
    whole = ranges(quantize_aware(model, images=images))
    # Each goes by itself.
    monkeypatch.setattr(asking, "PART_BYTES", 1)
    parts = ranges(quantize_aware(model, images=images))
    assert len(whole) == len(parts) > 4
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=0.02, atol=0.02)


def test_ranges_are_those_of_the_images_given_last():
    student = quantize_aware(small(), images=X)
    expected = ranges(student)
    compression.calibrate(student, 10 * X)
    assert max(np.abs(one - other).max() for one, other in zip(ranges(student), expected, strict=True)) > 1
    compression.calibrate(student, X)
    for one, other in zip(ranges(student), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_what_stays_in_float_is_listed():
    inputs = keras.Input((8, 8, 2))
    x = layers.Rescaling(2.0, name="scaling")(inputs)
    x = layers.Conv2D(4, 3, activation="elu", name="elu")(x)
    x = layers.BatchNormalization(name="before")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Conv2D(4, 3, activation="swish", name="swish")(x)
    x = layers.Conv2D(4, 3, name="conv")(x)
    x = layers.BatchNormalization(name="folded")(x)
    x = layers.Activation("hard_silu", name="hard")(x)
    outputs = layers.Dense(CLASSES, name="logits")(layers.Flatten(name="flat")(x))
    student = quantize_aware(scrambled(keras.Model(inputs, outputs)))
    assert compression.float_layers(student) == ["scaling", "elu", "before", "hard"]
    assert compression.is_quantization_aware(student)
    assert not compression.is_quantization_aware(prune(small()))


def cluster_in_two(model):
    """Leaves two values in each kernel."""
    for weight in _sparse.kernels(model):
        weight.assign(np.where(weight.numpy() < 0, -0.113, 0.087))


def has_two_values_a_channel(kernel):
    """Whether two clusters are still there; of convolutions tfmot takes each channel for itself."""
    return all(len(np.unique(channel)) <= 2 for channel in np.moveaxis(kernel, -1, 0))


@pytest.mark.parametrize("activation", [layers.ReLU, lambda: layers.Activation("relu")])
def test_kernels_before_a_relu_are_rounded_and_keep_their_clusters(activation, tmp_path):
    inputs = keras.Input((8, 8, 2))
    x = activation()(layers.Conv2D(8, 3, name="conv")(inputs))
    x = activation()(layers.DepthwiseConv2D(3, name="depthwise")(x))
    x = activation()(layers.Dense(8, name="dense")(layers.Flatten()(x)))
    model = keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x))
    cluster_in_two(model)
    student = quantize_aware(model, images=X, preserve="clusters")
    student.compile("adam", LOSS)
    student.fit(X, Y, epochs=2, verbose=0)
    assert compression.float_layers(student) == []
    for name in ("conv", "dense"):
        kernel = strip(student).get_layer(name).kernel.numpy()
        assert has_two_values_a_channel(kernel)
        assert np.abs(kernel + 0.113).min() > 1e-5
    # Rounded means that what is less than half a step is not seen.
    plain = quantize_aware(model, images=X)
    assert plain.get_layer("bridge").inner_layers()["depthwise"]._weight_vars
    before = plain.predict(X, verbose=0)
    kernel = next(w for w in plain.weights if "conv_kernel" in w.name)
    kernel.assign(np.where(kernel.numpy() < 0, kernel.numpy(), kernel.numpy() + 1e-5))
    np.testing.assert_array_equal(plain.predict(X, verbose=0), before)
    tfkd.export.export_tflite(plain, tmp_path / "model.tflite", "int8")
    written = tfkd.export.run_tflite(tmp_path / "model.tflite", X)
    np.testing.assert_allclose(written, before, atol=0.03 * np.ptp(before))
    plain.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        keras.models.load_model(tmp_path / "model.keras").predict(X, verbose=0), before
    )


@pytest.mark.parametrize("scheme", ["int8", "int8_per_tensor"])
def test_kernels_before_a_concatenation_are_rounded_as_the_scheme_says(scheme, tmp_path):
    inputs = keras.Input((8, 8, 2))
    branches = [layers.Conv2D(4, 3, name=name)(inputs) for name in ("left", "right", "frozen")]
    x = layers.Flatten()(layers.ReLU()(layers.Concatenate()(branches)))
    model = keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x))
    cluster_in_two(model)
    model.get_layer("frozen").trainable = False
    preserve = "clusters" if scheme == "int8" else ()
    student = quantize_aware(model, scheme=scheme, images=X, preserve=preserve)
    student.compile("adam", LOSS)
    student.fit(X, Y, epochs=2, verbose=0)
    for name in ("left", "right"):
        kernel = strip(student).get_layer(name).kernel.numpy()
        steps = student.get_layer("bridge").inner_layers()[name]._weight_vars[0][2]["min_var"].shape
        if scheme == "int8":
            assert has_two_values_a_channel(kernel)
            assert steps == (4,)
        else:
            assert steps == ()
        assert np.abs(kernel + 0.113).min() > 1e-5
    tfkd.export.export_tflite(student, tmp_path / "model.tflite", "int8")
    expected = student.predict(X, verbose=0)
    written = tfkd.export.run_tflite(tmp_path / "model.tflite", X)
    np.testing.assert_allclose(written, expected, atol=0.03 * np.ptp(expected))
    if not preserve:
        student.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded.predict(X, verbose=0), expected)


def test_separable_convolutions_are_quantized_as_two(tmp_path):
    inputs = keras.Input((8, 8, 2))
    options = {"depth_multiplier": 2, "depthwise_regularizer": "l2", "pointwise_constraint": "max_norm"}
    inner = layers.SeparableConv2D(4, 3, strides=2, padding="same", name="sep", **options)
    x = keras.Sequential([keras.Input((8, 8, 2)), inner, layers.BatchNormalization()], name="block")(inputs)
    x = layers.SeparableConv2D(5, 2, use_bias=False, activation="relu", name="other")(
        inputs=layers.ReLU()(x)
    )
    model = scrambled(keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(x))))
    expected = model.predict(X, verbose=0)
    student = quantize_aware(model, images=X)
    assert compression.float_layers(student) == []
    assert {"block/sep", "block/sep/depthwise", "other"} <= set(tfkd.taps.named_layers(student))
    depthwise = student.get_layer("bridge").inner_layers()["block/sep/depthwise"].layer
    assert depthwise.depthwise_regularizer is not None and depthwise.depth_multiplier == 2
    error = np.abs(student.predict(X, verbose=0) - expected).max()
    assert 0 < error < 0.05 * np.ptp(expected)
    harness.assert_same_weights(harness.snapshot(model), strip(student))
    first = inner.depthwise_kernel.numpy()
    student.compile("adam", "mse")
    student.fit(X, expected, verbose=0)
    learned = strip(student).get_layer("block").get_layer("sep").depthwise_kernel.numpy()
    assert learned.shape == first.shape and np.abs(learned - first).max() > 0
    tfkd.export.export_tflite(student, tmp_path / "separable.tflite", "int8")
    written = tfkd.export.run_tflite((tmp_path / "separable.tflite").read_bytes(), X)
    np.testing.assert_allclose(written, student.predict(X, verbose=0), atol=0.03 * np.ptp(expected))
    chosen = quantize_aware(model, layers=["other"], images=X)
    names = compression.float_layers(chosen)
    assert "block/sep" in names and "block/sep/depthwise" in names and "other/depthwise" not in names


def test_nested_and_normalized_models():
    norm = layers.Normalization(name="norm")
    norm.adapt(X)
    inner = keras.Sequential([keras.Input((8, 8, 2)), norm, layers.Conv2D(4, 3, name="conv")], name="block")
    inputs = keras.Input((8, 8, 2))
    model = keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(inner(inputs))))
    expected = model.predict(X, verbose=0)
    students = (
        prune(model, layers=["block/conv"]),
        quantize_aware(model, images=X),
        compression.cluster(model),
    )
    for student in students:
        assert "block/conv" in tfkd.taps.named_layers(student)
        assert np.abs(student.predict(X, verbose=0) - expected).max() < 0.2 * np.ptp(expected)
    plain = strip(prune(model))
    np.testing.assert_allclose(plain.predict(X, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize("make", [lambda model: prune(model, 0.5, (0, 0)), quantize_aware])
def test_frozen_layers_stay(make, tmp_path):
    model = small()
    model.get_layer("conv").trainable = False
    student = make(model)
    student.compile("adam", LOSS)
    student.fit(X, Y, epochs=2, verbose=0)
    plain = strip(student)
    np.testing.assert_array_equal(plain.get_layer("conv").kernel, model.get_layer("conv").kernel)
    assert not np.array_equal(plain.get_layer("skip").kernel, model.get_layer("skip").kernel)


def test_a_frozen_student_that_keeps_zeros_is_loaded(tmp_path):
    student = made("sparse, quantized")
    student.trainable = False
    student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_allclose(loaded.predict(X, verbose=0), student.predict(X, verbose=0), atol=1e-6)


def test_activations_of_keras_3_are_known_in_another_process(tmp_path):
    inputs = keras.Input((4,))
    x = layers.Activation("hard_sigmoid")(layers.Dense(3)(inputs))
    student = prune(keras.Model(inputs, x), 0.5)
    student.save(tmp_path / "student.keras")
    np.save(tmp_path / "expected.npy", student.predict(np.eye(4), verbose=0))
    program = (
        "import sys, keras, numpy as np, tfkd; folder = sys.argv[1]; "
        "loaded = keras.models.load_model(folder + '/student.keras'); "
        "expected = np.load(folder + '/expected.npy'); "
        "assert np.allclose(loaded.predict(np.eye(4), verbose=0), expected, atol=1e-6)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_only_kernels_are_pruned_and_counted():
    inputs = keras.Input((4, 6))
    x = layers.PReLU(shared_axes=[1])(layers.Dense(5)(inputs))
    model = keras.Model(inputs, layers.MultiHeadAttention(2, 3)(x, x))
    assert compression.sparsity(model) == 0.0
    names = {kernel.name for kernel in _sparse.kernels(model)}
    assert names == {"kernel"} and len(_sparse.kernels(model)) == 5


def test_several_inputs_are_calibrated_in_their_structure():
    one, two = keras.Input((4,), name="one"), keras.Input((3,), name="two")
    x = layers.Concatenate()([layers.Dense(4)(one), layers.Dense(4)(two)])
    model = keras.Model({"one": one, "two": two}, layers.Dense(2)(x))
    rng = np.random.default_rng(0)
    images = {"one": rng.normal(size=(50, 4)), "two": rng.normal(size=(50, 3))}
    student = quantize_aware(model, images=images)
    expected = model.predict(images, verbose=0)
    assert np.abs(student.predict(images, verbose=0) - expected).max() < 0.05 * np.ptp(expected)
    with pytest.raises(ValueError, match="`images` is needed"):
        quantize_aware(model)


def test_a_frozen_student_keeps_statistics_ranges_and_sparsity():
    for name in ("pruned", "quantized"):
        student = made(name)
        student.trainable = False
        before = harness.snapshot(student)
        student(X, training=True)
        harness.assert_same_weights(before, student)


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small()
        for make in (prune, quantize_aware, compression.cluster):
            student = make(model)
            student.compile("adam", LOSS)
            history = student.fit(X, Y, epochs=4, verbose=0).history["loss"]
            assert np.isfinite(history).all() and history[-1] < history[0]
            assert {w.dtype for w in student.trainable_variables} == {"float32"}
    finally:
        keras.config.set_dtype_policy("float32")


MAKERS = {
    "bridged": lambda model: BridgedModel(compression.to_tf_keras(model)),
    "pruned": lambda model: prune(model, 0.2),
    "clustered": lambda model: compression.cluster(model, 8),
    "quantized": lambda model: quantize_aware(model, images=np.eye(6, dtype="float32")),
}


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("name", MAKERS)
def test_dropout_works_in_training_only(name, jit_compile):
    inputs = keras.Input((6,))
    outputs = layers.Dense(CLASSES)(layers.Dropout(0.5)(layers.Dense(32)(inputs)))
    student = MAKERS[name](keras.Model(inputs, outputs))
    run = tf.function(student, jit_compile=jit_compile, autograph=False)
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    for training in (True, False):
        first, second = (run(x, training=training) for _ in range(2))
        assert (np.abs(first - second).max() > 0.1) == training


def test_quantization_distillation_with_data():
    teacher = small("teacher")
    student = quantize_aware(scrambled(small(), seed=3))
    distiller = tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets(2.0), student_loss_weight=0.3)
    distiller.compile(keras.optimizers.Adam(0.01), LOSS)
    history = distiller.fit(X, Y, epochs=4, verbose=0).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize("name", ["pruned", "quantized", "sparse, quantized"])
def test_quantization_distillation_without_data(name):
    teacher = small("teacher")
    recipe = tfkd.datafree.DFAD(batch_size=8, latent_size=8, filters=4, student_steps=2, epochs=1)
    distiller = tfkd.DataFreeDistiller(teacher, STUDENTS[name](), recipe, seed=0)
    distiller.compile()
    history = distiller.fit(epochs=1, steps_per_epoch=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def subclassed():
    class Code(keras.Model):
        def call(self, x):
            return x

    return Code()


def with_lambda():
    inputs = keras.Input((8, 8, 2))
    return keras.Model(inputs, layers.Conv2D(2, 1)(layers.Lambda(lambda x: x, name="code")(inputs)))


def with_shared_layer(kind=layers.Conv2D):
    inputs = keras.Input((8, 8, 2))
    conv = kind(2, 1, name="twice")
    return keras.Model(inputs, conv(conv(inputs)))


def masked_words(layer):
    inputs = keras.Input((5,), dtype="int32")
    x = layers.LSTM(3, name="lstm")(layers.Embedding(10, 4, mask_zero=True, name="words")(inputs))
    return prune(keras.Model(inputs, layers.Dense(2, name="logits")(x)), layers=layer)


def masked_steps():
    x = inputs = keras.Input((5, 4))
    for layer in (
        layers.Masking(),
        layers.Dense(4, name="seen"),
        layers.LSTM(3),
        layers.Dense(2, name="out"),
    ):
        x = layer(x)
    return quantize_aware(keras.Model(inputs, x), layers=["seen"], images=np.ones((8, 5, 4), "float32"))


BAD = [
    (lambda: prune(compression.to_tf_keras(small())), TypeError, "Keras 3 model.*from_tf_keras"),
    (lambda: masked_words(None), ValueError, "masks, which tfmot's wrappers lose: words.*others"),
    (masked_steps, ValueError, "masks, which tfmot's wrappers lose: seen"),
    (lambda: masked_words(["lstm"]), ValueError, "masks, which tfmot's wrappers lose: lstm"),
    (lambda: prune(subclassed()), ValueError, "functional"),
    (lambda: prune(with_lambda()), ValueError, r"'code' \(Lambda\) has no counterpart"),
    (lambda: quantize_aware(with_shared_layer()), ValueError, "called several times.*: twice"),
    (lambda: quantize_aware(with_shared_layer(layers.SeparableConv2D)), ValueError, r"once: twice\. Use"),
    (lambda: prune(prune(small())), ValueError, "wrapped already.*strip"),
    (lambda: quantize_aware(prune(small())), ValueError, "wrapped already.*preserve"),
    (lambda: prune(small(), 1.0), ValueError, "`final_sparsity` must be at least 0 and below 1.*1.0"),
    (lambda: prune(small(), -0.1), ValueError, "`final_sparsity`"),
    (lambda: prune(small(), "half"), TypeError, "`final_sparsity` must be a number"),
    (lambda: prune(small(), schedule=(10, 5)), ValueError, "`schedule`"),
    (lambda: prune(small(), schedule=100), ValueError, "`schedule` must be two integers"),
    (lambda: prune(small(), m_by_n=(4, 2)), ValueError, "`m_by_n`"),
    (lambda: prune(small(), m_by_n=(2, 4), block_size=(2, 1)), ValueError, "cannot be combined"),
    (lambda: prune(small(), block_size=(2, 2), layers=["conv"]), ValueError, "in blocks.*: conv"),
    (lambda: prune(small(), layers=["relu"]), ValueError, r"cannot be pruned: relu \(ReLU\)"),
    (lambda: prune(small(), layers=["con"]), ValueError, "Did you mean 'conv'"),
    (lambda: prune(small(), layers="conv"), TypeError, "several names"),
    (lambda: compression.cluster(small(), 1), ValueError, "at least 2"),
    (lambda: compression.cluster(small(), 2.5), TypeError, "an integer"),
    (lambda: compression.cluster(small(), 4, "best"), ValueError, "kmeans_plus_plus"),
    (lambda: quantize_aware(small(), scheme="int7"), ValueError, "int8_per_tensor"),
    (lambda: quantize_aware(small(), preserve="size"), ValueError, "sparsity and clusters"),
    (lambda: quantize_aware(small(), preserve="sparsity"), ValueError, "no zeros to preserve"),
    (lambda: quantize_aware(small(), images=X[:, :4]), ValueError, r"\(n, 8, 8, 2\)"),
    (lambda: quantize_aware(small(), preserve="clusters"), ValueError, "is clustered"),
    (lambda: compression.cluster(small(), preserve_sparsity=True), ValueError, "no zeros to preserve"),
    (lambda: compression.calibrate(small(), X), TypeError, "from quantize_aware"),
    (lambda: compression.float_layers(prune(small())), TypeError, "from quantize_aware"),
    (lambda: strip(small()), TypeError, "nothing to strip"),
    (lambda: strip(BridgedModel(compression.to_tf_keras(small()))), ValueError, "plain=model"),
]


@pytest.mark.parametrize("make, error, message", BAD)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        make()


@pytest.mark.parametrize("freeze", [False, True])
def test_batch_normalizations_stay_as_they_are_if_asked_to(freeze, tmp_path):
    model = small()
    model.trainable = True
    student = quantize_aware(model, freeze_batch_norm=freeze)
    student.save(tmp_path / "student.keras")
    for each in (student, keras.models.load_model(tmp_path / "student.keras")):
        each.compile(keras.optimizers.SGD(0.1), LOSS)
        each.fit(X, Y, batch_size=8, verbose=0)
        plain = strip(each)
        assert all(layer.trainable for layer in plain.layers)
        for layer in model.layers:
            if layer.weights:
                changed = [
                    not np.array_equal(a, b)
                    for a, b in zip(layer.weights, plain.get_layer(layer.name).weights, strict=True)
                ]
                frozen = freeze and isinstance(layer, layers.BatchNormalization)
                assert not any(changed) if frozen else all(changed), layer.name
