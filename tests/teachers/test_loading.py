import json
import pathlib
import warnings
import zipfile

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfkd
from generators import probe_images
from tests import harness
from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tfkd.teachers import TeacherWarning, diagnose


def load_quietly(*args, **kwargs):
    """For teachers that are untrained on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TeacherWarning)
        return tfkd.load_teacher(*args, **kwargs)


def accuracy(model, n=256):
    x, y = blobs(n, seed=5)
    return np.mean(model.predict(x, verbose=0).argmax(-1) == y)


def test_softmax_is_taken_off(teacher, trained):
    x, _ = blobs(32)
    logits = teacher(x, training=False)
    np.testing.assert_allclose(ops.softmax(logits), trained(x), rtol=1e-4, atol=1e-6)
    assert np.abs(np.sum(logits, -1) - 1).max() > 0.1
    assert accuracy(teacher) > 0.9


def softmax_layer():
    inputs = keras.Input(SHAPE)
    x = layers.Dense(CLASSES)(layers.Flatten()(inputs))
    return keras.Model(inputs, layers.Softmax()(x))


def softmax_activation_then_reshape():
    inputs = keras.Input(SHAPE)
    x = layers.Activation("softmax")(layers.Dense(CLASSES)(layers.Flatten()(inputs)))
    return keras.Model(inputs, layers.Reshape((CLASSES,))(x))


def nested_softmax():
    inner = small_network(4, "softmax", "inner")
    return keras.Sequential([keras.Input(SHAPE), inner])


class SubclassedSoftmax(keras.Model):
    def __init__(self):
        super().__init__()
        self.flat, self.dense = layers.Flatten(), layers.Dense(CLASSES, activation="softmax")

    def call(self, x):
        return self.dense(self.flat(x))


def subclassed():
    model = SubclassedSoftmax()
    model.build((None, *SHAPE))
    # Keras knows the shapes of a subclassed model only inside another.
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, model(inputs))


@pytest.mark.parametrize(
    "build",
    [
        lambda: small_network(4, "softmax"),
        softmax_layer,
        softmax_activation_then_reshape,
        nested_softmax,
        subclassed,
    ],
    ids=["activation", "Softmax layer", "then reshape", "nested", "subclassed"],
)
def test_probabilities_come_back_as_softmax_of_logits(build):
    model = build()
    x, _ = blobs(8)
    logits = load_quietly(model)(x)
    np.testing.assert_allclose(ops.softmax(logits), model(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ending", ["linear", "relu"])
def test_linear_and_relu_endings_are_logits_as_they_stand(ending):
    model = small_network(4, ending)
    x, _ = blobs(8)
    np.testing.assert_allclose(load_quietly(model)(x), model(x), rtol=1e-5)


def test_sigmoid_is_taken_off():
    model = small_network(4, "sigmoid")
    x, _ = blobs(8)
    np.testing.assert_allclose(ops.sigmoid(load_quietly(model)(x)), model(x), rtol=1e-4)


def test_one_sigmoid_unit_becomes_two_logits():
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(1, activation="sigmoid")])
    x, _ = blobs(8)
    p = ops.softmax(load_quietly(model)(x))
    np.testing.assert_allclose(p[:, 1], model(x)[:, 0], rtol=1e-4)
    assert p.shape == (8, 2)


def test_an_ending_that_is_used_elsewhere_too_changes_nothing_there():
    softmax, sigmoid = layers.Softmax(), layers.Activation("sigmoid")
    x = inputs = keras.Input((8, 8, 1))
    hidden = softmax(layers.Dense(7)(layers.Flatten()(x)))
    shared = keras.Model(inputs, softmax(layers.Dense(3)(hidden)))
    images = np.random.default_rng(0).uniform(size=(5, 8, 8, 1)).astype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tfkd.teachers.TeacherWarning)
        logits = tfkd.load_teacher(shared)(images)
    np.testing.assert_allclose(keras.ops.softmax(logits), shared(images), atol=1e-5)
    hidden = sigmoid(layers.Dense(7)(layers.Flatten()(x)))
    shared = keras.Model(inputs, sigmoid(layers.Dense(3)(hidden)))
    with pytest.raises(ValueError, match="a sigmoid that is also used elsewhere"):
        tfkd.load_teacher(shared)


def of_somebody(shape, dtype=None):
    return np.random.default_rng(0).normal(size=shape)


def test_a_last_layer_that_cannot_be_made_again_loses_its_softmax_too():
    """Its configuration names an initializer that no file knows."""
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten()])
    model.add(layers.Dense(CLASSES, activation="softmax", kernel_initializer=of_somebody))
    x, _ = blobs(8)
    logits = load_quietly(model)(x)
    np.testing.assert_allclose(ops.softmax(logits), model(x), rtol=1e-4, atol=1e-6)
    assert np.min(logits) < -1


def test_adapted_input_statistics_are_kept():
    inputs = keras.Input(SHAPE)
    norm = layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(3, 2, (50, *SHAPE)))
    model = keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(norm(inputs))))
    x, _ = blobs(8)
    np.testing.assert_allclose(load_quietly(model)(x), model(x), rtol=1e-5)


@keras.saving.register_keras_serializable(package="tests")
def disguised_softmax(x):
    return ops.softmax(x)


def test_probabilities_by_word():
    """A model whose last layer does not say that it returns probabilities."""
    model = small_network(4, disguised_softmax)
    images, _ = blobs(8)
    logits = load_quietly(model, from_logits=False)(images)
    np.testing.assert_allclose(ops.softmax(logits), model(images), rtol=1e-4)


def test_from_logits_overrules_the_ending():
    x, _ = blobs(8)
    ends_in_softmax = small_network(4, "softmax")
    kept = load_quietly(ends_in_softmax, from_logits=True)
    np.testing.assert_allclose(kept(x), ends_in_softmax(x), rtol=1e-5)
    binary = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(1)])
    pair = load_quietly(binary, from_logits=True)(x)
    np.testing.assert_allclose(pair[:, 1] - pair[:, 0], binary(x)[:, 0], rtol=1e-5)


@pytest.mark.parametrize(
    ("scaling", "pipeline"),
    [
        ({"input_range": (0, 255)}, lambda x: 255 * x),
        ({"input_range": (-1, 1)}, lambda x: 2 * x - 1),
        ({"mean": 0.13, "std": 0.3}, lambda x: (x - 0.13) / 0.3),
        ({"input_range": (0, 255), "mean": [100.0], "std": [50.0]}, lambda x: (255 * x - 100) / 50),
        (
            {"mean": np.linspace(0, 1, 144).reshape(SHAPE)},
            lambda x: x - np.linspace(0, 1, 144).reshape(SHAPE),
        ),
    ],
    ids=["255", "-1 to 1", "mean and std", "per channel", "mean image"],
)
def test_scaling_is_put_in_front_and_survives_saving(scaling, pipeline, tmp_path):
    model = small_network(4)
    teacher = load_quietly(model, **scaling)
    x, _ = blobs(8)
    expected = model(pipeline(x).astype("float32"))
    np.testing.assert_allclose(teacher(x), expected, rtol=1e-4, atol=1e-5)
    teacher.save(tmp_path / "wrapped.keras")
    np.testing.assert_allclose(
        keras.models.load_model(tmp_path / "wrapped.keras")(x), expected, rtol=1e-4, atol=1e-5
    )


def test_layers_stay_reachable_by_their_own_names(teacher):
    assert teacher.get_layer("relu1") is not None
    with tfkd.taps.record(teacher, ["relu1"]) as seen:
        teacher(blobs(2)[0])
    assert seen["relu1"].shape == (2, 12, 12, 8)


def test_the_given_model_is_not_changed(trained):
    before = harness.snapshot(trained)
    tfkd.load_teacher(trained, input_range=(0, 1))
    harness.assert_same_weights(before, trained)
    assert trained.layers[-1].activation.__name__ == "softmax"


def test_a_good_teacher_is_not_suspected(teacher):
    assert diagnose(teacher) is None


def test_an_untrained_teacher_is_suspected():
    with pytest.warns(TeacherWarning, match="looks untrained.*`input_range`"):
        tfkd.load_teacher(small_network(4))


def test_a_wrongly_scaled_teacher_is_suspected(trained):
    with pytest.warns(TeacherWarning, match="`input_range`"):
        tfkd.load_teacher(trained, input_range=(0, 2550))


def test_broken_weights_are_refused(trained):
    model = keras.models.clone_model(trained)
    model.set_weights([np.full_like(w, np.nan) for w in trained.get_weights()])
    with pytest.raises(ValueError, match="NaN or infinite, so nothing can be learned from it; check its"):
        tfkd.load_teacher(model)


def test_probe_images_are_the_same_every_time(teacher):
    first, second = probe_images(teacher), probe_images(teacher)
    np.testing.assert_array_equal(first, second)
    assert first.shape == (128, *SHAPE) and first.min() >= 0 and first.max() <= 1


def test_missing_and_damaged_files(tmp_path, teacher_file):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        tfkd.load_teacher(tmp_path / "nothing.keras")
    text = tmp_path / "text.keras"
    text.write_text("not a model")
    with pytest.raises(ValueError, match="or it is damaged"):
        tfkd.load_teacher(text)
    content = pathlib.Path(teacher_file).read_bytes()
    cut = tmp_path / "cut.keras"
    cut.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="or it is damaged"):
        tfkd.load_teacher(cut)
    empty = tmp_path / "zip.keras"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("readme", "no model")
    with pytest.raises(ValueError, match="cannot be loaded as a Keras model"):
        tfkd.load_teacher(empty)


@pytest.mark.parametrize(("version", "newer"), [("9.1.0", True), ("3.0.1", False)])
def test_files_of_a_newer_keras_say_so(tmp_path, teacher_file, version, newer):
    path = tmp_path / "of_another_keras.keras"
    with zipfile.ZipFile(teacher_file) as old, zipfile.ZipFile(path, "w") as new:
        new.writestr("metadata.json", json.dumps({"keras_version": version}))
        new.writestr("config.json", old.read("config.json").replace(b'"use_bias"', b'"of_the_future"'))
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
    with pytest.raises(ValueError, match="cannot be loaded as a Keras model") as error:
        tfkd.load_teacher(path)
    assert ("Keras 9.1.0 wrote it" in str(error.value)) == newer


def test_shapes_that_are_not_known():
    with pytest.raises(ValueError, match=r"a known size.*\(None, None, None, 3\).*--input_shape=224"):
        tfkd.load_teacher(keras.Sequential([keras.Input((None, None, 3)), layers.GlobalMaxPooling2D()]))
    unbuilt = SubclassedSoftmax()
    with pytest.raises(ValueError, match="one input, an image"):
        tfkd.load_teacher(unbuilt)


def of_bytes():
    """A network that scales its inputs itself, from 0 to 255."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, layers.Dense(3)(x))


@pytest.mark.filterwarnings("ignore:.*on synthetic images it")
def test_a_range_that_contradicts_the_networks_own_scaling():
    with pytest.warns(TeacherWarning, match=r"seems to expect 0 to 255 but is given -1 to 1"):
        tfkd.load_teacher(of_bytes(), input_range=(-1, 1))
    for given in ((0, 255), (0, 1)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tfkd.load_teacher(of_bytes(), input_range=given)
        assert not [each for each in caught if "scales its inputs itself" in str(each.message)]


def autoencoder(flat, ending):
    """A network that returns images, as vectors or as maps."""
    inputs = keras.Input((64,) if flat else (8, 8, 3))
    layer = layers.Dense(64, ending) if flat else layers.Conv2D(3, 3, padding="same", activation=ending)
    return keras.Model(inputs, layer(inputs))


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("ending", ["sigmoid", None])
def test_an_autoencoder_is_no_classifier(flat, ending):
    network = autoencoder(flat, ending)
    with pytest.raises(ValueError, match=r"like an autoencoder.*task='regression'"):
        tfkd.load_teacher(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TeacherWarning)
        if flat:
            assert tfkd.load_teacher(network, task="regression").output_shape == (None, 64)
        else:
            with pytest.raises(ValueError, match=r"\(None, 8, 8, 3\)"):
                tfkd.load_teacher(network, task="classification")


def test_a_language_model_is_no_classifier():
    tokens = keras.Input((None,), dtype="int32", name="token_ids")
    network = keras.Model({"token_ids": tokens}, layers.Dense(9)(layers.Embedding(9, 4)(tokens)))
    with pytest.raises(ValueError, match=r"`task` is needed: .* reads tokens .*\(None, None, 9\)"):
        tfkd.load_teacher(network)
    with pytest.raises(ValueError, match=r"\(None, None, 9\)"):
        tfkd.load_teacher(network, task="classification")


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"input_range": (1, 0)}, "low < high"),
        ({"input_range": 255}, "two numbers"),
        ({"std": 0.0}, "`std` must be above 0"),
        ({"mean": [1.0, 2.0]}, "`mean` must be a number, one per channel"),
    ],
)
def test_bad_scaling(trained, scaling, message):
    with pytest.raises(ValueError, match=message):
        tfkd.load_teacher(trained, **scaling)


def with_two_outputs(kind=list):
    inputs = keras.Input(SHAPE)
    x = layers.Flatten()(inputs)
    places = layers.Dense(2, name="place")(x)
    classes = layers.Dense(CLASSES, activation="softmax", name="kind")(x)
    return keras.Model(inputs, [places, classes] if kind is list else {"where": places, "what": classes})


@pytest.mark.parametrize(("kind", "name", "place"), [(list, "kind", 1), (dict, "what", 0)])
def test_one_of_several_outputs(kind, name, place):
    model = with_two_outputs(kind)
    x, _ = blobs(8)
    outputs = model(x)
    expected = outputs[1] if kind is list else outputs["what"]
    for output in (name, place):
        teacher = load_quietly(model, output=output)
        np.testing.assert_allclose(ops.softmax(teacher(x)), expected, rtol=1e-4)
    for output in (None, "kinds", 2):
        with pytest.raises(ValueError, match=rf"`output` must select.*--teacher_output.*{name}.*{output}"):
            tfkd.load_teacher(model, output=output)


def test_images_without_channels():
    model = keras.Sequential(
        [keras.Input(SHAPE[:2]), layers.Flatten(), layers.Dense(CLASSES, activation="softmax")]
    )
    x, _ = blobs(8)
    teacher = load_quietly(model)
    assert teacher.input_shape == (None, *SHAPE)
    np.testing.assert_allclose(ops.softmax(teacher(x)), model(x[..., 0]), rtol=1e-4)


def test_an_input_that_is_a_list_of_one():
    inputs = keras.Input(SHAPE)
    model = keras.Model([inputs], [layers.Dense(CLASSES)(layers.Flatten()(inputs))])
    x, _ = blobs(8)
    np.testing.assert_allclose(load_quietly(model)(x), ops.reshape(model([x]), (8, CLASSES)), rtol=1e-4)
