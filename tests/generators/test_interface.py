"""What `Generator` declares, and what is refused before a generator is used."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from generators import (
    ConditionalGenerator,
    ConvGenerator,
    DeadLeaves,
    DenseGenerator,
    Gaussian,
    Generator,
    NoisyLabelGenerator,
    Pictures,
    Silhouettes,
    SmoothNoise,
    Strokes,
    Uniform,
    check_generator,
)


class Mine(Generator):
    def __init__(self, **kwargs):
        super().__init__((8, 8, 1), 8, **kwargs)
        self.dense = layers.Dense(64, activation="sigmoid")

    def call(self, latent, labels=None, training=None):
        return ops.reshape(self.dense(latent), (-1, 8, 8, 1))


def test_six_lines_are_enough_to_train():
    generator = Mine()
    check_generator(generator, (8, 8, 1), classes=10)
    assert [v.path.split("/")[-1] for v in generator.trainable_variables] == ["kernel", "bias"]
    assert generator.classes is None and not generator.procedural
    target = keras.Sequential([keras.Input((8,)), generator, layers.Flatten(), layers.Dense(1)])
    target.compile("sgd", "mse")
    before = [v.numpy() for v in generator.trainable_variables]
    target.fit(generator.draw_latent(16, seed=0), np.ones((16, 1)), verbose=0)
    for old, new in zip(before, generator.trainable_variables, strict=True):
        assert not np.array_equal(old, new)


def test_a_sample_is_what_is_made_of_a_draw():
    for generator in (Mine(), ConditionalGenerator((8, 8, 1), 3, 4, filters=4)):
        draw = generator.draw(3, seed=7)
        np.testing.assert_array_equal(draw.latent, generator.draw_latent(3, seed=7))
        np.testing.assert_array_equal(generator.sample(3, seed=7), generator.make(draw))


def test_labels_are_for_those_that_are_told():
    draw = ConditionalGenerator((8, 8, 1), 3, 4, filters=4).draw(4, seed=0, labels=[2, 0, 2, 1])
    np.testing.assert_array_equal(draw.labels, [2, 0, 2, 1])
    with pytest.raises(ValueError, match=r"`labels` must be None, .* Received: labels=\[0\]"):
        Mine().draw(1, labels=[0])


def test_a_generator_without_call_says_so():
    with pytest.raises(NotImplementedError, match=r"Generator needs `call\(latent, labels=None"):
        Generator((3,), 2).sample(1)


class Integers(Mine):
    def call(self, latent, labels=None, training=None):
        return ops.cast(super().call(latent), "int32")


class Nothing(Mine):
    def call(self, latent, labels=None, training=None):
        pass


class OtherShape(Mine):
    def call(self, latent, labels=None, training=None):
        return self.dense(latent)


class Deaf(Mine):
    classes = 3

    def call(self, latent, training=None):
        return super().call(latent)


@pytest.mark.parametrize(
    ("generator", "error", "message"),
    [
        (layers.Dense(3), TypeError, "`generator` must be a tfkd.generators.Generator. Received: .*Dense"),
        (Integers(), TypeError, "must return a float tensor. Received: int32"),
        (Nothing(), TypeError, "must return a float tensor. Received: NoneType"),
        (
            OtherShape(),
            ValueError,
            r"its declared `image_shape`, \(8, 8, 1\). Received: inputs of shape \(64,\)",
        ),
        (ConvGenerator((8, 12, 1), 4, 4), ValueError, r"of shape \(8, 8, 1\).* Received: .*\(8, 12, 1\)"),
        (
            Deaf(),
            TypeError,
            "must take `labels`, since its `classes` is 3. Received: call.latent, training=None.",
        ),
        (ConditionalGenerator((8, 8, 1), 4, 4), ValueError, "must have 3 classes.* Received: classes=4"),
        (SmoothNoise((8, 8, 1)), ValueError, "must have trainable variables.* with 0 variables"),
        (Mine(trainable=False), ValueError, "must have trainable variables.* with 2 variables"),
    ],
)
def test_refused_before_training(generator, error, message):
    with pytest.raises(error, match=message):
        check_generator(generator, (8, 8, 1), classes=3)


def test_priors_need_nothing_to_train():
    check_generator(SmoothNoise((8, 8, 1)), (8, 8, 1), trained=False)


def test_conditional_generator_may_be_told_any_classes_where_nobody_knows_them():
    check_generator(ConditionalGenerator((8, 8, 1), 4, 4, filters=4), (8, 8, 1))


@pytest.mark.parametrize("kind", [DeadLeaves, Pictures, Silhouettes, Strokes, ConvGenerator])
@pytest.mark.parametrize("shape", [(28, 28), (7,), (4, 8, 8, 1), (28, 0, 1), (28, 28, 1.0), 28], ids=str)
def test_makers_of_images_refuse_other_shapes(kind, shape):
    expected = r"`image_shape` must be \(height, width, channels\).* SmoothNoise and DenseGenerator make"
    with pytest.raises(ValueError, match=expected):
        kind(shape)


@pytest.mark.parametrize("kind", [DenseGenerator, Gaussian, SmoothNoise, Uniform])
@pytest.mark.parametrize("shape", [(), (0,), (28, -1), (True,), 28], ids=str)
def test_shapes_that_nothing_has(kind, shape):
    with pytest.raises(ValueError, match="`image_shape` must be positive integers, such as"):
        kind(shape)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SmoothNoise((28, 28, 1), grids=(0,)), "`grids` must be an integer of at least 1"),
        (lambda: SmoothNoise((28, 28, 1), contrast=(3, 1)), r"`contrast` must be \(low, high\)"),
        (lambda: DeadLeaves((28, 28, 1), leaves=0), "`leaves` must be an integer of at least 1"),
        (lambda: DeadLeaves((28, 28, 1), radius=(0.5, 0.1)), r"`radius` must be \(low, high\)"),
        (lambda: Silhouettes((28, 28, 1), size=0.5), r"`size` must be \(low, high\)"),
        (lambda: Strokes((28, 28, 1), strokes=True), "`strokes` must be an integer.* strokes=True"),
        (lambda: Strokes((28, 28, 1), width=(0.0, 0.1)), r"`width` must be \(low, high\)"),
        (lambda: ConvGenerator((3, 28, 1)), "height and width of at least 4.* DenseGenerator"),
        (lambda: ConvGenerator((28, 28, 1), latent_size=0), "`latent_size` must be .* at least 1"),
        (lambda: ConvGenerator((28, 28, 1), filters=1.5), "`filters` must be an integer"),
        (lambda: ConvGenerator((28, 28, 1), output="tanh"), "`output` must be one of 'sigmoid', "),
        (lambda: ConvGenerator((28, 28, 3), pixel_mean=(0.1, 0.2)), "or 3 numbers, one for each channel"),
        (lambda: ConvGenerator((28, 28, 1), pixel_std="0.5"), "`pixel_std` must be a number"),
        (lambda: ConvGenerator((28, 28, 1), momentum=1.0), "`momentum` must be .* at least 0 and below 1"),
        (lambda: ConvGenerator((28, 28, 1), epsilon=-1e-3), "`epsilon` must be a number of at least 0"),
        (lambda: ConditionalGenerator((28, 28, 1), 0), "`classes` must be an integer"),
        (lambda: NoisyLabelGenerator((28, 28, 1), [[0.0]], 0), "`batch_size` must be an integer"),
        (
            lambda: NoisyLabelGenerator((28, 28, 1), [0.0], 4),
            r"`embeddings` must be .* Received: shape \(1,\)",
        ),
        (lambda: DenseGenerator((7,), 0), "`latent_size` must be .* at least 1"),
        (lambda: DenseGenerator((7,), units=(8, 0)), "`units` must be an integer"),
        (
            lambda: DenseGenerator((7,), output="normalized"),
            "`output` must be one of 'sigmoid', 'unbounded'",
        ),
        (lambda: Generator((7,), -1), "`latent_size` must be an integer of at least 0"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()
