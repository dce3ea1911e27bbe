import json
import pathlib
import pickle

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.text.folders import CHECKPOINTS, HERE, KINDS, copied, inputs, minilm
from tfkd import text


def sequence(outputs):
    return np.array(outputs["sequence_output"] if isinstance(outputs, dict) else outputs)


@pytest.fixture(scope="module")
def real():
    return text.load(minilm())


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_are_those_of_transformers(kind):
    backbone, tokenizer = text.load(CHECKPOINTS / kind)
    x, expected, real_tokens = inputs(backbone, kind)
    np.testing.assert_allclose(sequence(backbone(x))[real_tokens], expected[real_tokens], atol=3e-6)
    assert text.tokenizer_of(backbone) == tokenizer.fingerprint
    # The network has 16 positions.
    assert tokenizer.max_length == 16


def test_a_real_encoder_computes_what_transformers_computes(real):
    stored = np.load(HERE / "minilm.npz")
    taps = ["embeddings_layer_norm", "transformer_layer_0", "transformer_layer_2", "transformer_layer_5"]
    layers = [real.backbone.get_layer(name).output for name in taps]
    model = keras.Model(real.backbone.input, [*layers, real.backbone.output["pooled_output"]])
    ids, mask = stored["token_ids"], stored["padding_mask"]
    *hidden, pooled = model({"token_ids": ids, "padding_mask": mask, "segment_ids": 0 * ids})
    for name, values in zip(["embeddings_output", "first", "third", "last"], hidden, strict=True):
        seen = np.array(values)[..., ::6][mask == 1]
        np.testing.assert_allclose(seen, stored[name][mask == 1], atol=1e-5, err_msg=name)
    np.testing.assert_allclose(pooled, stored["pooled"], atol=1e-5)


def test_sentences_are_as_similar_as_they_are_known_to_be(real):
    stored = np.load(HERE / "minilm.npz")
    encoder = text.sentence_encoder(real.backbone)
    x = {name: stored[name] for name in ("token_ids", "padding_mask")}
    np.testing.assert_allclose(encoder(x), stored["sentence"], atol=2e-6)
    sentences = [
        "The movie was wonderful",
        "I loved this film",
        "The stock market fell today",
        "Share prices dropped sharply",
        "A dog runs in the park",
    ]
    made = np.array(encoder(real.tokenizer(sentences)))
    np.testing.assert_allclose(made @ made.T, stored["similarities"], atol=3e-6)


def test_a_maximum_length_is_checked():
    assert text.load(CHECKPOINTS / "bert", max_length=8).tokenizer.max_length == 8
    with pytest.raises(ValueError, match=r"`max_length` must be at most 16"):
        text.load(CHECKPOINTS / "bert", max_length=17)


def test_a_head_in_the_checkpoint_does_not_hinder(tmp_path):
    folder = copied("distilbert", tmp_path)
    weights = load_file(folder / "model.safetensors")
    named = {f"distilbert.{name}": value for name, value in weights.items()}
    save_file({**named, "classifier.weight": np.ones((2, 8), "float32")}, folder / "model.safetensors")
    backbone, _ = text.load(folder)
    x, expected, real_tokens = inputs(backbone, "distilbert")
    np.testing.assert_allclose(sequence(backbone(x))[real_tokens], expected[real_tokens], atol=3e-6)


def change(folder: pathlib.Path, **options):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **options}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "abacus"}, "no converter for this `model_type`"),
        ({"model_type": None}, "no config.json with a `model_type`"),
        ({"registered_name": "x"}, "keras_hub.models.Backbone.from_preset"),
        ({"num_hidden_layers": 1}, "weights of .* have 2 layers, but its config.json has 1"),
        (
            {"num_hidden_layers": 3},
            "lack the tensor 'encoder.layer.2.attention.self.query.weight'.*such as",
        ),
        ({"hidden_size": 16}, "cannot be loaded"),
        (
            {"vocab_size": 10**12},
            "has vocab_size=1000000000000 for hidden states of size 8, but its weights have only",
        ),
        (
            {"hidden_act": "relu"},
            "activation 'relu', but keras-hub's BertBackbone computes an approximate",
        ),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(options, message, tmp_path):
    folder = copied("bert", tmp_path)
    change(folder, **options)
    with pytest.raises(ValueError, match=message):
        text.load(folder)


def test_an_option_that_is_missing_is_named(tmp_path):
    folder = copied("bert", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    del config["num_attention_heads"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config.json has no 'num_attention_heads'"):
        text.load(folder)


def test_an_approximated_gelu_stays_where_the_checkpoint_has_it(tmp_path):
    folder = copied("bert", tmp_path)
    change(folder, hidden_act="gelu_new")
    backbone, _ = text.load(folder)
    assert type(backbone).__name__ == "BertBackbone"
    x, expected, real_tokens = inputs(backbone, "bert")
    difference = np.abs(sequence(backbone(x)) - expected)[real_tokens].max()
    assert 1e-5 < difference < 1e-1


def test_tensors_of_other_names_are_named(tmp_path):
    folder = copied("bert", tmp_path)
    weights = load_file(folder / "model.safetensors")
    renamed = {name.replace("query", "q_proj"): value for name, value in weights.items()}
    save_file(renamed, folder / "model.safetensors")
    message = "lack the tensor 'encoder.layer.0.attention.self.query.weight'.*attention.self.q_proj.weight"
    with pytest.raises(ValueError, match=message):
        text.load(folder)


def test_pickles_are_not_read(tmp_path):
    folder = copied("bert", tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"has no weights in 'model.safetensors'"):
        text.load(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ValueError, match=r"is a pickle, which can run code.*safe_serialization=True"):
        text.load(folder)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 16, b"\x02" + b"\0" * 7 + b"{}", b"\x02" + b"\0" * 7 + b"[]"]
)
def test_damaged_weights_are_refused(content, tmp_path):
    folder = copied("bert", tmp_path)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"`folder`"):
        text.load(folder)


def test_weights_outside_the_folder_are_not_read(tmp_path):
    folder = copied("bert", tmp_path)
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match="has no `weight_map`"):
        text.load(folder)
    index = {"weight_map": {"a": "../other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"has no weights in '../other.safetensors'"):
        text.load(folder)


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(tmp_path):
    folder = copied("bert", tmp_path)
    with open(folder / "vocab.txt", "a", encoding="utf-8") as file:
        file.write("more\n")
    with pytest.raises(ValueError, match="has 29 tokens, but its network has embeddings for 28"):
        text.load(folder)


def test_what_is_no_folder_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(ValueError, match="huggingface-cli download"):
        text.load(tmp_path / "nothing")
    (tmp_path / "vocab.txt").write_text("a")
    with pytest.raises(ValueError, match=r"no config.json"):
        text.load(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    folder = copied("bert", tmp_path)
    (folder / "vocab.txt").unlink()
    with pytest.raises(ValueError, match="contains no tokenizer"):
        text.load(folder)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "albert", "roberta"])
def test_heads_of_masked_language_models_are_read(kind):
    folder = CHECKPOINTS / f"masked_{kind}"
    if kind in ("bert", "albert"):
        with pytest.warns(UserWarning, match="has no pooler: `pooled_output` is zeros"):
            backbone, _ = text.load(folder)
    else:
        backbone, _ = text.load(folder)
    model = text.masked_language_model(backbone, folder)
    x, _, real_tokens = inputs(model, kind)
    expected = np.load(CHECKPOINTS / "masked_logits.npz")[kind]
    np.testing.assert_allclose(np.array(model(x))[real_tokens], expected[real_tokens], atol=1e-5)


def test_a_head_that_is_missing_or_of_another_size_is_refused():
    backbone, _ = text.load(CHECKPOINTS / "bert")
    with pytest.raises(ValueError, match="has no masked language model head"):
        text.masked_language_model(backbone, CHECKPOINTS / "bert")
    with pytest.raises(ValueError, match="Load the backbone from the same folder"):
        text.masked_language_model(backbone, CHECKPOINTS / "masked_roberta")
