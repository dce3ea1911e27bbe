"""Transformers of keras-hub as graphs of Keras's own layers: same outputs, layers, weights and inputs."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from tests.text import small_models
from tfkd import taps, tasks, text

RNG = np.random.default_rng(0)
X = {
    "token_ids": RNG.integers(5, small_models.VOCABULARY, (6, small_models.TOKENS)).astype("int32"),
    "segment_ids": RNG.integers(0, 2, (6, small_models.TOKENS)).astype("int32"),
    "padding_mask": (np.arange(small_models.TOKENS) < RNG.integers(2, 9, (6, 1))).astype("int32"),
}


def hub(kind, **options):
    import keras_hub

    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 12}
    return getattr(keras_hub.models, kind)(
        vocabulary_size=small_models.VOCABULARY, max_sequence_length=small_models.TOKENS, **sizes, **options
    )


def under_keras_hubs_head():
    import keras_hub

    return keras_hub.models.BertTextClassifier(backbone=hub("BertBackbone"), num_classes=3)


def normalized_first():
    import keras_hub

    ids, mask = (keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask"))
    embedded = keras_hub.layers.TokenAndPositionEmbedding(small_models.VOCABULARY, 8, 8, name="words")(ids)
    encoder = keras_hub.layers.TransformerEncoder(
        12, 2, activation="gelu", normalize_first=True, name="block"
    )
    return keras.Model({"token_ids": ids, "padding_mask": mask}, encoder(embedded, padding_mask=mask))


MODELS = {
    "BERT": lambda: hub("BertBackbone"),
    "DistilBERT": lambda: hub("DistilBertBackbone"),
    "RoBERTa": lambda: hub("RobertaBackbone"),
    "ALBERT": lambda: hub("AlbertBackbone", embedding_dim=4),
    "head of keras-hub": under_keras_hubs_head,
    "classifier": lambda: small_models.bert_classifier(layers=2),
    "first token": lambda: text.classifier(hub("RobertaBackbone"), 2, pooling="first"),
    "encoder, exact GELU": lambda: text.sentence_encoder(text.exact_gelu(hub("BertBackbone"))),
    "normalized first": normalized_first,
    "BiLSTM": lambda: text.bilstm_classifier(small_models.VOCABULARY, 2, 6, hidden=4, dense=5),
}


def outputs(model):
    given = {name: X[name] for name in model.input}
    return [np.asarray(each) for each in keras.tree.flatten(model(given, training=False))]


@pytest.mark.parametrize("name", MODELS)
def test_outputs_inputs_task_and_weights_are_the_same(name, tmp_path):
    model = MODELS[name]()
    made = text.plain(model)
    assert list(made.input) == list(model.input) and made.name == model.name
    for expected, found in zip(outputs(model), outputs(made), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    kinds = {type(layer) for layer in made.layers}
    assert all(kind.__module__.startswith("keras.src") for kind in kinds), kinds
    assert tasks.marked_task(made) == tasks.marked_task(model)
    made.save(tmp_path / "plain.keras")
    for expected, found in zip(
        outputs(made), outputs(keras.models.load_model(tmp_path / "plain.keras")), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_layers_have_the_paths_that_they_had():
    model = under_keras_hubs_head()
    made = text.plain(model)
    backbone = model.backbone.name
    path = f"{backbone}/transformer_layer_1/feedforward_layer_norm"
    given = {name: X[name] for name in model.input}
    with taps.record(model, [path]) as seen:
        model(given)
    with taps.record(made, [path.replace("/", "_")]) as found:
        made(given)
    np.testing.assert_allclose(found[path.replace("/", "_")], seen[path], atol=1e-6)


def test_weights_are_copies_and_what_is_frozen_stays_so():
    model = hub("BertBackbone")
    model.get_layer("token_embedding").trainable = False
    before, made = model.get_weights(), text.plain(model)
    assert not made.get_layer("token_embedding").trainable
    for weight in made.weights:
        weight.assign(keras.ops.zeros_like(weight))
    for expected, found in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert len(model.layers) == len(hub("BertBackbone").layers)


def test_what_no_output_needs_is_left_out():
    made = text.plain(small_models.bert_encoder(layers=1))
    assert not [layer for layer in made.layers if "pooled" in layer.name]


def test_plain_files_load_without_keras_hub(tmp_path):
    text.plain(MODELS["BERT"]()).save(tmp_path / "plain.keras")
    code = (
        f"import keras, sys; keras.models.load_model({str(tmp_path / 'plain.keras')!r}); "
        "assert 'keras_hub' not in sys.modules and 'tfkd' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def masked_by_an_embedding():
    import keras_hub

    ids = keras.Input((None,), dtype="int32", name="token_ids")
    x = layers.Embedding(small_models.VOCABULARY, 8, mask_zero=True)(ids)
    return keras.Model({"token_ids": ids}, keras_hub.layers.TransformerEncoder(12, 2, name="block")(x))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: "bert", TypeError, "must be a Keras model. Received: 'bert'"),
        (
            lambda: small_models.gpt2(layers=1),
            ValueError,
            r"\(TransformerDecoder\) is neither.*Use the part",
        ),
        (
            lambda: small_models.bert_masked(layers=1),
            ValueError,
            "called in reverse.*without its language",
        ),
        (masked_by_an_embedding, ValueError, "'block'.*Call it with `padding_mask`"),
        (lambda: keras.Sequential([layers.Dense(2)]), ValueError, "functional or a built Sequential"),
    ],
    ids=["no model", "decoder", "tied", "mask", "not built"],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        text.plain(make())
