"""Teachers of texts: taken as they are, from files that are not trusted."""

import json
import zipfile

import keras
import keras_hub
import numpy as np
import pytest

import tfkd
from tfkd import text
from tfkd.tasks import task_of

X = {
    "token_ids": np.array([[2, 5, 7, 3], [2, 6, 3, 0]], "int32"),
    "padding_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]], "int32"),
}


def backbone():
    keras.utils.set_random_seed(0)
    return keras_hub.models.BertBackbone(40, 1, 2, 8, 16, max_sequence_length=8)


def with_softmax():
    plain = text.classifier(backbone(), classes=3)
    softmax = keras.layers.Softmax(dtype="float32")(plain.output)
    return plain, keras.Model(plain.input, softmax, name="ends_in_probabilities")


def test_a_model_of_tfkd_is_a_teacher_as_it_stands(tmp_path):
    model = text.classifier(text.exact_gelu(backbone()), classes=3)
    assert tfkd.load_teacher(model) is model
    model.save(tmp_path / "teacher.keras")
    teacher = tfkd.load_teacher(tmp_path / "teacher.keras")
    np.testing.assert_array_equal(teacher.predict(X, verbose=0), model.predict(X, verbose=0))
    assert repr(task_of(teacher)) == "TextClassification((3,))"


def test_a_softmax_is_taken_off():
    plain, model = with_softmax()
    teacher = tfkd.load_teacher(model)
    np.testing.assert_allclose(
        teacher.predict(X, verbose=0), plain.predict(X, verbose=0), rtol=1e-5, atol=1e-6
    )
    assert {tensor.name for tensor in teacher.inputs} == set(X)
    assert repr(task_of(teacher)) == "TextClassification((3,))"


def test_a_model_of_keras_hub_is_one_without_its_preprocessor(tmp_path):
    model = keras_hub.models.BertTextClassifier(backbone(), num_classes=2, dropout=0.0)
    model.save(tmp_path / "hub.keras")
    teacher = tfkd.load_teacher(tmp_path / "hub.keras")
    inputs = {**X, "segment_ids": np.zeros((2, 4), "int32")}
    np.testing.assert_allclose(
        teacher.predict(inputs, verbose=0), model.predict(inputs, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_what_tokens_are_for_is_asked():
    hidden = backbone()
    tokens = keras.Model(hidden.input, hidden.output["sequence_output"])
    with pytest.raises(ValueError, match=r"`task` is needed.*masked_language_model"):
        tfkd.load_teacher(tokens)
    assert task_of(tfkd.load_teacher(tokens, task="masked_language_model")).name == "masked_language_model"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"input_range": (0, 255)}, "is for images"),
        ({"mean": 0.5, "layout": "series"}, "is for images.*layout, mean"),
        ({"from_logits": False}, "does not end in a softmax"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        tfkd.load_teacher(text.classifier(backbone(), classes=2), **arguments)


@pytest.mark.parametrize(
    "changed",
    [
        {
            "class_name": "WordPieceTokenizer",
            "module": "keras_hub.src.tokenizers.word_piece_tokenizer",
            "registered_name": "keras_hub>WordPieceTokenizer",
            "config": {"vocabulary": "/etc/passwd"},
        },
        {
            "class_name": "BertTextClassifierPreprocessor",
            "module": "keras_hub.src.models.bert.bert_text_classifier_preprocessor",
            "registered_name": "keras_hub>BertTextClassifierPreprocessor",
            "config": {},
        },
        {"class_name": "function", "module": "builtins", "config": "keras_hub>upload_preset"},
    ],
)
def test_what_touches_files_in_keras_hub_is_refused(tmp_path, changed):
    model = text.classifier(backbone(), classes=2)
    model.save(tmp_path / "good.keras")
    with (
        zipfile.ZipFile(tmp_path / "good.keras") as good,
        zipfile.ZipFile(tmp_path / "bad.keras", "w") as bad,
    ):
        for name in good.namelist():
            content = good.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"].append({**changed, "name": "more", "inbound_nodes": []})
                content = json.dumps(config).encode()
            bad.writestr(name, content)
    with pytest.raises(ValueError, match=r"is refused.*(Tokenizer|Preprocessor|upload_preset)"):
        tfkd.load_teacher(tmp_path / "bad.keras")


def test_without_the_extra_a_file_says_what_to_install(tmp_path, monkeypatch):
    text.classifier(backbone(), classes=2).save(tmp_path / "teacher.keras")
    monkeypatch.setitem(__import__("sys").modules, "keras_hub", None)
    with pytest.raises(ImportError, match=r"teacher.keras.*pip install 'tfkd\[text\]'"):
        tfkd.load_teacher(tmp_path / "teacher.keras")


def test_an_exact_gelu_is_one_of_a_backbone():
    exact = text.exact_gelu(backbone())
    config = exact.get_config()
    assert type(type(exact).from_config(config)).__name__ == "ExactGELU"
    for name in ("BertTokenizer", "nothing", "__loader__"):
        with pytest.raises(ValueError, match="`hub_class` must be a backbone"):
            type(exact).from_config({**config, "hub_class": name})
