import keras
import numpy as np
import pytest
from keras import layers

from tests.transformers import BACKBONES, TEXT, TOKEN_IDS, Encoder, Subclassed, backbone, own
from tfkd import taps


def values(model, tapped, inputs):
    with taps.record(model, tapped) as seen:
        output = model(inputs)
    return [np.asarray(seen[tap]) for tap in tapped], np.asarray(output)


@pytest.mark.parametrize("operators", [False, True], ids=["layers", "operators"])
@pytest.mark.parametrize("normalizes_first", [False, True], ids=["after", "first"])
@pytest.mark.parametrize("blocks", [1, 3])
def test_blocks_of_a_flat_graph(blocks, normalizes_first, operators):
    model = own(blocks, normalizes_first, operators)
    found = taps.transformer(model)
    assert found.attention == [f"attention{i}" for i in range(blocks)]
    # What stands between the blocks, computed with the same layers.
    layer = {each.name: each for each in model.layers}
    mask = TEXT["padding_mask"][:, None]
    x = layer["tokens"](TEXT["token_ids"])
    expected = [x]
    for i in range(blocks):
        if normalizes_first:
            entering = layer[f"norm{i}"](x)
            x = x + layer[f"attention{i}"](entering, entering, attention_mask=mask)
            x = x + layer[f"narrow{i}"](layer[f"wide{i}"](layer[f"inner_norm{i}"](x)))
        else:
            x = layer[f"seen_norm{i}"](x + layer[f"attention{i}"](x, x, attention_mask=mask))
            x = layer[f"block_norm{i}"](x + layer[f"narrow{i}"](layer[f"wide{i}"](x)))
        expected.append(x)
    seen, _ = values(model, [found.embeddings, *found.hidden], TEXT)
    for one, other in zip(seen, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    for tap in (found.embeddings, *found.hidden):
        assert taps.shape(model, tap) == (None, None, 8)


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones(name):
    pytest.importorskip("keras_hub")
    model, _ = backbone(name)
    found = taps.transformer(model)
    width = model.hidden_dim
    # ALBERT has one block, which it uses twice.
    blocks = 1 if name == "AlbertBackbone" else 2
    assert len(found.hidden) == len(found.attention) == blocks
    for tap in (found.embeddings, *found.hidden):
        assert taps.shape(model, tap) == (None, None, width)
    for block, attention in zip(found.hidden, found.attention, strict=True):
        assert attention.startswith(f"{block}/")


def test_a_backbone_in_a_classifier():
    pytest.importorskip("keras_hub")
    inner, text = backbone("BertBackbone")
    first = inner(inner.input)["sequence_output"][:, 0]
    model = keras.Model(inner.input, layers.Dense(3)(first))
    found = taps.transformer(model)
    bare = taps.transformer(inner)
    assert found.hidden == [f"{inner.name}/{tap}" for tap in bare.hidden]
    nested, _ = values(model, [found.embeddings, *found.hidden], text)
    with taps.record(inner, [bare.embeddings, *bare.hidden]) as seen:
        outputs = inner(text)
    for one, tap in zip(nested, [bare.embeddings, *bare.hidden], strict=True):
        np.testing.assert_allclose(one, seen[tap], rtol=1e-5)
    np.testing.assert_allclose(nested[-1], outputs["sequence_output"], rtol=1e-5)


def test_layers_that_another_graph_calls_too():
    model = own()
    names = taps.transformer(model)
    # As builders do that take a backbone's layers into a graph of their own.
    block = model.get_layer("block1")
    block([keras.Input((None, 8)), keras.Input((None, 8))])
    assert taps.transformer(model) == names
    assert names.hidden == ["block0", "block1"]


def test_embeddings_that_are_tied_to_the_output():
    ids = keras.Input((None,), dtype="int32")
    embed = layers.ReversibleEmbedding(20, 8, name="embed")
    x = embed(ids)
    x = layers.Add(name="block0")([x, layers.MultiHeadAttention(2, 4, name="attention0")(x, x)])
    model = keras.Model(ids, embed(x, reverse=True))
    found = taps.transformer(model)
    seen, _ = values(model, [found.embeddings, *found.hidden], TOKEN_IDS)
    np.testing.assert_allclose(seen[0], embed(TOKEN_IDS), rtol=1e-5)
    assert found.hidden == ["block0"]


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("graph", [False, True], ids=["subclassed", "graph"])
def test_blocks_inside_layers(blocks, graph):
    if graph:
        ids = keras.Input((None,), dtype="int32")
        x = Encoder(blocks, name="encoder")(layers.Embedding(20, 8)(ids))
        model = keras.Model(ids, layers.Dense(3)(x))
    else:
        model = Subclassed(blocks)
    found = taps.transformer(model)
    names = [f"encoder/block{i}" for i in range(blocks)]
    assert found == ("encoder/block0:input", names, [f"{name}/attention" for name in names])
    seen, _ = values(model, [found.embeddings, *found.hidden], TOKEN_IDS)
    assert [value.shape for value in seen] == [(2, 6, 8)] * (blocks + 1)


@pytest.mark.parametrize("blocks", [1, 2])
def test_vision_transformers(blocks):
    keras_hub = pytest.importorskip("keras_hub")
    model = keras_hub.models.ViTBackbone((16, 16, 3), 4, blocks, 2, 8, 16)
    found = taps.transformer(model)
    names = [f"vit_encoder/transformer_block_{i + 1}" for i in range(blocks)]
    assert found == (f"{names[0]}:input", names, [f"{name}/mha" for name in names])
    seen, output = values(model, found.hidden, np.zeros((2, 16, 16, 3), "float32"))
    norm = model.get_layer("vit_encoder").layer_norm
    np.testing.assert_allclose(norm(seen[-1]), output, rtol=1e-4, atol=1e-5)


def test_the_encoder_comes_before_the_decoder():
    keras_hub = pytest.importorskip("keras_hub")
    model = keras_hub.models.BartBackbone(20, 2, 2, 8, 16, max_sequence_length=8)
    found = taps.transformer(model)
    encoder, decoder = (
        [f"transformer_{part}_layer_{i}" for i in range(2)] for part in ("encoder", "decoder")
    )
    assert found.hidden == encoder + decoder
    assert found.attention[0] == "transformer_encoder_layer_0/self_attention_layer"
    assert found.attention[-1] == "transformer_decoder_layer_1/self_attention"


def test_cross_attention_in_a_graph_is_part_of_its_block():
    decoder, encoder = keras.Input((None, 8), name="decoder"), keras.Input((None, 8), name="encoder")
    x = decoder
    for i in range(2):
        x = layers.Add(name=f"own{i}")([x, layers.MultiHeadAttention(2, 4, name=f"self{i}")(x, x)])
        x = layers.Add(name=f"block{i}")([x, layers.MultiHeadAttention(2, 4, name=f"cross{i}")(x, encoder)])
    found = taps.transformer(keras.Model([decoder, encoder], x))
    assert found == ("self0:input", ["block0", "block1"], ["self0", "self1"])


class Loose(keras.Model):
    def __init__(self):
        super().__init__()
        self.one = layers.MultiHeadAttention(2, 4, name="one")
        self.two = layers.MultiHeadAttention(2, 4, name="two")

    def call(self, x):
        return self.two(self.one(x, x), x)


def two_backbones():
    ids = keras.Input((None,), dtype="int32")
    embedded = layers.Embedding(20, 8)(ids)
    towers = []
    for name in ("left", "right"):
        inputs = keras.Input((None, 8))
        x = inputs
        for _ in range(2):
            x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)])
        towers.append(keras.Model(inputs, x, name=name)(embedded))
    return keras.Model(ids, layers.Add()(towers))


def ends_in_an_operation():
    inputs = keras.Input((None, 8))
    return keras.Model(inputs, inputs + layers.MultiHeadAttention(2, 4)(inputs, inputs))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: keras.Sequential([keras.Input((3,)), layers.Dense(2)]), "has no attention layer"),
        (Loose, r"\['one', 'two'\] are not inside other layers. Put each block into a layer"),
        (two_backbones, r"several backbones with attention: \['left', 'right'\]. Pass one of them"),
        (ends_in_an_operation, r"The output of 'add.*' cannot be tapped.*keras\.layers\.Add"),
    ],
)
def test_models_whose_blocks_cannot_be_told(model, message):
    with pytest.raises(ValueError, match=message):
        taps.transformer(model())


def test_the_remedies_work():
    model = two_backbones()
    found = taps.transformer(model.get_layer("right"))
    tapped = [f"right/{tap}" for tap in (found.embeddings, f"{found.attention[1]}:scores")]
    seen, _ = values(model, tapped, TOKEN_IDS)
    assert seen[1].shape == (2, 2, 6, 6)
    inputs = keras.Input((None, 8))
    seen = layers.MultiHeadAttention(2, 4)(inputs, inputs)
    assert taps.transformer(keras.Model(inputs, layers.Add(name="sum")([inputs, seen]))).hidden == ["sum"]
