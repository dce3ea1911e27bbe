"""TFLite files of text models: by name, in integers, of one length, checked on texts."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from tfkd import export, tasks
from tfkd._core.runtimes import TFLiteFile
from tfkd._core.token_marks import tokens_layer

pytestmark = pytest.mark.slow
keras_hub = pytest.importorskip("keras_hub")

VOCABULARY, LENGTH = 50, 12
RNG = np.random.default_rng(0)
NAMES = ("token_ids", "padding_mask")


def texts(n=40, length=LENGTH, seed=0):
    """Token ids of texts of different lengths, 0 behind them, and which tokens are real."""
    rng = np.random.default_rng(seed)
    real = np.arange(length) < rng.integers(3, length + 1, n)[:, None]
    return {
        "token_ids": np.where(real, rng.integers(5, VOCABULARY, (n, length)), 0).astype("int32"),
        "padding_mask": real.astype("int32"),
    }


X = texts()


def text_inputs(mask_dtype="int32"):
    dtypes = zip(NAMES, ("int32", mask_dtype), strict=True)
    return {name: keras.Input((None,), dtype=dtype, name=name) for name, dtype in dtypes}


def mean_of_tokens(x, mask):
    weights = ops.cast(mask, "float32")[..., None]
    return ops.sum(x * weights, axis=1) / ops.sum(weights, axis=1)


def hidden_states(inputs):
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=VOCABULARY,
        num_layers=2,
        num_heads=2,
        # The converter leaves weights of less than 1,024 numbers in floats.
        hidden_dim=32,
        intermediate_dim=64,
        max_sequence_length=32,
        dropout=0.0,
        name="backbone",
    )
    # Weights of .02 make all hidden states alike.
    backbone.set_weights([5 * w if w.ndim > 1 else w for w in backbone.get_weights()])
    return backbone({**inputs, "segment_ids": ops.zeros_like(inputs["token_ids"])})["sequence_output"]


def classifier(mask_dtype="int32"):
    inputs = text_inputs(mask_dtype)
    x = mean_of_tokens(hidden_states(inputs), inputs["padding_mask"])
    outputs = layers.Dense(3, name="outputs_of_text_classification")(x)
    return keras.Model(inputs, outputs, name="classifier")


def encoder():
    inputs = text_inputs()
    x = mean_of_tokens(hidden_states(inputs), inputs["padding_mask"])
    outputs = layers.UnitNormalization(name="outputs_of_sentence_embedding")(x)
    return keras.Model(inputs, outputs, name="encoder")


def language_model(kind="masked"):
    inputs = text_inputs()
    outputs = layers.Dense(VOCABULARY, name=f"outputs_of_{kind}_language_model")(hidden_states(inputs))
    return keras.Model(inputs, outputs, name="language_model")


def bilstm():
    inputs = text_inputs()
    x = layers.Embedding(VOCABULARY, 24)(inputs["token_ids"])
    lstm = layers.Bidirectional(layers.LSTM(16))
    x = lstm(x, mask=ops.cast(inputs["padding_mask"], "bool"))
    outputs = layers.Dense(3, name="outputs_of_text_classification")(layers.Dense(8, "relu")(x))
    return keras.Model(inputs, outputs, name="bilstm")


MODELS = {"bert": classifier, "encoder": encoder, "bilstm": bilstm, "language model": language_model}


def one_by_one(model, x):
    """What a model answers to texts without padding."""
    lengths = x["padding_mask"].sum(1)
    parts = [{name: x[name][i : i + 1, :n] for name in x} for i, n in enumerate(lengths)]
    return [np.asarray(model(part))[0] for part in parts]


@pytest.mark.parametrize("name", MODELS)
def test_a_file_answers_as_the_model_does_without_padding(name, tmp_path):
    """By a signature of names and integers, at a fixed length, with operators that every phone has."""
    model, path = MODELS[name](), tmp_path / "m.tflite"
    check = export.export_tflite(model, path, "float32", verification_data=X)
    assert check.agreement > 0.9999 and check.max_difference < 1e-4 and check.quantization == "float32"
    file = TFLiteFile(path.read_bytes())
    assert file.input_shapes == dict.fromkeys(NAMES, (None, LENGTH))
    assert file.dtypes == ["int32", "int32", "float32"]
    assert not [op for op in file.interpreter._get_ops_details() if op["op_name"].startswith("Flex")]
    outputs = export.run_tflite(path, {**X, "segment_ids": 0 * X["token_ids"]})
    for i, expected in enumerate(one_by_one(model, X)):
        seen = outputs[i][: len(expected)] if name == "language model" else outputs[i]
        np.testing.assert_allclose(seen, expected, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_texts_are_of_dynamic_range_unless_asked_otherwise(name):
    model = MODELS[name]()
    check = export.export_tflite(model, None, "auto" if name == "bilstm" else None, verification_data=X)
    assert check.quantization == "dynamic" and check.agreement > 0.9
    assert check.size_bytes < export.export_tflite(model, None, "float16", X).size_bytes
    assert check.latency_ms > 0 and check.latency_2_threads_ms > 0


def test_images_stay_in_floats():
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs)))
    assert export.export_tflite(model, None).quantization == "float32"
    for options in ({"length": 8}, {"vocabulary": ["a"]}):
        with pytest.raises(ValueError, match=r"takes no texts.*Leave it out"):
            export.export_tflite(model, None, **options)


def test_an_open_length_needs_one(tmp_path):
    model, path = classifier(), tmp_path / "m.tflite"
    with pytest.raises(ValueError, match=r"`length` is needed.*length=64, or pass data"):
        export.export_tflite(model, path)
    with pytest.raises(ValueError, match=r"`verification_data` is needed.*takes texts.*Tokenizer"):
        export.export_tflite(model, path, length=8)
    check = export.export_tflite(model, path, "float32", length=20, verification_data=X)
    assert check.max_difference < 1e-4
    assert TFLiteFile(path.read_bytes()).input_shapes["token_ids"] == (None, 20)
    assert export.read_metadata(path) == {"labels": None, "input_range": None, "length": 20}
    with pytest.raises(ValueError, match=r"more than 5 tokens.*length=12.*length=5\)"):
        export.export_tflite(model, path, length=5, verification_data=X)
    # What is only padding may be cut.
    short = {name: array * (np.arange(LENGTH) < 5) for name, array in X.items()}
    assert export.export_tflite(model, path, length=5, verification_data=short).agreement > 0.9


def test_a_length_of_its_own_is_kept():
    inputs = keras.Input((LENGTH,), dtype="int32", name="token_ids")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(VOCABULARY, 8)(inputs))
    model = keras.Model(inputs, layers.Dense(3)(x))
    assert export.export_tflite(model, None, verification_data=X, length=LENGTH).agreement > 0.9
    with pytest.raises(ValueError, match=r"`length` must be 12, since .*takes texts of 12 tokens"):
        export.export_tflite(model, None, verification_data=X, length=20)


def buckets(labels):
    """Batches that are padded to their own lengths."""
    lengths = X["padding_mask"].sum(1)
    for low, high in ((0, 6), (6, 9), (9, LENGTH)):
        chosen = (lengths > low) & (lengths <= high)
        yield {name: array[chosen, :high] for name, array in X.items()}, labels[chosen]


def dataset(labels):
    specs = ({name: tf.TensorSpec((None, None), "int32") for name in NAMES}, tf.TensorSpec([None], "int64"))
    return tf.data.Dataset.from_generator(lambda: buckets(labels), output_signature=specs)


def test_real_texts_from_arrays_and_data_sets():
    model = classifier()
    answers = model.predict(X, verbose=0).argmax(-1)
    labels = np.where(np.arange(40) < 10, (answers + 1) % 3, answers)
    for data in ((X, labels), dataset(labels)):
        check = export.export_tflite(model, None, "float32", evaluation_data=data)
        assert check.accuracy == check.model_accuracy == pytest.approx(0.75)
        assert check.agreement == check.real_agreement == 1.0 and check.real_examples == 40
    others = texts(30, seed=1)
    check = export.export_tflite(model, None, evaluation_data=(X, labels), verification_data=others)
    assert check.agreement > 0.8 and abs(check.accuracy - 0.75) < 0.1
    for wrong in ((X, labels[:5]), (X, labels + 2), ({"token_ids": X["token_ids"]}, labels)):
        with pytest.raises(ValueError, match=r"evaluation_data|without padding_mask"):
            export.export_tflite(model, None, evaluation_data=wrong)


def test_rounded_activations_come_with_a_warning(tmp_path):
    model, path = classifier(), tmp_path / "m.tflite"
    with pytest.warns(
        UserWarning, match=r"'int8'` rounds the activations of the text model 'classifier'.*'dynamic'"
    ):
        check = export.export_tflite(model, path, "int8", X, interface="int8")
    file = TFLiteFile(path.read_bytes())
    assert file.dtypes == ["int32", "int32", "int8"] and check.quantization == "int8"
    assert check.agreement > 0.5
    streamed = lambda: iter([batch for batch, _ in buckets(np.zeros(40))])  # noqa: E731
    with pytest.warns(UserWarning):
        assert export.export_tflite(model, None, "int8", streamed).agreement > 0.5


class Tokens:
    """As much of a tokenizer as a file has to know."""

    vocabulary = [*(f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")), "caf\u00e9"] + [
        f"word{i}" for i in range(VOCABULARY - 6)
    ]
    fingerprint = "abc"
    pad_id, cls_id, sep_id, mask_id = 0, 2, 3, 4


def test_the_vocabulary_is_in_the_file(tmp_path):
    model, path = bilstm(), tmp_path / "m.tflite"
    plain = export.export_tflite(model, path, verification_data=X)
    with pytest.raises(ValueError, match=r"contains no vocab.txt.*vocabulary=tokenizer"):
        export.read_vocabulary(path)
    for given in (Tokens(), Tokens.vocabulary):
        check = export.export_tflite(model, path, verification_data=X, vocabulary=given, labels=list("abc"))
        assert (
            export.read_vocabulary(path) == export.read_vocabulary(path.read_bytes()) == Tokens.vocabulary
        )
        assert check.size_bytes == path.stat().st_size > plain.size_bytes and check.agreement > 0.9
        with zipfile.ZipFile(path) as archive:
            # As readers on phones have it.
            assert archive.getinfo("vocab.txt").compress_type == zipfile.ZIP_STORED
            assert archive.read("vocab.txt").decode().splitlines()[5] == "caf\u00e9"
        described = export.read_metadata(path)
        assert described["labels"] == ["a", "b", "c"] and described["length"] == LENGTH
        assert described["vocabulary"]["size"] == VOCABULARY
    export.export_tflite(model, path, verification_data=X, vocabulary=Tokens())
    ids = {"pad_id": 0, "mask_id": 4, "cls_id": 2, "sep_id": 3, "fingerprint": "abc"}
    assert export.read_metadata(path)["vocabulary"] == {"file": "vocab.txt", "size": VOCABULARY, **ids}


def test_the_vocabulary_is_that_of_the_model():
    inputs = text_inputs()
    x = layers.Embedding(VOCABULARY, 8)(tokens_layer("def")(inputs["token_ids"]))
    x = mean_of_tokens(x, inputs["padding_mask"])
    model = keras.Model(inputs, layers.Dense(3)(x), name="net")
    with pytest.raises(ValueError, match=r"another tokenizer \(abc\) than the one of 'net' \(def\)"):
        export.export_tflite(model, None, verification_data=X, vocabulary=Tokens())
    assert (
        export.export_tflite(model, None, verification_data=X, vocabulary=Tokens.vocabulary).agreement > 0.9
    )


@pytest.mark.parametrize(
    ("vocabulary", "error", "message"),
    [
        ("vocab.txt", TypeError, "must be a tfkd.text.Tokenizer or a list"),
        ([], ValueError, "at least one"),
        (["a\nb"], ValueError, "without line breaks"),
        (["a", "b"], ValueError, r"has 2 tokens.*contain id 49. Pass the tokenizer"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_refused(vocabulary, error, message):
    with pytest.raises(error, match=f"`vocabulary` .*{message}"):
        export.export_tflite(bilstm(), None, verification_data=X, vocabulary=vocabulary)


def test_a_sentence_encoder_brings_its_pooling_and_its_length_of_one(tmp_path):
    model, path = encoder(), tmp_path / "m.tflite"
    vectors = model.predict(X, verbose=0)
    check = export.export_tflite(model, path, evaluation_data=(X, vectors), min_agreement=0.9)
    assert check.accuracy is None and check.scores["cosine"] > 0.99
    assert check.scores["rank_correlation"] > 0.95
    assert check.model_scores == pytest.approx({"cosine": 1.0, "rank_correlation": 1.0}, abs=1e-5)
    np.testing.assert_allclose(np.linalg.norm(export.run_tflite(path, X), axis=-1), np.ones(40), rtol=1e-4)
    expected = (export.run_tflite(path, X) * vectors).sum(-1).mean()
    assert check.agreement == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_language_models_are_compared_at_real_tokens(kind, tmp_path):
    model, path = language_model(kind), tmp_path / "m.tflite"
    labels = tasks.next_tokens(X["token_ids"], X["padding_mask"])
    check = export.export_tflite(model, path, length=16, evaluation_data=(X, labels))
    padded = {name: np.pad(array, ((0, 0), (0, 4))) for name, array in X.items()}
    outputs, expected = export.run_tflite(path, padded), model.predict(padded, verbose=0)
    task = tasks.task_of(model)
    assert task.name == f"{kind}_language_model"
    agreement = np.mean(task.agreement(expected, outputs, padded["padding_mask"]))
    assert check.agreement == check.real_agreement == pytest.approx(agreement) and agreement > 0.8
    longer = np.pad(labels, ((0, 0), (0, 4)), constant_values=-100)
    assert check.scores == pytest.approx(task.score(outputs, longer))
    assert check.model_scores["perplexity"] == pytest.approx(check.scores["perplexity"], rel=0.05)


class OtherAtPadding(layers.Layer):
    """Turns the answers at padding round, in a file only."""

    def call(self, x, mask):
        return tf.where(tf.cast(mask, "bool")[..., None], x, -x) if x.shape[0] == 1 else x


def test_what_is_said_about_padding_does_not_count():
    inputs = text_inputs()
    x = layers.Dense(VOCABULARY)(layers.Embedding(VOCABULARY, 8)(inputs["token_ids"]))
    x = OtherAtPadding(name="outputs_of_masked_language_model")(x, inputs["padding_mask"])
    check = export.export_tflite(keras.Model(inputs, x), None, verification_data=X)
    assert check.agreement > 0.99 and check.relative_difference < 0.1


def test_outputs_of_a_large_vocabulary_are_as_many_as_memory_holds(monkeypatch):
    from tfkd.export import _inputs

    monkeypatch.setattr(_inputs, "_OUTPUT_BYTES", 18 * 4 * LENGTH * VOCABULARY)
    labels = tasks.next_tokens(X["token_ids"], X["padding_mask"])
    assert export.export_tflite(language_model(), None, evaluation_data=(X, labels)).real_examples == 18


class Called(keras.Model):
    """A model whose layers are called by code."""

    def __init__(self):
        super().__init__()
        self.embedding, self.dense = layers.Embedding(VOCABULARY, 8), layers.Dense(3)

    def call(self, inputs):
        if isinstance(inputs, dict):
            x = mean_of_tokens(self.embedding(inputs["token_ids"]), inputs["padding_mask"])
        else:
            x = ops.mean(self.embedding(inputs), axis=1)
        return self.dense(x)


def built(model, x):
    model(x)
    return model


def sequential():
    return keras.Sequential(
        [layers.Embedding(VOCABULARY, 8), layers.GlobalAveragePooling1D(), layers.Dense(3)]
    )


def says_float():
    inputs = keras.Input((LENGTH,))
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(layers.Embedding(VOCABULARY, 4)(inputs))))


IDS = X["token_ids"]
SINGLE = {
    "sequential built by its call": (lambda: built(sequential(), IDS), IDS),
    "an input that says float": (says_float, IDS),
    "code": (lambda: built(Called(), IDS), IDS.astype("int64")),
    "code by name": (lambda: built(Called(), X), X),
    "bool": (lambda: classifier("bool"), {**X, "padding_mask": X["padding_mask"].astype(bool)}),
    "whole numbers as floats": (says_float, IDS.astype("float64")),
}


@pytest.mark.parametrize("case", SINGLE)
def test_integers_go_into_files_as_integers(case, tmp_path):
    make, x = SINGLE[case]
    model, path = make(), tmp_path / "m.tflite"
    check = export.export_tflite(model, path, "float32", verification_data=x)
    assert check.max_difference < 1e-5
    file = TFLiteFile(path.read_bytes())
    assert file.dtypes[0] == "int32" and not file.takes_floats and "token_ids" in file.input_shapes
    assert file.dtypes[1:-1] == {"bool": ["bool"], "code by name": ["int32"]}.get(case, [])
    np.testing.assert_allclose(export.run_tflite(path, x), model(x), atol=1e-5)
    assert export.export_tflite(model, None, verification_data=x).quantization == "dynamic"


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"token_ids": IDS}, ValueError, r"`verification_data`: .*without padding_mask"),
        (IDS, ValueError, r"`verification_data`: .*a dictionary of .*Tokenizer"),
        ({**X, "token_ids": IDS + 0.5}, ValueError, r"'token_ids' of `verification_data` must be integers"),
        ({**X, "token_ids": IDS.astype(str)}, TypeError, "'token_ids' .*must be numbers"),
        ({**X, "token_ids": IDS[:5]}, ValueError, r"same number of rows for each input.*5 of token_ids"),
        ({**X, "token_ids": IDS[0]}, ValueError, r"'token_ids' .*rows of integers of shape \(n, 12\)"),
        (tf.data.Dataset.from_tensor_slices(IDS), ValueError, "a dictionary of"),
    ],
)
def test_texts_that_do_not_fit_are_refused(data, error, message):
    with pytest.raises(error, match=message):
        export.export_tflite(bilstm(), None, verification_data=data)


def test_reports_show_texts_where_others_have_pictures(tmp_path):
    from tests.export.run_metrics import metrics_of, metrics_with_data
    from tests.export.test_report import HISTORY, TRAINING, Page

    model, task = classifier(), tasks.TextClassification((3,))
    rows = export.example_texts(X, model, lambda ids: "<b> " + " ".join(f"w{i}" for i in ids))
    assert len(rows) == 24 and rows[0].answer == task.captions(model.predict(X, verbose=0))[0]
    count = X["padding_mask"][0].sum()
    assert rows[0].text == "<b> " + " ".join(f"w{i}" for i in X["token_ids"][0, :count])
    assert export.example_texts(X["token_ids"], sequential_on_ids(), task=task)[0].text == rows[
        0
    ].text.replace("w", "").removeprefix("<b> ")
    answers = model.predict(X, verbose=0)
    metrics = metrics_of(task, {"accuracy": 0.9})
    export.write_report(
        tmp_path / "a.html", metrics, HISTORY, None, answers, answers, answers, task, texts=rows
    )
    page = Page(tmp_path / "a.html")
    assert "synthesized inputs" not in page.pictures
    assert set(page.pictures) == {*TRAINING, "class histogram", "confusion"}
    assert rows[0].text in page.text and rows[23].answer in page.text
    export.write_distillation_report(
        tmp_path / "b.html",
        metrics_with_data(task, {"accuracy": 0.9}),
        HISTORY,
        None,
        answers,
        answers,
        task,
        rows,
    )
    page = Page(tmp_path / "b.html")
    assert set(page.pictures) == {"loss", "confusion"} and rows[0].text in page.text


def sequential_on_ids():
    return built(sequential(), X["token_ids"])


def test_files_of_texts_are_verified_by_themselves(tmp_path):
    model, path = bilstm(), tmp_path / "m.tflite"
    export.export_tflite(model, path, verification_data=X)
    others = texts(20, 9, seed=3)
    labels = model.predict(others, verbose=0).argmax(-1)
    check = export.verify_tflite(path.read_bytes(), model, others, (others, labels))
    assert check.agreement > 0.9 and check.latency_ms > 0 and check.model_accuracy == 1.0
    with pytest.raises(ValueError, match=r"'token_ids' of `images` must be of shape \(n, 12\)"):
        export.run_tflite(path, texts(length=9))
