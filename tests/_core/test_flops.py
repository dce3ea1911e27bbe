"""Floating-point operations against counts by hand."""

import keras
import pytest
from keras import layers

from tests.conftest import small_network
from tfkd._core.flops import count_flops, flops_of_layers

IMAGE, TOKENS = (8, 10, 6), (5, 6)

LAYERS = {
    "conv1d": (layers.Conv1D(4, 3), TOKENS, 2 * 3 * (3 * 6 * 4)),
    "conv_same": (layers.Conv2D(4, 3, padding="same"), IMAGE, 2 * 8 * 10 * (3 * 3 * 6 * 4)),
    "conv_valid": (layers.Conv2D(4, (3, 5)), IMAGE, 2 * 6 * 6 * (3 * 5 * 6 * 4)),
    "conv_strides": (layers.Conv2D(4, 3, 2, "same"), IMAGE, 2 * 4 * 5 * (3 * 3 * 6 * 4)),
    "conv_dilation": (layers.Conv2D(4, 3, dilation_rate=2), IMAGE, 2 * 4 * 6 * (3 * 3 * 6 * 4)),
    "conv_groups": (layers.Conv2D(4, 3, groups=2), IMAGE, 2 * 6 * 8 * (3 * 3 * 3 * 4)),
    "conv_channels_first": (
        layers.Conv2D(4, 3, data_format="channels_first"),
        (6, 8, 10),
        2 * 6 * 8 * (3 * 3 * 6 * 4),
    ),
    "conv3d": (layers.Conv3D(4, 2), (3, 4, 5, 6), 2 * 2 * 3 * 4 * (2 * 2 * 2 * 6 * 4)),
    "transposed": (layers.Conv2DTranspose(4, 3, 2, "same"), IMAGE, 2 * 8 * 10 * (3 * 3 * 6 * 4)),
    "depthwise": (layers.DepthwiseConv2D(3, depth_multiplier=2), IMAGE, 2 * 6 * 8 * (3 * 3 * 6 * 2)),
    "separable": (layers.SeparableConv2D(4, 3), IMAGE, 2 * 6 * 8 * (3 * 3 * 6 + 6 * 4)),
    "dense": (layers.Dense(7), (6,), 2 * 6 * 7),
    "dense_on_maps": (layers.Dense(7), IMAGE, 2 * 8 * 10 * 6 * 7),
    "einsum_dense": (layers.EinsumDense("abc,cde->abde", (5, 2, 3)), TOKENS, 2 * 5 * 6 * 2 * 3),
    "einsum_dense_on_any_rank": (layers.EinsumDense("...c,cd->...d", 3), TOKENS, 2 * 5 * 6 * 3),
    "max_pooling": (layers.MaxPooling2D((2, 5)), IMAGE, 4 * 2 * 6 * (2 * 5)),
    "average_pooling": (layers.AveragePooling2D(3, 2, "same"), IMAGE, 4 * 5 * 6 * (3 * 3)),
    "global_pooling": (layers.GlobalAveragePooling2D(), IMAGE, 8 * 10 * 6),
    "rnn": (layers.SimpleRNN(4), TOKENS, 5 * 2 * (6 * 4 + 4 * 4)),
    "lstm": (layers.LSTM(4, return_sequences=True), TOKENS, 5 * 2 * 4 * (6 * 4 + 4 * 4)),
    "gru": (layers.GRU(4), TOKENS, 5 * 2 * 3 * (6 * 4 + 4 * 4)),
    "stacked": (
        layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)]),
        TOKENS,
        5 * 2 * (4 * (6 * 4 + 4 * 4) + 3 * (4 * 3 + 3 * 3)),
    ),
    "bidirectional": (layers.Bidirectional(layers.GRU(4)), TOKENS, 2 * 5 * 2 * 3 * (6 * 4 + 4 * 4)),
    "time_distributed": (
        layers.TimeDistributed(layers.Conv1D(4, 3)),
        (7, *TOKENS),
        7 * 2 * 3 * (3 * 6 * 4),
    ),
    "wrapper": (layers.SpectralNormalization(layers.Dense(7)), (6,), 2 * 6 * 7),
    "batch_normalization": (layers.BatchNormalization(), IMAGE, 0),
    "activation": (layers.ReLU(), IMAGE, 0),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_takes_what_is_counted_by_hand(name):
    layer, shape, expected = LAYERS[name]
    assert count_flops(keras.Sequential([keras.Input(shape), layer])) == expected


def test_multi_head_attention():
    query, value = keras.Input((5, 6)), keras.Input((7, 8))
    out = layers.MultiHeadAttention(2, key_dim=3, value_dim=4)(query, value)
    projections = 5 * (6 * 2 * 3) + 7 * (8 * 2 * 3) + 7 * (8 * 2 * 4) + 5 * (2 * 4 * 6)
    attention = 2 * 5 * 7 * 3 + 2 * 5 * 7 * 4
    assert count_flops(keras.Model([query, value], out)) == 2 * (projections + attention)


def test_attention_along_one_axis():
    x = keras.Input((4, 5, 6))
    out = layers.MultiHeadAttention(2, key_dim=3, attention_axes=2)(x, x)
    projections = 4 * 5 * (4 * 6 * 2 * 3)
    assert count_flops(keras.Model(x, out)) == 2 * (projections + 4 * (2 * 5 * 5 * (3 + 3)))


def test_grouped_query_attention():
    x = keras.Input((5, 6))
    out = layers.GroupQueryAttention(3, num_query_heads=4, num_key_value_heads=2)(value=x, query=x)
    projections = 5 * (6 * 4 * 3) + 2 * 5 * (6 * 2 * 3) + 5 * (4 * 3 * 6)
    assert count_flops(keras.Model(x, out)) == 2 * (projections + 4 * 5 * 5 * (3 + 3))


def test_attention_of_other_layers_and_operations():
    query, value = keras.Input((5, 6)), keras.Input((7, 6))
    out = layers.Attention()([query, value])
    assert count_flops(keras.Model([query, value], out)) == 2 * 5 * 7 * (6 + 6)
    scores = layers.Dot(2)([query, value])
    product = keras.ops.matmul(scores, value)
    assert count_flops(keras.Model([query, value], product)) == 2 * 5 * 7 * 6 + 2 * 5 * 7 * 6


def test_per_layer_figures_add_up():
    flops = flops_of_layers(small_network(8))
    assert flops == {
        "conv1": 2 * 12 * 12 * (3 * 3 * 8),
        "norm1": 0,
        "relu1": 0,
        "pool": 6 * 6 * 8 * (2 * 2),
        "conv2": 2 * 6 * 6 * (3 * 3 * 8 * 16),
        "flat": 0,
        "logits": 2 * (6 * 6 * 16) * 4,
    }
    assert count_flops(small_network(8)) == sum(flops.values())


def test_nested_models_and_layers_called_twice():
    body = keras.Sequential([keras.Input((None, 6)), layers.Dense(6, name="dense")], name="body")
    left, right = keras.Input((5, 6)), keras.Input((3, 6))
    outputs = [body(inputs=body(left)), layers.TimeDistributed(keras.Sequential([layers.Dense(2)]))(right)]
    model = keras.Model([left, right], outputs)
    flops = flops_of_layers(model)
    assert flops["body/dense"] == 2 * (2 * 5 * 6 * 6)
    assert count_flops(model) == 2 * (2 * 5 * 6 * 6) + 2 * 3 * 6 * 2
    assert len(body.layers[-1]._inbound_nodes) == 1  # Counting leaves the graph as it is.


def test_a_part_of_a_model():
    model = small_network(8)
    until_pool = keras.Model(model.inputs, model.get_layer("pool").output)
    assert count_flops(until_pool) == 2 * 12 * 12 * (3 * 3 * 8) + 6 * 6 * 8 * (2 * 2)


def test_open_sizes_need_a_shape():
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3, padding="same")])
    with pytest.raises(ValueError, match="Pass `input_shape=`"):
        count_flops(model)
    assert count_flops(model, input_shape=(8, 10, 3)) == 2 * 8 * 10 * (3 * 3 * 3 * 4)
    for wrong in ((8, 10), (8, 10, 1), (8, None, 3), [(8, 10, 3), (8, 10, 3)]):
        with pytest.raises(ValueError, match=r"`input_shape` for model .* must match"):
            count_flops(model, input_shape=wrong)


def test_several_inputs_take_a_list_of_shapes():
    inputs = [keras.Input((None, 6)), keras.Input((None, 6))]
    model = keras.Model(inputs, layers.Attention()(inputs))
    assert count_flops(model, input_shape=[(5, 6), (7, 6)]) == 2 * 5 * 7 * (6 + 6)


class _Gate(keras.Layer):
    def build(self, shape):
        self.gate = self.add_weight(shape=(shape[-1],))

    def compute_output_shape(self, shape):
        return shape

    def call(self, x):
        return x * self.gate


@pytest.mark.parametrize("wrapped", [False, True])
def test_unknown_layers_with_weights_need_a_cost(wrapped):
    layer = layers.TimeDistributed(_Gate()) if wrapped else _Gate()
    model = keras.Sequential([keras.Input((5, 6)), layer])
    with pytest.raises(ValueError, match=r"a _Gate, .*Pass `costs=\{_Gate: function\}`"):
        count_flops(model)
    assert count_flops(model, costs={_Gate: lambda layer, inputs, output: output[-1]}) == 6


def test_unknown_cells_need_a_cost_of_their_layer():
    model = keras.Sequential([keras.Input((3, 8, 8, 1)), layers.ConvLSTM2D(2, 3)])
    with pytest.raises(ValueError, match=r"Pass `costs=\{ConvLSTM2D: function\}`"):
        count_flops(model)
    assert count_flops(model, costs={layers.ConvLSTM2D: lambda *_: 7}) == 7


class _Subclassed(keras.Model):
    def call(self, x):
        return x


class _Shapeless(keras.Layer):
    def compute_output_shape(self, shape):
        raise NotImplementedError

    def call(self, x):
        return x


@pytest.mark.parametrize(
    "model", [_Subclassed, lambda: keras.Sequential([keras.Input((3,)), _Shapeless()])]
)
def test_models_without_a_graph_are_refused(model):
    with pytest.raises(ValueError, match="has no graph"):
        count_flops(model())
