import keras
import numpy as np
import pytest
from keras import layers

from tfkd import students
from tfkd._core.graphs import apply_layers


def blocks(count=5, operator=False):
    """A stem, `count` residual blocks, one that changes the width, and one more block."""
    x = inputs = keras.Input((6, 6, 1))
    x = layers.Conv2D(3, 3, padding="same", name="stem")(x)
    for i in range(count):
        branch = layers.Conv2D(3, 3, padding="same", name=f"conv{i}")(keras.ops.relu(x))
        x = x + branch if operator else layers.Add(name=f"add{i}")([branch, x])
    wide = layers.Conv2D(4, 1, name="branch")(x)
    x = layers.Add(name="wider")([layers.Conv2D(4, 1, name="projection")(x), wide])
    x = layers.Add(name="last")([x, layers.Conv2D(4, 1, name="conv_last")(x)])
    return keras.Model(inputs, layers.Dense(2, name="out")(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize(
    ("factor", "left"), [(1.0, [0, 1, 2, 3, 4]), (0.6, [1, 3, 4]), (0.4, [2, 4]), (0.1, [4])]
)
@pytest.mark.parametrize("operator", [False, True])
def test_blocks_that_stay_are_spread_evenly(factor, left, operator):
    shallow = students.scale_depth(blocks(operator=operator), factor)
    names = [layer.name for layer in shallow.layers]
    assert [i for i in range(5) if f"conv{i}" in names] == left
    # The width changes whatever happens; of these two blocks one or both stay.
    assert "projection" in names and ("conv_last" in names) == (factor == 1.0)


def test_inherited_weights_compute_what_silent_blocks_leave():
    model = blocks(4)
    for name in ("conv0", "conv2", "conv_last"):
        model.get_layer(name).set_weights([0 * w for w in model.get_layer(name).get_weights()])
    x = np.random.default_rng(0).uniform(size=(3, 6, 6, 1)).astype("float32")
    shallow = students.scale_depth(model, 0.5, inherit=True)
    assert shallow.count_params() < model.count_params() and shallow.name.endswith("0.5deep")
    np.testing.assert_allclose(shallow(x), model(x), rtol=1e-5, atol=1e-6)
    fresh = students.scale_depth(model, 0.5)
    assert not np.allclose(fresh.get_layer("stem").kernel, model.get_layer("stem").kernel)
    # The model itself is left as it is, and what it was given stays apart from it.
    shallow.get_layer("stem").kernel.assign(0 * shallow.get_layer("stem").kernel)
    assert np.any(model.get_layer("stem").kernel)


def test_resnet8_of_a_resnet14():
    teacher = students.resnet(14)
    assert students.scale_depth(teacher, 0.5).count_params() == students.resnet(8).count_params()


def test_blocks_that_see_more_than_their_shortcut_stay():
    inputs = keras.Input((4,))
    a = layers.Dense(4)(inputs)
    b = layers.Dense(4)(inputs)
    x = layers.Add()([a, layers.Add()([a, b])])
    model = keras.Model(inputs, layers.Dense(2)(x))
    with pytest.raises(ValueError, match="no residual block"):
        students.scale_depth(model, 0.5)


def test_layers_that_were_called_elsewhere_too():
    model, inputs = blocks(), keras.Input((6, 6, 1))
    behind_a_scaling = keras.Model(inputs, apply_layers(model, layers.Rescaling(2.0)(inputs)))
    assert "conv0" not in [layer.name for layer in students.scale_depth(behind_a_scaling, 0.6).layers]


def test_statistics_of_the_input_are_kept_and_nothing_stays_frozen():
    normalize = layers.Normalization()
    normalize.adapt(np.arange(8.0).reshape(4, 2))
    front = keras.Sequential([keras.Input((2,)), layers.Normalization()], name="front")
    front.layers[0].adapt(np.arange(8.0).reshape(4, 2))
    inputs = keras.Input((2,))
    x = front(normalize(inputs))
    for i in range(2):
        x = layers.Add()([x, layers.Dense(2, name=f"d{i}")(x)])
    model = keras.Model(inputs, layers.Dense(2, name="out")(x))
    model.get_layer("d0").set_weights([0 * w for w in model.get_layer("d0").get_weights()])
    model.trainable = False
    data = np.random.default_rng(0).normal(size=(3, 2)).astype("float32")
    shallow = students.scale_depth(model, 0.5, inherit=True)
    np.testing.assert_allclose(shallow(data), model(data), rtol=1e-5)
    assert len(shallow.trainable_weights) == 4
    fresh = students.scale_depth(model, 0.5)
    np.testing.assert_allclose(fresh.get_layer("front")(data), front(data))


def test_long_skips_doubling_and_outputs_stay():
    inputs = keras.Input((3,))
    x = start = layers.Dense(3, name="stem")(inputs)
    for i in range(4):
        x = layers.Add()([x, layers.Dense(3, name=f"inner{i}")(x)])
    x = layers.Add(name="long")([start, x])
    x = layers.Add(name="doubled")([x, x])
    out = layers.Add(name="output")([x, layers.Dense(3, name="last")(x)])
    shallow = students.scale_depth(keras.Model(inputs, out), 0.5)
    names = [layer.name for layer in shallow.layers]
    assert {"long", "doubled", "output", "last", "inner3"} <= set(names)
    assert sum(name.startswith("inner") for name in names) == 1


def test_a_factor_that_leaves_nothing_out():
    with pytest.raises(ValueError, match=r"keeps all 3 residual blocks .* one of each shape must stay"):
        students.scale_depth(blocks(1), 0.9)


@pytest.mark.parametrize("factor", [0.0, 1.5])
def test_bad_factor(factor):
    with pytest.raises(ValueError, match="`factor` must be above 0 and at most 1"):
        students.scale_depth(blocks(), factor)


def test_no_graph_and_no_blocks():
    with pytest.raises(ValueError, match="no residual block"):
        students.scale_depth(students.lenet5(), 0.5)

    class Mine(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="must be functional"):
        students.scale_depth(Mine(), 0.5)


@pytest.mark.parametrize(("factor", "left"), [(0.5, [1, 3]), (0.25, [3]), (0.75, [1, 2, 3])])
def test_attention_and_what_follows_it_stay_together(factor, left):
    x = inputs = keras.Input((6, 8))
    for i in range(4):
        entering = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, 4, name=f"attention{i}")(entering, entering)
        x = x + layers.Dense(8, "gelu", name=f"mlp{i}")(layers.LayerNormalization()(x))
    model = keras.Model(inputs, layers.Dense(3)(x[:, 0]))
    shallow = students.scale_depth(model, factor, inherit=True)
    names = {layer.name for layer in shallow.layers}
    assert [i for i in range(4) if f"attention{i}" in names] == left
    assert [i for i in range(4) if f"mlp{i}" in names] == left
    seen = np.random.default_rng(0).normal(size=(2, 6, 8)).astype("float32")
    assert np.abs(shallow(seen)[0] - shallow(seen)[1]).max() > 1e-3
