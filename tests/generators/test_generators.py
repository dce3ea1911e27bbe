import keras
import numpy as np
import pytest
import tensorflow as tf

import generators
from generators import ConvGenerator, DeadLeaves, Silhouettes, SmoothNoise, Strokes
from generators._smooth_noise import bicubic_matrix
from tests import harness

SHAPES = [(28, 28, 1), (32, 32, 3), (64, 64, 3), (224, 224, 3), (30, 21, 2), (9, 14, 3)]
KINDS = {
    "conv": lambda shape: ConvGenerator(shape, latent_size=6, filters=4),
    "conv normalized": lambda shape: ConvGenerator(shape, 6, 4, output="normalized"),
    "smooth_noise": SmoothNoise,
    "dead_leaves": DeadLeaves,
    "strokes": Strokes,
    "silhouettes": Silhouettes,
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_range(kind, shape):
    generator = kind(shape)
    images = generator.sample(2, seed=0).numpy()
    assert images.shape == (2, *shape) and images.dtype == np.float32
    assert np.isfinite(images).all()
    if getattr(generator, "output_kind", "sigmoid") == "sigmoid":
        assert images.min() >= 0 and images.max() <= 1


def test_serialization(kind):
    generator = kind((16, 16, 1))
    latent = generator.draw_latent(3, seed=1)
    config = keras.saving.serialize_keras_object(generator)
    copy = keras.saving.deserialize_keras_object(config)
    copy.set_weights(generator.get_weights())
    assert copy.get_config() == generator.get_config()
    np.testing.assert_allclose(copy(latent), generator(latent), rtol=1e-6)


def test_save_and_load(kind, tmp_path):
    generator = kind((16, 16, 1))
    generator.save(tmp_path / "generator.keras")
    loaded = keras.models.load_model(tmp_path / "generator.keras")
    latent = generator.draw_latent(3, seed=1)
    np.testing.assert_allclose(loaded(latent), generator(latent), rtol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_graph_and_xla_give_the_eager_images(kind, jit_compile):
    generator = kind((16, 16, 3))
    latent = generator.draw_latent(4, seed=2)
    compiled = tf.function(generator, jit_compile=jit_compile)
    np.testing.assert_allclose(compiled(latent), generator(latent), atol=2e-4)


def test_images_follow_from_the_seed(kind):
    generator = kind((16, 16, 1))
    first, again, other = (generator.sample(4, seed=s).numpy() for s in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first[0], first[1])


@pytest.mark.parametrize("kind", [DeadLeaves, Silhouettes, SmoothNoise, Strokes])
def test_priors_have_nothing_to_train_and_use_the_whole_range(kind):
    generator = kind((28, 28, 1))
    assert generator.procedural and not generator.weights
    images = generator.sample(256, seed=0).numpy()
    assert images.min() < 0.05 and images.max() > 0.95
    assert images.mean(axis=(1, 2, 3)).std() > 0.1


def test_smooth_noise_is_smooth():
    images = SmoothNoise((32, 32, 1), grids=(4,), contrast=(1, 2)).sample(64, seed=0).numpy()
    neighbours = np.abs(np.diff(images, axis=1)).mean()
    assert neighbours < 0.2 * np.abs(images - images[::-1]).mean()


def test_strokes_of_both_polarities_on_paper():
    images = Strokes((28, 28, 3)).sample(256, seed=0).numpy()
    # Ink covers the smaller part, so the mean leans from the median towards the ink.
    lean = images.mean(axis=(1, 2)) - np.median(images, axis=(1, 2))
    assert (lean > 0.05).mean() > 0.2 and (lean < -0.05).mean() > 0.2


def test_strokes_are_as_wide_as_asked():
    generator = Strokes((64, 64, 1), strokes=1, width=(0.05, 0.05))
    controls = np.array([[32, 8], [32, 24], [32, 40], [32, 56]], "float32")[None, None] / 64
    deviation = 0.05 * 64 / np.sqrt(2 * np.log(2))
    # Straight along row 32: dense to 3.2 pixels on both sides, from column 8 to 56.
    density = generator._density(
        64 * controls, np.ones((1, 1), "float32"), np.array([deviation], "float32")
    )
    density = np.asarray(density)[0]
    np.testing.assert_allclose(density[31:33, 20:44], np.exp(-((0.5 / deviation) ** 2) / 2), rtol=1e-3)
    np.testing.assert_array_equal(np.flatnonzero(density[:, 32] > 0.5), np.arange(29, 35))
    assert density[32, :4].max() < 0.1 and density[32, 60:].max() < 0.1


def test_silhouettes_are_things_on_a_plain_ground():
    images = Silhouettes((32, 32, 1)).sample(512, seed=0).numpy()[..., 0]
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    ground = np.median(corners, axis=1)[:, None, None]
    thing = np.abs(images - ground) > 0.1
    assert (np.ptp(corners, axis=1) < 0.05).mean() > 0.6
    # What stands out lies in the middle, not at the rim.
    assert thing[:, 8:24, 8:24].mean() > 2.5 * thing[:, [0, -1]].mean()
    # Two thirds are the same left and right but for where they stand.
    rolled = [np.roll(images[:, :, ::-1], shift, axis=2) for shift in range(-6, 7)]
    lopsided = np.min([np.abs(images - other).mean((1, 2)) for other in rolled], axis=0)
    assert 0.4 < (lopsided < 0.03).mean() < 0.95


def test_silhouettes_are_as_large_as_asked():
    def share(size):
        images = Silhouettes((32, 32, 1), size=size).sample(256, seed=0).numpy()
        return (np.abs(images - images[:, :1, :1]) > 0.1).mean()

    assert share((0.9, 1.0)) > 2 * share((0.3, 0.4))


def test_bicubic_matrix():
    matrix = bicubic_matrix(28, 6)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)
    # Cubic convolution reproduces straight lines away from the edges.
    line = matrix @ np.arange(6.0)
    np.testing.assert_allclose(np.diff(line[10:18]), 6 / 28, rtol=1e-5)
    np.testing.assert_allclose(bicubic_matrix(5, 5), np.eye(5), atol=1e-7)


def test_conv_generator_trains():
    generator = ConvGenerator((12, 12, 1), latent_size=6, filters=4)
    before = harness.snapshot(generator)
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(generator(generator.draw_latent(8, seed=0), training=True) ** 2)
    gradients = tape.gradient(value, generator.trainable_variables)
    assert all(g is not None for g in gradients)
    # Batch statistics were used, so the moving ones have moved by a tenth.
    index = [w.path.endswith("map_norm/moving_variance") for w in generator.weights].index(True)
    assert (generator.weights[index].numpy() != before[index]).all()


def test_conv_generator_normalized_output_has_the_given_statistics():
    generator = ConvGenerator(
        (16, 16, 3), 10, 8, output="normalized", pixel_mean=(0.1, 0.5, 0.9), pixel_std=0.3
    )
    images = generator(generator.draw_latent(64, seed=0), training=True).numpy()
    np.testing.assert_allclose(images.mean((0, 1, 2)), (0.1, 0.5, 0.9), atol=1e-3)
    np.testing.assert_allclose(images.std((0, 1, 2)), 0.3, atol=1e-2)


def test_conv_generator_batch_norm_settings():
    generator = ConvGenerator((8, 8, 1), 4, 4, output="normalized", epsilon=0.8)
    norms = {layer.name: layer for layer in generator.network.layers if "norm" in layer.name}
    assert {n.momentum for n in norms.values()} == {0.9}
    assert norms["map_norm"].epsilon == 1e-5 and norms["norm1"].epsilon == 0.8
    last = generator.network.get_layer("standardize")
    assert not last.trainable_variables and last.epsilon == 1e-5


def test_mixed_precision_generator_gives_float32(kind):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        generator = kind((8, 8, 1))
    finally:
        keras.config.set_dtype_policy("float32")
    images = generator.sample(2, seed=0)
    assert images.dtype == "float32" and np.isfinite(images).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SmoothNoise((28, 28)), "image_shape"),
        (lambda: SmoothNoise((28, 0, 1)), "image_shape"),
        (lambda: SmoothNoise((28, 28, 1), grids=(0,)), "grids"),
        (lambda: SmoothNoise((28, 28, 1), contrast=(3, 1)), "contrast"),
        (lambda: DeadLeaves((28, 28, 1), leaves=0), "leaves"),
        (lambda: DeadLeaves((28, 28, 1), radius=(0.5, 0.1)), "radius"),
        (lambda: Strokes((28, 28, 1), strokes=0), "strokes"),
        (lambda: Strokes((28, 28, 1), width=(0.0, 0.1)), "width"),
        (lambda: Strokes((28, 28)), "image_shape"),
        (lambda: ConvGenerator((3, 28, 1)), "sides of at least 4"),
        (lambda: ConvGenerator((28, 28, 1), latent_size=0), "latent_size"),
        (lambda: ConvGenerator((28, 28, 1), filters=1.5), "filters"),
        (lambda: ConvGenerator((28, 28, 1), output="tanh"), "output"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_public_names():
    assert all(hasattr(generators, name) for name in generators.__all__)
