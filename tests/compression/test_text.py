"""Text models, pruned, clustered and quantization-aware: named inputs, masks, attention, recurrence."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfkd
from tests.text import small_models
from tfkd import compression, pipelines, text
from tfkd.compression import to_tf_keras
from tfkd.pipelines._texts import load_texts, with_words

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
X = {
    "token_ids": RNG.integers(5, small_models.VOCABULARY, (32, small_models.TOKENS)).astype("int32"),
    "padding_mask": (np.arange(small_models.TOKENS) < RNG.integers(2, 9, (32, 1))).astype("int32"),
}


def classifier():
    return small_models.bert_classifier(layers=1, width=8)


def encoder():
    return text.sentence_encoder(text.exact_gelu(small_models.bert(layers=1, width=8)))


def bilstm():
    return text.bilstm_classifier(small_models.VOCABULARY, 3, 6, hidden=4, dense=5)


MODELS = {"classifier": classifier, "encoder": encoder, "bilstm": bilstm}
# Each way on a transformer, and networks of other kinds in one way each.
CASES = [("classifier", way) for way in ("pruned", "clustered", "quantized")]
CASES += [("encoder", "pruned"), ("bilstm", "quantized")]
WAYS = {
    "pruned": lambda model: compression.prune(model, 0.5, schedule=(0, 4)),
    "clustered": lambda model: compression.cluster(model, 4, "linear"),
    "quantized": lambda model: compression.quantize_aware(model, images=X),
}


def padding_changed():
    """The same sentences with other tokens where there is padding."""
    others = RNG.integers(5, small_models.VOCABULARY, X["token_ids"].shape)
    return {**X, "token_ids": np.where(X["padding_mask"] == 1, X["token_ids"], others).astype("int32")}


@pytest.mark.eager
@pytest.mark.parametrize(("name", "way"), CASES)
def test_students_begin_learn_are_saved_and_stripped(name, way, tmp_path):
    teacher = MODELS[name]()
    plain = text.plain(teacher)
    student = WAYS[way](plain)
    assert sorted(student.input) == sorted(X)
    expected = teacher.predict(X, verbose=0)
    if way == "pruned":
        np.testing.assert_allclose(student.predict(X, verbose=0), expected, atol=1e-5)
    if way == "quantized":
        difference = np.abs(student.predict(X, verbose=0) - expected).max()
        assert 0 < difference < 0.05 * np.ptp(expected)
    loss = tfkd.losses.MeanSquaredError() if name == "encoder" else tfkd.losses.SoftTargets(2.0)
    distiller = tfkd.Distiller(teacher, student, loss, student_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(1e-3))
    assert np.isfinite(distiller.fit(X, batch_size=8, epochs=2, verbose=0).history["loss"]).all()
    found = student.predict(X, verbose=0)
    np.testing.assert_allclose(student.predict(padding_changed(), verbose=0), found, atol=1e-5)
    student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_allclose(loaded.predict(X, verbose=0), found, atol=1e-6)
    stripped = compression.strip(student)
    assert type(stripped) is not type(student) and sorted(stripped.input) == sorted(X)
    if way != "quantized":
        np.testing.assert_allclose(stripped.predict(X, verbose=0), found, atol=1e-5)
    if way == "pruned":
        assert compression.sparsity(stripped) == pytest.approx(0.5, abs=0.02)
    kernels = [weight for weight in stripped.weights if weight.name.endswith("kernel")]
    if way == "clustered":
        assert kernels and all(len(np.unique(kernel)) <= 4 for kernel in kernels)


def test_projections_and_tables_are_rounded_to_8_bits():
    plain = text.plain(classifier())
    student = compression.quantize_aware(plain, images=X)
    inner = student.get_layer("bridge").inner_layers()
    rounded = {name for name, layer in inner.items() if getattr(layer, "_weight_vars", ())}
    attention = "transformer_layer_0_self_attention_layer"
    assert {f"{attention}/{part}" for part in ("query", "key", "value")} | {attention} <= rounded
    assert {"token_embedding", "position_embedding", "segment_embedding", "logits"} <= rounded
    left = compression.float_layers(student)
    assert f"{attention}/dot_product" in left and not any("position" in name for name in left)


def test_attention_that_is_named_is_quantized_in_all_its_parts():
    plain = text.plain(classifier())
    attention = "transformer_layer_0_self_attention_layer"
    student = compression.quantize_aware(plain, layers=[attention], images=X)
    left = compression.float_layers(student)
    assert "logits" in left and attention not in left and f"{attention}/query" not in left


@pytest.mark.parametrize("causal", [False, True])
def test_attention_in_parts_equals_the_whole(causal):
    inputs, mask = keras.Input((5, 6)), keras.Input((5, 5), dtype="bool")
    attention = layers.MultiHeadAttention(2, 3, value_dim=4, output_shape=7, use_bias=causal, name="a")
    x = attention(inputs, inputs, attention_mask=mask, use_causal_mask=causal)
    model = keras.Model([inputs, mask], x)
    parts = to_tf_keras(model, separate=True)
    names = {layer.name for layer in parts.layers}
    assert ("a/query" in names) is not causal
    x = [RNG.normal(size=(3, 5, 6)).astype("float32"), RNG.random((3, 5, 5)) < 0.6]
    np.testing.assert_allclose(parts(x), model(x), atol=1e-5)


def test_operations_between_layers_are_rebuilt():
    inputs = {"token_ids": keras.Input((6,), dtype="int32", name="token_ids")}
    ids = inputs["token_ids"]
    x = layers.Embedding(20, 4)(ids) + layers.Embedding(2, 4)(ops.zeros_like(ids))
    x = ops.gelu(ops.sum(x * ops.ones_like(x), axis=1) / 6.0, approximate=True) + ops.mean(x, axis=1)
    x = ops.tanh(x) + ops.expand_dims(x, 1)[:, 0]
    model = keras.Model(inputs, layers.Dense(2)(x))
    given = {"token_ids": RNG.integers(0, 20, (4, 6)).astype("int32")}
    np.testing.assert_allclose(to_tf_keras(model)(given), model(given), atol=1e-5)
    student = compression.quantize_aware(model, images=given)
    np.testing.assert_allclose(student(given), model(given), atol=0.1)


def test_a_mask_that_an_operation_makes_is_kept():
    model = bilstm()
    old = to_tf_keras(model)
    np.testing.assert_allclose(old(X), model(X), atol=1e-5)
    assert np.abs(model(X) - model({**X, "padding_mask": np.ones_like(X["padding_mask"])})).max() > 1e-4


def test_clustered_recurrent_layers_load(tmp_path):
    inputs = keras.Input((6, 4))
    model = keras.Model(inputs, layers.Dense(3)(layers.LSTM(4)(inputs)))
    student = compression.cluster(model, 4, "linear")
    student.save(tmp_path / "student.keras")
    x = RNG.random((3, 6, 4)).astype("float32")
    np.testing.assert_allclose(
        keras.models.load_model(tmp_path / "student.keras")(x), student(x), atol=1e-6
    )


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_a_quantization_aware_encoder_learns(jit_compile):
    teacher = encoder()
    student = compression.quantize_aware(text.plain(teacher), images=X)
    distiller = tfkd.Distiller(teacher, student, tfkd.losses.MeanSquaredError(), student_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(1e-3), jit_compile=jit_compile)
    losses = distiller.fit(X, batch_size=16, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_tflite_file_of_a_quantization_aware_student_holds_8_bits():
    student = compression.quantize_aware(text.plain(classifier()), images=X)
    specs = {
        name: tf.TensorSpec((1, small_models.TOKENS), "int32", name=name)
        for name in ("token_ids", "padding_mask")
    }

    @tf.function(input_signature=[specs])
    def serve(inputs):
        return {"logits": student(inputs, training=False)}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], student)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(
        model_content=converter.convert()
    )
    interpreter.allocate_tensors()
    tables = [each for each in interpreter.get_tensor_details() if tuple(each["shape"]) == (40, 8)]
    assert [each["dtype"] for each in tables] == [np.int8]
    runner = interpreter.get_signature_runner()
    found = [
        runner(**{name: values[i : i + 1] for name, values in X.items()})["logits"][0] for i in range(8)
    ]
    expected = student.predict({name: values[:8] for name, values in X.items()}, verbose=0)
    np.testing.assert_allclose(found, expected, atol=0.05 * np.ptp(expected))


def some_texts(folder):
    """A tokenizer, a file of labelled texts, and a classifier that is right on most of them."""
    words = [f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(small_models.VOCABULARY - 5)]
    vocabulary = [*small_models.TOKENIZER.vocabulary[:5], *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    tokenizer = text.Tokenizer(folder, max_length=small_models.TOKENS)
    texts = [" ".join(RNG.choice(words, RNG.integers(3, 7))) for _ in range(40)]
    teacher = classifier()
    right = teacher.predict(tokenizer(texts), verbose=0).argmax(-1)
    labels = np.where(RNG.random(40) < 0.9, right, 1 - right)
    lines = "".join(f"{each}\t{label}\n" for each, label in zip(texts, labels, strict=True))
    (folder / "texts.tsv").write_text(lines, encoding="utf-8")
    return tokenizer, folder / "texts.tsv", teacher


SHORT = {"epochs": 1, "steps_per_epoch": 2, "batch_size": 8, "memory": 16}


@pytest.mark.parametrize("real", [True, False], ids=["texts", "words"])
def test_the_pipeline_compresses_a_text_file(tmp_path, real):
    _, file, teacher = some_texts(tmp_path)
    teacher.save(tmp_path / "teacher.keras")
    small = pipelines.compress(
        tmp_path / "teacher.keras",
        prune=0.5,
        quantize=real,
        recipe=tfkd.datafree.ProceduralText(**SHORT),
        training_data=file if real else None,
        evaluation_data=file,
        tokenizer=tmp_path,
        min_agreement=0.0,
    )
    assert small.metrics["sparsity"] == pytest.approx(0.5, abs=0.02)
    assert small.metrics["evaluation_images"] == 40
    assert small.metrics["tflite"]["quantization"] == ("int8" if real else "dynamic")
    assert (small.metrics["stages"][0]["agreement"] is None) is real
    assert sorted(small.model.input) == sorted(X)


def test_a_text_file_is_a_teacher(tmp_path):
    teacher = encoder()
    teacher.save(tmp_path / "encoder.keras")
    loaded = tfkd.load_teacher(tmp_path / "encoder.keras")
    np.testing.assert_allclose(loaded.predict(X, verbose=0), teacher.predict(X, verbose=0), atol=1e-6)
    assert repr(tfkd.tasks.task_of(loaded)) == repr(tfkd.tasks.task_of(teacher))
    with pytest.raises(ValueError, match=r"`input_range` is for images.*Leave out: input_range, mean"):
        tfkd.load_teacher(teacher, input_range=(0, 255), mean=1.0)


def test_texts_of_files_and_arrays(tmp_path):
    tokenizer, file, teacher = some_texts(tmp_path)
    x, y = load_texts(file, teacher, tokenizer, "training_data")
    np.savez(tmp_path / "texts.npz", **x, y=y)
    for other in (tmp_path / "texts.npz", (x, y)):
        again, labels = load_texts(other, teacher, None, "training_data")
        np.testing.assert_array_equal(again["token_ids"], x["token_ids"])
        np.testing.assert_array_equal(labels, y)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((["a"], [0]), ValueError, "`tokenizer` is needed: `training_data` are strings"),
        ("none.tsv", FileNotFoundError, "the file 'none.tsv' does not exist"),
        (7, TypeError, "must be a file or"),
        (({"token_ids": X["token_ids"]}, np.zeros(32, int)), ValueError, r"lacks \['padding_mask'\]"),
        (({**X, "token_ids": X["token_ids"][:, :3]}, np.zeros(32, int)), ValueError, "of the same shape"),
        (
            ({**X, "token_ids": X["token_ids"] * 0.5}, np.zeros(32, int)),
            ValueError,
            "must contain integers",
        ),
        ((X, np.full(32, 9)), ValueError, "labels of `training_data`"),
    ],
    ids=["strings", "no file", "number", "mask", "shapes", "floats", "labels"],
)
def test_bad_texts(given, error, message):
    with pytest.raises(error, match=message):
        load_texts(given, classifier(), None, "training_data")


def test_a_bad_line_is_named(tmp_path):
    tokenizer, file, teacher = some_texts(tmp_path)
    file.write_text("waa wba\t1\nwaa\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"`training_data`: .* line 2, has 1 columns"):
        load_texts(file, teacher, tokenizer, "training_data")
    (tmp_path / "texts.txt").write_text("waa\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"`training_data`: .* has no labels"):
        load_texts(tmp_path / "texts.txt", teacher, tokenizer, "training_data")


def test_words_need_a_tokenizer():
    with pytest.raises(ValueError, match="`tokenizer` is needed: the model is queried"):
        with_words(tfkd.datafree.Procedural(), None, 8)
