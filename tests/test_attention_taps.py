import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfkd
from tests.transformers import BACKBONES, LENGTHS, PADDING_MASK, TEXT, TOKEN_IDS, Subclassed, backbone, own
from tfkd import losses, taps

KINDS = ":queries", ":keys", ":values", ":scores", ":probabilities"
X = np.random.default_rng(1).normal(size=(2, 6, 8)).astype("float32")


def softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def every_kind(path):
    return [path + kind for kind in KINDS]


def read(model, path, inputs):
    """What the five taps of a path see, and the model's output."""
    with taps.record(model, every_kind(path)) as seen:
        output = model(inputs)
    return [seen[tap] for tap in every_kind(path)], output


def attention_model(attention, causal=False, masked=True):
    inputs, padding = keras.Input((None, 8)), keras.Input((None,), dtype="bool")
    x = layers.Dense(8, name="below")(inputs)
    mask = ops.expand_dims(padding, 1) if masked else None
    return keras.Model(
        [inputs, padding], attention(x, x, attention_mask=mask, use_causal_mask=causal), name="attending"
    )


ATTENTIONS = {
    "fused": lambda: layers.MultiHeadAttention(2, 4, name="attention"),
    "dropout": lambda: layers.MultiHeadAttention(2, 4, dropout=0.2, name="attention"),
    "grouped": lambda: layers.GroupQueryAttention(4, 4, 2, name="attention"),
}


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize("masked", [False, True], ids=["unmasked", "masked"])
@pytest.mark.parametrize("kind", ATTENTIONS)
def test_the_oracle(kind, masked, causal):
    attention = ATTENTIONS[kind]()
    model = attention_model(attention, causal, masked)
    (queries, keys, values, scores, probabilities), _ = read(model, "attention", [X, PADDING_MASK == 1])
    below = model.get_layer("below")
    x = X.astype("float64") @ below.kernel.numpy() + below.bias.numpy()
    projected = []
    for name in ("query", "key", "value"):
        dense = taps.resolve(model, f"attention/{name}")
        each = np.einsum("btc,chd->bthd", x, dense.kernel.numpy().astype("float64")) + dense.bias.numpy()
        projected.append(np.repeat(each, queries.shape[2] // each.shape[2], axis=2))
    for seen, expected in zip((queries, keys, values), projected, strict=True):
        np.testing.assert_allclose(seen, expected, rtol=1e-4, atol=1e-5)
    allowed = np.ones((2, 1, 6, 6), bool)
    if masked:
        allowed &= (PADDING_MASK == 1)[:, None, None, :]
    if causal:
        allowed &= np.tri(6, dtype=bool)
    expected = np.einsum("bqhd,bkhd->bhqk", *projected[:2]) / 2
    expected = np.where(allowed, expected, -1e9)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(probabilities, softmax(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "xla"])
@pytest.mark.parametrize("kind", ATTENTIONS)
def test_outputs_are_the_same_with_taps(kind, jit_compile):
    model = attention_model(ATTENTIONS[kind]())

    def run(x, mask):
        return read(model, "attention", [x, mask])

    def plain(x, mask):
        return model([x, mask])

    if jit_compile is not None:
        run, plain = (tf.function(each, jit_compile=jit_compile) for each in (run, plain))
    inputs = tf.constant(X), tf.constant(PADDING_MASK == 1)
    seen, output = run(*inputs)
    np.testing.assert_allclose(output, plain(*inputs), rtol=1e-5, atol=1e-6)
    for value, expected in zip(seen, read(model, "attention", inputs)[0], strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones(name):
    pytest.importorskip("keras_hub")
    model, text = backbone(name)
    path = taps.transformer(model).attention[-1]
    before = model(text)
    (queries, keys, values, scores, probabilities), after = read(model, path, text)
    for one, other in zip(keras.tree.flatten(before), keras.tree.flatten(after), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    heads = queries.shape[2]
    assert queries.shape == keys.shape == values.shape == (2, 6, heads, 4)
    assert scores.shape == probabilities.shape == (2, heads, 6, 6)
    np.testing.assert_allclose(softmax(scores.numpy().astype("float64")), probabilities, atol=1e-6)
    assert (scores.numpy()[1, :, :, LENGTHS[1] :] == -1e9).all()
    if BACKBONES[name][1]:
        products = np.einsum("bqhd,bkhd->bhqk", queries, keys) / np.sqrt(queries.shape[-1])
        np.testing.assert_allclose(np.where(scores.numpy() > -1e8, products, -1e9), scores, atol=1e-5)
    for value in (queries, keys, values, scores, probabilities):
        np.testing.assert_array_equal(keras.src.backend.get_keras_mask(value), PADDING_MASK == 1)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("name", ["BertBackbone", "DebertaV3Backbone", "GemmaBackbone"])
def test_backbones_in_a_function(name, jit_compile):
    pytest.importorskip("keras_hub")
    model, text = backbone(name, num_layers=1)
    path = taps.transformer(model).attention[0]
    expected, output = read(model, path, text)
    run = tf.function(lambda text: read(model, path, text), jit_compile=jit_compile)
    seen, after = run(keras.tree.map_structure(tf.constant, text))
    for one, other in zip(expected, seen, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    for one, other in zip(keras.tree.flatten(output), keras.tree.flatten(after), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_soft_caps_are_in_the_scores():
    pytest.importorskip("keras_hub")
    capped = {
        "attention_logit_soft_cap": 0.01,
        "use_sliding_window_attention": True,
        "sliding_window_size": 2,
    }
    model, text = backbone("GemmaBackbone", num_layers=1, **capped)
    (queries, keys, _, scores, _), _ = read(model, "decoder_block_0", text)
    products = np.einsum("bqhd,bkhd->bhqk", queries, keys) / 2
    allowed = np.tri(6, dtype=bool) & ~np.tri(6, k=-2, dtype=bool) & (PADDING_MASK == 1)[:, None, None, :]
    expected = np.where(allowed, 0.01 * np.tanh(products / 0.01), -1e9)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-5)


def test_attention_along_one_axis_of_maps():
    inputs = keras.Input((6, 5, 8))
    attention = layers.MultiHeadAttention(2, 4, attention_axes=(1,), name="attention")
    maps = np.random.default_rng(2).normal(size=(2, 6, 5, 8)).astype("float32")
    model = keras.Model(inputs, attention(inputs, inputs))
    (queries, keys, _, scores, probabilities), output = read(model, "attention", maps)
    np.testing.assert_allclose(output, model(maps), rtol=1e-5, atol=1e-6)
    expected = np.einsum("bqwhd,bkwhd->bwhqk", queries, keys) / 2
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(probabilities, softmax(expected), rtol=1e-4, atol=1e-6)


def test_every_call_of_a_shared_block():
    pytest.importorskip("keras_hub")
    model, text = backbone("AlbertBackbone", num_layers=3)
    (attention,) = taps.transformer(model).attention
    with taps.record(model, [f"{attention}:scores"]) as seen:
        model(text)
    calls = seen.calls[f"{attention}:scores"]
    assert len(calls) == 3
    assert np.abs(calls[0] - calls[1]).max() > 0
    np.testing.assert_array_equal(calls[-1], seen[f"{attention}:scores"])


def encoder_decoder():
    keras_hub = pytest.importorskip("keras_hub")
    encoder = keras.Input((None, 8), name="encoder")
    decoder = keras.Input((None, 8), name="decoder")
    padding = keras.Input((None,), dtype="int32", name="padding")
    block = keras_hub.layers.TransformerDecoder(16, 2, name="block")
    outputs = block(decoder, encoder, encoder_padding_mask=padding)
    return keras.Model({"encoder": encoder, "decoder": decoder, "padding": padding}, outputs)


def test_two_attentions_in_a_layer_are_told_apart_by_name():
    model = encoder_decoder()
    inputs = {"encoder": X, "decoder": X[:, :3], "padding": PADDING_MASK}
    own, _ = read(model, "block/self_attention", inputs)
    crossed, _ = read(model, "block/cross_attention", inputs)
    assert own[3].shape == (2, 2, 3, 3) and crossed[3].shape == (2, 2, 3, 6)
    masks = [keras.src.backend.get_keras_mask(value) for value in crossed]
    # What asks is not padded as what is asked.
    assert [mask is None for mask in masks] == [True, False, False, True, True]
    np.testing.assert_array_equal(masks[1], PADDING_MASK == 1)
    names = r"\['block/self_attention:scores', 'block/cross_attention:scores'\]"
    with pytest.raises(ValueError, match=f"contains 2 attention layers. Name one of them: {names}"):
        taps.resolve(model, "block:scores")


def test_a_causal_mask_alone_says_nothing_of_padding():
    attention = layers.MultiHeadAttention(2, 4, dropout=0.1, name="attention")
    seen, _ = read(attention_model(attention, True, False), "attention", [X, PADDING_MASK == 1])
    assert all(keras.src.backend.get_keras_mask(value) is None for value in seen)


def test_masks_that_keras_passes_on():
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(20, 8, mask_zero=True)(inputs)
    model = keras.Model(inputs, layers.MultiHeadAttention(2, 4, name="attention")(x, x))
    seen, _ = read(model, "attention", TEXT["token_ids"])
    for value in seen:
        np.testing.assert_array_equal(keras.src.backend.get_keras_mask(value), PADDING_MASK == 1)


def test_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = attention_model(layers.MultiHeadAttention(2, 4, name="attention"))
    finally:
        keras.config.set_dtype_policy("float32")
    inputs = [X, PADDING_MASK == 1]
    seen, output = read(model, "attention", inputs)
    assert [value.dtype.name for value in seen] == [*["float16"] * 3, "float32", "float16"]
    assert seen[3].numpy().min() == -1e9
    np.testing.assert_allclose(output, model(inputs), atol=5e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_layers_below(kind):
    model = attention_model(layers.MultiHeadAttention(2, 4, name="attention"))
    with tf.GradientTape() as tape, taps.record(model, [f"attention{kind}"]) as seen:
        model([X, PADDING_MASK == 1])
        total = ops.sum(ops.where(seen[f"attention{kind}"] > -1e8, seen[f"attention{kind}"], 0.0) ** 2)
    gradient = tape.gradient(total, model.get_layer("below").kernel.value)
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("asked", [False, True])
def test_a_layer_returns_its_scores_only_if_asked(asked):
    attention = layers.MultiHeadAttention(2, 4, name="attention")

    class Asking(keras.Model):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def call(self, x):
            return self.attention(x, x, return_attention_scores=asked)

    model = Asking()
    seen, output = read(model, "attention", X)
    assert isinstance(output, tuple) == asked
    if asked:
        np.testing.assert_array_equal(output[1], seen[4])


def test_layers_that_are_built_in_the_recorded_pass():
    model = Subclassed()
    seen, output = read(model, "encoder/block1", TOKEN_IDS)
    assert seen[3].shape == (2, 2, 6, 6)
    np.testing.assert_allclose(output, model(TOKEN_IDS), rtol=1e-5, atol=1e-6)


def test_layers_are_left_as_they_were_even_after_an_error():
    model = attention_model(ATTENTIONS["fused"]())
    attention = model.get_layer("attention")
    softmax_layer = taps.resolve(model, next(n for n in taps.named_layers(model) if "softmax" in n))
    with pytest.raises(RuntimeError), taps.record(model, ["attention:scores"]):
        assert "call" in vars(attention)
        model([X, PADDING_MASK == 1])
        raise RuntimeError
    with pytest.raises(Exception, match="must be broadcastable"), taps.record(model, ["attention:scores"]):
        attention(X, X, attention_mask=np.ones((2, 5, 5), bool))
    assert not {"call", "_compute_attention"}.intersection(vars(attention))
    assert "call" not in vars(softmax_layer)


def test_records_nest():
    model = attention_model(ATTENTIONS["grouped"]())
    inputs = [X, PADDING_MASK == 1]
    with taps.record(model, every_kind("attention")) as outer:
        with taps.record(model, ["attention:scores", "attention", "attention:input"]) as inner:
            model(inputs)
        output = model(inputs)
    assert [len(outer.calls[tap]) for tap in every_kind("attention")] == [2] * 5
    assert len(inner.calls["attention:scores"]) == 1
    np.testing.assert_array_equal(inner["attention:scores"], outer.calls["attention:scores"][0])
    np.testing.assert_allclose(inner["attention"], output, rtol=1e-5)


def test_other_threads_are_not_recorded():
    model = attention_model(ATTENTIONS["fused"]())
    inputs = [X, PADDING_MASK == 1]
    expected, outputs = model(inputs), []
    with taps.record(model, ["attention:scores"]) as seen:
        other = threading.Thread(target=lambda: outputs.append(model(inputs)))
        other.start()
        other.join()
        assert not seen.calls["attention:scores"]
        model(inputs)
    assert len(seen.calls["attention:scores"]) == 1
    np.testing.assert_allclose(outputs[0], expected, rtol=1e-5)


def test_shapes():
    model = own()
    shapes = [taps.shape(model, tap) for tap in every_kind("attention1")]
    assert shapes == [(None, None, 2, 4)] * 3 + [(None, 2, None, None)] * 2
    model = attention_model(ATTENTIONS["grouped"]())
    assert taps.shape(model, "attention:keys") == (None, None, 4, 4)
    assert taps.shape(model, "attention/key") == (None, None, 2, 4)
    model = Subclassed()
    model(TOKEN_IDS)
    assert taps.shape(model, "encoder/block1:scores") is None


def test_shapes_inside_layers_of_a_graph():
    pytest.importorskip("keras_hub")
    model, text = backbone("BertBackbone")
    outer = keras.Model(model.input, layers.Dense(3)(model(model.input)["sequence_output"][:, 0]))
    block = f"{model.name}/transformer_layer_1"
    tapped = [
        f"{block}/self_attention_layer:values",
        f"{block}/self_attention_layer",
        f"{block}/feedforward_intermediate_dense",
        f"{block}/feedforward_output_dense:input",
        f"{block}:probabilities",
    ]
    before = [weight.numpy() for weight in outer.weights]
    shapes = {tap: taps.shape(outer, tap) for tap in tapped}
    for weight, value in zip(outer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    with taps.record(outer, tapped) as seen:
        outer(text)
    for tap, known in shapes.items():
        expected = seen[tap].shape
        assert known is not None and len(known) == len(expected)
        assert all(one in (None, other) for one, other in zip(known, expected, strict=True))
        assert known[-1] is not None or tap.endswith(":probabilities")


@pytest.mark.slow
def test_bridged_models():
    import tf_keras

    from tfkd.compression import BridgedModel

    inputs = tf_keras.Input((6, 8))
    x = tf_keras.layers.Dense(8)(inputs)
    attended = tf_keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x, use_causal_mask=True)
    model = BridgedModel(tf_keras.Model(inputs, attended))
    (queries, keys, _, scores, probabilities), output = read(model, "attention", X)
    np.testing.assert_allclose(output, model(X), rtol=1e-5)
    expected = np.where(np.tri(6), np.einsum("bqhd,bkhd->bhqk", queries, keys) / 2, -1e9)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(probabilities, softmax(expected), atol=1e-6)
    assert taps.shape(model, "attention:scores") == (None, 2, 6, 6)


class WithoutSoftmaxLayer(layers.MultiHeadAttention):
    def _masked_softmax(self, attention_scores, attention_mask=None):
        return ops.softmax(attention_scores)


class Elsewhere(layers.MultiHeadAttention):
    def call(self, query, value, key=None):
        return query + value


@pytest.mark.parametrize(
    ("kind", "given", "readable"),
    [(WithoutSoftmaxLayer, r"\[':queries', ':keys', ':values'\]", KINDS[:3]), (Elsewhere, r"\[\]", ())],
)
def test_attention_of_another_kind(kind, given, readable):
    inputs = keras.Input((None, 8))
    model = keras.Model(inputs, kind(2, 4, name="attention")(inputs, inputs))
    with (
        pytest.raises(ValueError, match=rf"'attention:scores'.*{kind.__name__}\) gives {given}"),
        taps.record(model, every_kind("attention")),
    ):
        model(X)
    tapped = [f"attention{kind}" for kind in readable]
    with taps.record(model, tapped) as seen:
        model(X)
    assert [seen[tap].shape for tap in tapped] == [(2, 6, 2, 4)] * len(tapped)


@pytest.mark.parametrize("of", ["logits", "wide0"])
def test_layers_without_attention(of):
    message = rf"layer '{of}' contains no attention.*Layers with attention: \['attention0', 'attention1'\]"
    with pytest.raises(ValueError, match=message), taps.record(own(), [f"{of}:scores"]):
        pass


def test_models_without_attention():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="dense")])
    with pytest.raises(ValueError, match=r"needs values.*'sequential.*' has none that can be read"):
        taps.resolve(model, "dense:values")


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_a_distiller_learns_from_attention(jit_compile):
    teacher, student = own(2), own(1)
    text = {"token_ids": TOKEN_IDS, "padding_mask": np.ones_like(TOKEN_IDS)}
    theirs, ours = (
        ["attention1:probabilities", "attention1:values"],
        ["attention0:probabilities", "attention0:values"],
    )
    pairs = [
        losses.MeanSquaredError(teacher_layer=theirs[0], student_layer=ours[0]),
        losses.Hint(theirs[1], ours[1]),
    ]
    with taps.record(teacher, theirs) as of_teacher, taps.record(student, ours) as of_student:
        teacher(text), student(text)
    differences = [
        of_teacher[one].numpy() - of_student[other] for one, other in zip(theirs, ours, strict=True)
    ]
    distiller = tfkd.Distiller(teacher, student, pairs, student_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(1e-2), jit_compile=jit_compile)
    before = student.get_layer("tokens").embeddings.numpy()
    history = distiller.fit(text, epochs=5, verbose=0).history
    for name, difference in zip(("mean_squared_error", "hint"), differences, strict=True):
        assert history[name][0] == pytest.approx(np.mean(np.square(difference)), rel=1e-3)
    assert history["loss"][-1] < history["loss"][0] / 2
    assert np.abs(student.get_layer("tokens").embeddings.numpy() - before).max() > 0
