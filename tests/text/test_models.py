import keras
import keras_hub
import numpy as np
import pytest

from tfkd import tasks, text

SIZES = {"num_layers": 2, "hidden_dim": 8, "intermediate_dim": 16}
IDS = np.random.default_rng(0).integers(1, 20, (3, 6)).astype("int32")
MASK = np.ones_like(IDS)
MASK[1, 4:] = MASK[2, 1:] = 0
X = {"token_ids": IDS, "padding_mask": MASK}


def backbone(kind="Bert", **options):
    if kind == "Llama":
        return keras_hub.models.LlamaBackbone(20, num_query_heads=2, num_key_value_heads=1, **SIZES)
    made = getattr(keras_hub.models, f"{kind}Backbone")
    model = made(vocabulary_size=20, num_heads=2, max_sequence_length=8, **SIZES, **options)
    return text.mark_tokenizer(model, "0123456789abcdef")


BUILDERS = {
    "classifier": lambda model: text.classifier(model, 3),
    "mean_classifier": lambda model: text.classifier(model, 3, pooling="mean"),
    "sentence_encoder": text.sentence_encoder,
    "projected_encoder": lambda model: text.sentence_encoder(model, units=5),
    "masked_language_model": text.masked_language_model,
    "causal_language_model": text.causal_language_model,
}
TASKS = {
    "classifier": "text_classification",
    "mean_classifier": "text_classification",
    "sentence_encoder": "sentence_embedding",
    "projected_encoder": "sentence_embedding",
    "masked_language_model": "masked_language_model",
    "causal_language_model": "causal_language_model",
}
SHAPES = {
    "classifier": (3, 3),
    "mean_classifier": (3, 3),
    "sentence_encoder": (3, 8),
    "projected_encoder": (3, 5),
    "masked_language_model": (3, 6, 20),
    "causal_language_model": (3, 6, 20),
}


@pytest.mark.parametrize("built", BUILDERS)
@pytest.mark.parametrize("kind", ["Bert", "Roberta", "DistilBert", "GPT2"])
def test_models_read_named_inputs_and_files_keep_them(kind, built, tmp_path):
    model = BUILDERS[built](backbone(kind))
    assert {each.name: each.dtype for each in model.inputs} == {
        "token_ids": "int32",
        "padding_mask": "int32",
    }
    outputs = np.array(model(X))
    assert outputs.shape == SHAPES[built] and outputs.dtype == "float32"
    # What padding holds does not count.
    other = {"token_ids": np.where(MASK == 1, IDS, 7), "padding_mask": MASK.astype(bool)}
    again = np.array(model(other))
    if outputs.ndim == 3:
        outputs, again = outputs[MASK == 1], again[MASK == 1]
    np.testing.assert_allclose(again, outputs, atol=1e-6)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(X), model(X))
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    assert text.tokenizer_of(loaded) == text.tokenizer_of(model) == "0123456789abcdef"
    assert loaded.layers[-1].name == f"outputs_of_{TASKS[built]}"
    if TASKS[built] in tasks.known_tasks():
        assert tasks.task_of(loaded).name == tasks.task_of(model).name == TASKS[built]


def test_pooling_takes_the_first_token_or_the_mean_of_real_ones():
    hidden = np.random.default_rng(1).normal(size=(3, 6, 4))
    x = hidden.astype("float32")
    np.testing.assert_array_equal(text.TokenPooling("first")(x, MASK), x[:, 0])
    expected = [hidden[i, : MASK[i].sum()].mean(axis=0) for i in range(3)]
    np.testing.assert_allclose(text.TokenPooling("mean")(x, MASK), expected, atol=1e-6)
    np.testing.assert_array_equal(text.TokenPooling("mean")(x, 0 * MASK), np.zeros((3, 4)))
    # Half precision cannot hold the sum.
    large = np.full((1, 600, 2), 200, "float16")
    pooled = text.TokenPooling("mean", dtype="float16")(large, np.ones((1, 600), "int32"))
    np.testing.assert_array_equal(pooled, [[200, 200]])


def test_embeddings_have_length_1_if_asked():
    encoder = text.sentence_encoder(backbone())
    np.testing.assert_allclose(np.linalg.norm(encoder(X), axis=1), 1, atol=1e-6)
    plain = np.array(text.sentence_encoder(backbone(), normalize=False)(X))
    assert np.abs(np.linalg.norm(plain, axis=1) - 1).min() > 0.1


def test_models_share_weights_with_their_backbone_and_train_no_pooler():
    model = backbone()
    built = text.classifier(model, 2)
    assert built.get_layer("token_embedding") is model.get_layer("token_embedding")
    assert "pooled_dense" not in [layer.name for layer in built.layers]


def test_logits_of_language_models_share_the_token_embeddings(tmp_path):
    built = text.causal_language_model(backbone("DistilBert"))
    built.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    tables = [weight for weight in model.weights if tuple(weight.shape) == (20, 8)]
    assert len(tables) == 1
    tables[0].assign(tables[0] * 0)
    assert not np.array(model(X)).any()


def test_causal_models_do_not_look_ahead():
    model = text.causal_language_model(backbone("GPT2"))
    other = IDS.copy()
    other[:, 3:] = 5
    x = {"token_ids": IDS, "padding_mask": np.ones_like(IDS)}
    seen, again = model(x), model({**x, "token_ids": other})
    np.testing.assert_allclose(seen[:, :3], again[:, :3], atol=1e-6)
    assert np.abs(np.array(seen - again)[:, 3:]).max() > 1e-3


def test_pairs_have_segments():
    model = text.classifier(backbone(), 2, pairs=True)
    segments = {"segment_ids": np.repeat([[0, 0, 1, 1, 1, 1]], 3, axis=0)}
    assert np.abs(np.array(model({**X, **segments}) - model({**X, "segment_ids": 0 * IDS}))).max() > 1e-4
    single = text.classifier(backbone(), 2)
    single.set_weights(model.get_weights())
    np.testing.assert_allclose(single(X), model({**X, "segment_ids": 0 * IDS}), atol=1e-6)
    with pytest.raises(ValueError, match=r"`pairs`.*has no `segment_ids`"):
        text.classifier(backbone("DistilBert"), 2, pairs=True)


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16", "float16"])
def test_other_precisions_give_logits_in_float32(policy):
    for build in (BUILDERS["mean_classifier"], text.sentence_encoder, text.causal_language_model):
        outputs = build(backbone(dtype=policy))(X)
        assert outputs.dtype == "float32" and np.isfinite(outputs).all()


def test_a_graph_and_xla_compute_the_same():
    import tensorflow as tf

    model = text.classifier(backbone(), 2, pooling="mean")
    for compiled in (False, True):
        step = tf.function(lambda x: model(x), jit_compile=compiled)
        np.testing.assert_allclose(step(X), model(X), atol=1e-5)


def test_layers_that_files_cannot_hold_stay_in_a_nested_backbone(tmp_path):
    model = text.sentence_encoder(backbone("Llama"))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(X), model(X))
    with pytest.raises(ValueError, match="Use keras-hub's own language model"):
        text.causal_language_model(backbone("Llama"))


def test_own_networks_are_backbones_too():
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in X}
    x = keras.layers.Embedding(20, 8)(inputs["token_ids"])
    x = keras.layers.MultiHeadAttention(2, 4)(x, x, attention_mask=inputs["padding_mask"][:, None, :])
    own = keras.Model(inputs, x)
    assert text.classifier(own, 2)(X).shape == (3, 2)
    with pytest.raises(ValueError, match=r"one keras.layers.ReversibleEmbedding"):
        text.masked_language_model(own)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), "by these names"),
        (lambda: text.classifier(backbone(), 2), "must return hidden states"),
        (lambda: keras.Sequential([keras.layers.Dense(2)]), "functional model"),
    ],
)
def test_what_is_no_backbone_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        text.classifier(model(), 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 1}, "`classes`"),
        ({"classes": 2, "pooling": "last"}, "`pooling`"),
        ({"classes": 2, "dropout": 1}, "`dropout`"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        text.classifier(backbone(), **options)


def test_a_bilstm_sees_real_tokens_only(tmp_path):
    table = np.random.default_rng(2).normal(size=(20, 6)).astype("float32")
    model = text.bilstm_classifier(
        20, 2, embedding_dim=4, hidden=3, dense=5, embeddings=table, tokenizer="ab"
    )
    np.testing.assert_array_equal(model.get_layer("token_embedding").get_weights()[0], table)
    # Two LSTMs of 4 inputs, 6 of them concatenated, a projection, and the logits.
    expected = 2 * 4 * 3 * (4 + 3 + 1) + (6 * 5 + 5) + (6 * 4 + 4) + (5 * 2 + 2)
    assert sum(int(np.prod(each.shape)) for each in model.trainable_variables) == expected
    alone = model({"token_ids": IDS[1:2, :4], "padding_mask": np.ones((1, 4), "int32")})
    np.testing.assert_allclose(model(X)[1:2], alone, atol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(X), model(X))
    assert text.tokenizer_of(loaded) == "ab"
    assert text.bilstm_classifier(20, 2).get_layer("token_embedding").output_dim == 300
    with pytest.raises(ValueError, match=r"`embeddings` must be \(21, d\)"):
        text.bilstm_classifier(21, 2, embeddings=table)
