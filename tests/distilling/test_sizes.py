"""Teachers and students whose inputs or features are of another shape."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfkd
from tfkd import losses

RNG = np.random.default_rng(0)


def flat(shape):
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(5)])


def convolutional(size):
    inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="maps")(inputs)
    return keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))


def transformer(in_front=1):
    """Patches of 2 as tokens, behind some that stand for no patch."""
    inputs = keras.Input((12, 12, 3))
    patches = layers.Reshape((36, 8))(layers.Conv2D(8, 2, strides=2)(inputs))
    tokens = layers.ZeroPadding1D((in_front, 0))(patches)
    tokens = layers.LayerNormalization(name="tokens")(tokens)
    return keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling1D()(tokens)))


def trained(teacher, student, loss, x, **options):
    distiller = tfkd.Distiller(teacher, student, loss, student_loss_weight=0.0, **options)
    distiller.compile(keras.optimizers.SGD(0.0))
    value = distiller.fit(x, verbose=0).history["loss"][0]
    assert distiller.evaluate(x, verbose=0, return_dict=True)["loss"] == pytest.approx(value, rel=1e-4)
    assert distiller.predict(x, verbose=0).shape == (len(x), 5)
    return value


@pytest.mark.parametrize("given", [(8, 8), (8, 8, 1)])
def test_a_student_of_the_teachers_own_shape_without_the_axis_of_channels(given):
    original = flat((8, 8))
    teacher, student = tfkd.load_teacher(original), flat((8, 8))
    assert teacher.input_shape == (None, 8, 8, 1)
    x = RNG.random((16, *given)).astype("float32")
    pictures = x.reshape(16, 8, 8)
    expected = np.mean(losses.soft_targets(original(pictures), student(pictures)))
    assert trained(teacher, student, losses.SoftTargets(), x) == pytest.approx(expected, rel=1e-4)


def test_such_a_student_learns_without_data():
    distiller = tfkd.DataFreeDistiller(tfkd.load_teacher(flat((8, 8))), flat((8, 8)))
    distiller.compile()
    assert np.isfinite(distiller.fit(epochs=1, steps_per_epoch=1, verbose=0).history["loss"][0])


@pytest.mark.parametrize("given", [24, 12, 16])
def test_images_are_resized_for_each_network(given):
    teacher, student = convolutional(24), convolutional(12)
    x = RNG.random((8, given, given, 3)).astype("float32")
    with pytest.raises(ValueError, match="resize_inputs=True"):
        tfkd.Distiller(teacher, student, losses.SoftTargets())
    theirs, ours = (ops.image.resize(x, (size, size), antialias=True) for size in (24, 12))
    expected = np.mean(losses.soft_targets(teacher(theirs), student(ours)))
    value = trained(teacher, student, losses.SoftTargets(), x, resize_inputs=True)
    assert value == pytest.approx(float(expected), rel=1e-4)


def test_the_other_advice_on_two_sizes_works(tmp_path):
    inputs = keras.Input((12, 12, 3))
    teacher = keras.Model(inputs, convolutional(24)(layers.Resizing(24, 24)(inputs)))
    distiller = tfkd.Distiller(teacher, convolutional(12), losses.SoftTargets(), resize_inputs=True)
    distiller.save(tmp_path / "d.keras")
    assert keras.models.load_model(tmp_path / "d.keras").resize_inputs
    with pytest.raises(ValueError, match=r"keras\.layers\.Resizing in front"):
        tfkd.DataFreeDistiller(convolutional(24), convolutional(12), resize_inputs=True)


@pytest.mark.parametrize("in_front", [0, 1])
@pytest.mark.parametrize("kind", [losses.Hint, losses.AttentionTransfer, losses.CosineEmbedding])
def test_tokens_become_maps(kind, in_front):
    teacher, student = transformer(in_front), convolutional(12)
    x = RNG.random((4, 12, 12, 3)).astype("float32")
    with pytest.raises(ValueError, match="'block3:map'"):
        trained(teacher, student, kind("tokens", "maps"), x)
    with tfkd.taps.record(teacher, ["tokens"]) as tokens, tfkd.taps.record(student, ["maps"]) as maps:
        teacher(x), student(x)
    theirs = ops.reshape(tokens["tokens"][:, in_front:], (4, 6, 6, 8))
    expected = np.mean(kind("a", "b")(theirs, maps["maps"]))
    assert trained(teacher, student, kind("tokens:map", "maps"), x) == pytest.approx(expected, rel=1e-4)


def test_projectors_are_made_for_maps_of_tokens():
    x = RNG.random((4, 12, 12, 3)).astype("float32")
    loss = losses.Hint("maps", "tokens:input:map", projector=True)
    assert np.isfinite(trained(convolutional(12), transformer(), loss, x))
    assert isinstance(loss.projectors[0], layers.Conv2D)
    assert tfkd.taps.shape(transformer(), "tokens:map") == (None, 6, 6, 8)
    with pytest.raises(ValueError, match="a square number of tokens"):
        tfkd.taps.shape(transformer(2), "tokens:map")


def two_inputs():
    images, numbers = keras.Input((12, 12, 3)), keras.Input((4,))
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(images), numbers])
    return keras.Model([images, numbers], layers.Dense(5)(x))


@pytest.mark.parametrize("student", [two_inputs, lambda: flat((8,)), lambda: flat((12, 12, 1))])
def test_only_images_of_as_many_channels_are_resized(student):
    with pytest.raises(ValueError, match=r"`resize_inputs` needs.*keras\.layers\.Resizing"):
        tfkd.Distiller(convolutional(24), student(), losses.SoftTargets(), resize_inputs=True)
