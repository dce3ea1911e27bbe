import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tests.conftest import SHAPE, small_network
from tests.datafree.recipes import TINY
from tests.text import small_models as models
from tfkd import compression, datafree, students
from tfkd.datafree._feature_matching import feature_hint, feature_loss
from tfkd.tasks import task_of

pytestmark = pytest.mark.slow


def test_ends_of_stages_are_compared_whole_at_equal_widths():
    hint = feature_hint(small_network(8), small_network(8))
    assert hint.teacher_layer == hint.student_layer == ["relu1", "conv2"]
    assert hint.channels is None and hint.relative


def test_narrower_students_are_compared_with_what_thinning_keeps():
    teacher = small_network(8)
    thinned = students.scale_width(teacher, 0.5, inherit=True)
    hint = feature_hint(teacher, thinned)
    kept = students.kept_channels(teacher, thinned)
    assert hint.channels == [kept["relu1"], kept["conv2"]]
    # Right after thinning, the first features are the teacher's own.
    x = np.random.default_rng(0).uniform(size=(4, *SHAPE)).astype("float32")
    first = [keras.Model(m.input, m.get_layer("relu1").output)(x) for m in (teacher, thinned)]
    np.testing.assert_allclose(np.asarray(first[0])[..., kept["relu1"]], first[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("compressed", [lambda m: m, compression.prune, compression.quantize_aware])
def test_every_convolution_is_compared_in_compressed_students_too(compressed):
    teacher = small_network(8)
    hint = feature_hint(teacher, compressed(teacher), at="convolutions")
    assert hint.teacher_layer == hint.student_layer == ["conv1", "conv2"]


def test_convolutions_with_other_maps_or_names_are_left_out():
    def network(strides, name):
        inputs = keras.Input(SHAPE)
        x = layers.Conv2D(4, 3, padding="same", name="same")(inputs)
        x = layers.SeparableConv2D(4, 3, padding="same", strides=strides, name="strided")(x)
        x = layers.DepthwiseConv2D(3, padding="same", name=name)(x)
        return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))

    teacher = network(1, "depthwise")
    assert feature_hint(teacher, network(2, "other"), at="convolutions").student_layer == ["same"]
    every = feature_hint(teacher, network(1, "depthwise"), at="convolutions").student_layer
    assert every == ["same", "strided", "depthwise"]


@pytest.mark.parametrize("at", ["stages", "convolutions"])
@pytest.mark.parametrize("compressed", [lambda m: m, compression.prune, compression.quantize_aware])
def test_narrower_students_may_be_compressed(compressed, at):
    teacher = small_network(8)
    thinned = students.scale_width(teacher, 0.5, inherit=True)
    hint = feature_hint(teacher, compressed(thinned), at=at)
    kept = students.kept_channels(teacher, thinned)
    assert hint.channels == [kept["conv1" if at == "convolutions" else "relu1"], kept["conv2"]]


def test_convolutions_within_layers_are_compared_and_those_never_called_are_left_out():
    class Block(layers.Layer):
        def __init__(self):
            super().__init__(name="block")
            self.hidden = layers.Conv2D(3, 3, name="hidden")
            self.idle = layers.Conv2D(3, 3, name="idle")

        def call(self, x):
            return self.hidden(x)

    def network():
        inputs = keras.Input(SHAPE)
        x = layers.Conv2DTranspose(2, 3, name="up")(Block()(inputs))
        return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))

    assert feature_hint(network(), network(), at="convolutions").student_layer == ["block/hidden", "up"]


def test_a_recipe_says_where_features_are_compared(teacher):
    for at, expected in (("stages", ["relu1", "conv2"]), ("convolutions", ["conv1", "conv2"])):
        recipe = datafree.Procedural(features=1.0, features_at=at)
        (_, one), (hint, weight) = recipe.build_student_losses(teacher, small_network(8), task_of(teacher))
        assert (hint.teacher_layer, one, weight) == (expected, 1.0, 1.0)


def test_pairs_of_ones_own():
    pairs = [("norm1", "relu1")]
    hint = feature_hint(small_network(8), small_network(8), pairs)
    assert (hint.teacher_layer, hint.student_layer) == (["norm1"], ["relu1"])


def test_a_recipe_with_features_has_the_student_learn_them(teacher):
    student = students.scale_width(teacher, 0.5)
    recipe = datafree.Procedural(**TINY, memory=0, features=1000.0, student_flip=True)
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=1)
    distiller.compile()
    losses = distiller.fit(epochs=8, steps_per_epoch=4, verbose=0).history["loss"]
    # Soft targets are next to nothing beside this.
    assert losses[0] > 100 and losses[-1] < 0.9 * losses[0]


def test_students_that_cannot_be_compared():
    other = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(4, 3, padding="same"), layers.Flatten()])
    with pytest.raises(
        ValueError, match=r"`features` must be 0, or `feature_layers` must name layers of equal width"
    ):
        feature_hint(small_network(8), other)
    flat = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(5)])
    for place in ("stages", "convolutions"):
        with pytest.raises(ValueError, match=f"`feature_layers` must name pairs of layers.*than '{place}'"):
            feature_hint(small_network(8), flat, at=place)
    thinned = students.scale_width(small_network(8), 0.5)
    with pytest.raises(ValueError, match="must name outputs of layers"):
        feature_hint(small_network(8), thinned, [("norm1:input", "norm1:input")])
    with pytest.raises(ValueError, match="`features` must be at least 0"):
        datafree.Procedural(features=-1.0)


def test_hidden_states_of_a_language_models_blocks_are_compared():
    teacher = models.bert_classifier(layers=4)
    loss = feature_loss(teacher, students.from_layers(teacher, 2))
    theirs, ours = (tfkd.taps.transformer(m).hidden for m in (teacher, students.from_layers(teacher, 2)))
    assert isinstance(loss, tfkd.losses.CosineEmbedding) and loss.projector is None
    assert loss.teacher_layer == [theirs[0], theirs[3]] and loss.student_layer == ours


def test_hidden_states_of_a_narrower_student_go_through_projectors():
    teacher = models.bert_classifier(layers=2)
    assert feature_loss(teacher, models.bert_classifier(layers=1, width=8)).projector is True


def test_a_student_without_blocks_needs_no_features():
    with pytest.raises(ValueError, match=r"`features` must be 0, or `feature_layers` .*no attention layer"):
        feature_loss(models.bert_classifier(layers=1), models.convolutional())
