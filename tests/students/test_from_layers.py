import keras
import keras_hub
import numpy as np
import pytest
from keras import layers, ops

from tfkd import text
from tfkd.students import from_layers, spread_layers
from tfkd.students._narrowing import _basis, _factors

UNITS, DEPTH = 12, 4
IDS = np.random.default_rng(0).integers(1, 30, (3, 7)).astype("int32")
MASK = np.ones_like(IDS)
MASK[1, 4:] = 0
SIZES = {"vocabulary_size": 30, "num_layers": DEPTH, "hidden_dim": UNITS, "intermediate_dim": 16}
GROUPED = {"num_query_heads": 2, "num_key_value_heads": 1}


def hub(kind, **options):
    grouped = kind in ("Llama", "Gemma")
    heads = GROUPED if grouped else {"num_heads": 2, "max_sequence_length": 8}
    size = {"head_dim": 6} if kind == "Gemma" else {}
    return getattr(keras_hub.models, f"{kind}Backbone")(**{**SIZES, **heads, **size, **options})


def own(before, depth=DEPTH, operator=False):
    """Attention layers in a graph, normalized before or behind each branch."""

    def added(x, branch):
        return x + branch if operator else layers.Add()([branch, x])

    def normalized(x, here):
        return layers.LayerNormalization()(x) if here else x

    inputs = keras.Input((None,), dtype="int32", name="token_ids")
    x = layers.Embedding(30, UNITS)(inputs)
    for i in range(depth):
        y = normalized(x, before)
        y = layers.Dropout(0.1)(layers.MultiHeadAttention(2, 6, name=f"attention_{i}")(y, y))
        x = normalized(added(x, y), not before)
        y = layers.Dense(16, "gelu")(normalized(x, before))
        x = normalized(added(x, layers.Dense(UNITS)(y)), not before)
    x = layers.GlobalAveragePooling1D()(normalized(x, before))
    return keras.Model({"token_ids": inputs}, layers.Dense(3, name="logits")(x), name="own")


def nested():
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")
    }
    backbone = hub("Bert")
    x = backbone({**inputs, "segment_ids": ops.zeros_like(inputs["token_ids"])})["pooled_output"]
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="nested")


TEACHERS = {
    "bert": lambda: hub("Bert"),
    "exact_bert": lambda: text.exact_gelu(hub("Bert")),
    "roberta": lambda: hub("Roberta"),
    "distilbert": lambda: hub("DistilBert"),
    "gpt2": lambda: hub("GPT2"),
    "llama": lambda: hub("Llama"),
    "tied_llama": lambda: hub("Llama", tie_word_embeddings=True),
    "gemma": lambda: hub("Gemma"),
    "hub_classifier": lambda: keras_hub.models.BertTextClassifier(hub("Bert"), 3),
    "hub_pooling_classifier": lambda: keras_hub.models.RobertaTextClassifier(hub("Roberta"), 3),
    "classifier": lambda: text.classifier(hub("Bert"), 3),
    "encoder": lambda: text.sentence_encoder(hub("DistilBert"), units=UNITS),
    "masked_language_model": lambda: text.masked_language_model(hub("Bert")),
    "causal_language_model": lambda: text.causal_language_model(hub("GPT2")),
    "llama_encoder": lambda: text.sentence_encoder(hub("Llama")),
    "nested": nested,
    "own_before": lambda: own(True),
    "own_behind": lambda: own(False, operator=True),
}
NARROWED = (
    "bert",
    "exact_bert",
    "roberta",
    "distilbert",
    "gpt2",
    "hub_classifier",
    "hub_pooling_classifier",
)
NARROWED += ("classifier", "encoder", "masked_language_model", "causal_language_model", "nested")


def made(kind):
    teacher = TEACHERS[kind]()
    # Else biases are zeros and scales ones, whatever they are copied from.
    for number, weight in enumerate(teacher.trainable_variables):
        weight.assign(weight + keras.random.normal(weight.shape, seed=number) * 0.2)
    return teacher


def outputs(model):
    known = {"token_ids": IDS, "padding_mask": MASK, "segment_ids": 0 * IDS}
    found = model({each.name: known[each.name] for each in model.inputs})
    return np.array(found["sequence_output"] if isinstance(found, dict) else found)


@pytest.mark.parametrize(
    ("there", "kept", "expected"),
    [
        (6, 3, [0, 2, 5]),
        (12, 6, [0, 2, 4, 7, 9, 11]),
        (12, 4, [0, 4, 7, 11]),
        (12, 3, [0, 5, 11]),
        (5, 5, [0, 1, 2, 3, 4]),
        (5, 2, [0, 4]),
        (4, 1, [0]),
    ],
)
def test_layers_are_spread_from_the_first_to_the_last(there, kept, expected):
    assert spread_layers(there, kept) == expected


@pytest.mark.parametrize("kind", TEACHERS)
def test_all_layers_are_the_teacher(kind):
    teacher = made(kind)
    before = teacher.get_weights()
    student = from_layers(teacher, DEPTH)
    np.testing.assert_array_equal(outputs(student), outputs(teacher))
    assert student.name == f"{teacher.name}_4_layers" and type(student).__name__ == type(teacher).__name__
    assert not {id(each) for each in student.weights} & {id(each) for each in teacher.weights}
    for weight, kept in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


@pytest.mark.parametrize("kind", TEACHERS)
def test_layers_that_go_pass_their_input_on(kind):
    """The teacher computes the same once the layers that go are silent."""
    teacher = made(kind)
    student = from_layers(teacher, [0, 2])
    assert outputs(student).shape == outputs(teacher).shape
    assert student.count_params() < teacher.count_params()
    names = {layer.name for layer in student.layers}
    if "transformer_layer_0" in names:
        assert "transformer_layer_1" in names and "transformer_layer_2" not in names
    if kind == "own_before":
        # Before-normalized blocks are silent where their branches end in zeros.
        dense = [layer for layer in teacher.layers if isinstance(layer, layers.Dense)]
        for i in (1, 3):
            attention = teacher.get_layer(f"attention_{i}")
            for layer in (attention.output_dense, dense[2 * i + 1]):
                layer.set_weights([0 * each for each in layer.get_weights()])
        np.testing.assert_allclose(outputs(student), outputs(teacher), atol=1e-6)


@pytest.mark.parametrize("before", [True, False])
def test_own_students_are_as_if_built_by_hand(before):
    student = from_layers(own(before), 2)
    by_hand = own(before, depth=2)
    assert [type(layer) for layer in student.layers] == [type(layer) for layer in by_hand.layers]
    by_hand.set_weights(student.get_weights())
    np.testing.assert_allclose(outputs(by_hand), outputs(student), atol=1e-6)


@pytest.mark.parametrize("kind", ["bert", "classifier", "gpt2"])
def test_the_kept_layers_weights_are_copied(kind):
    teacher = made(kind)
    student = from_layers(teacher, [1, 3])
    for new, old in enumerate([1, 3]):
        pair = [model.get_layer(f"transformer_layer_{i}") for model, i in ((student, new), (teacher, old))]
        for ours, theirs in zip(pair[0].get_weights(), pair[1].get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_students_are_saved_marked_and_trainable(tmp_path):
    backbone = text.mark_tokenizer(text.exact_gelu(hub("Bert")), "0123456789abcdef")
    teacher = text.classifier(backbone, 3)
    teacher.trainable = False
    student = from_layers(teacher, 2, name="small")
    assert len(student.trainable_variables) == len(student.weights)
    assert student.layers[-1].name == "outputs_of_text_classification"
    student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_array_equal(outputs(loaded), outputs(student))
    assert loaded.name == "small" and text.tokenizer_of(loaded) == "0123456789abcdef"
    assert text.tokenizer_of(from_layers(backbone, 1)) == "0123456789abcdef"


@pytest.mark.parametrize("kind", NARROWED)
def test_narrower_students_are_the_same_kind(kind):
    teacher = made(kind)
    student = from_layers(teacher, 2, hidden_dim=8, intermediate_dim=10)
    shape, was = outputs(student).shape, outputs(teacher).shape
    # Hidden states are narrower, answers are not.
    assert shape == ((*was[:-1], 8) if kind in NARROWED[:5] else was)
    assert student.count_params() < from_layers(teacher, 2).count_params()
    assert np.isfinite(outputs(student)).all()
    again = outputs(from_layers(teacher, 2, hidden_dim=8, intermediate_dim=10))
    np.testing.assert_array_equal(again, outputs(student))


def test_token_embeddings_are_projected_by_their_singular_vectors():
    teacher = made("bert")
    student = from_layers(teacher, 2, hidden_dim=8)
    table = teacher.token_embedding.get_weights()[0].astype("float64")
    centred = table - table.mean(axis=1, keepdims=True)
    # Distances and angles of the best approximation of rank 7, and the mean over units beside it.
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    near = left[:, :7] * values[:7]
    means = table.mean(axis=1) * np.sqrt(UNITS)
    made_table = student.token_embedding.get_weights()[0]
    np.testing.assert_allclose(made_table @ made_table.T, near @ near.T + np.outer(means, means), atol=1e-4)
    np.testing.assert_allclose(made_table.mean(axis=1) * np.sqrt(8), means, atol=1e-5)
    ours, theirs = (each.position_embedding.get_weights()[0] for each in (student, teacher))
    assert ours.shape == (8, 8) and np.linalg.norm(ours) <= np.linalg.norm(theirs)


def test_nothing_is_lost_where_the_teacher_needs_no_more():
    """Hidden states that lie in a few directions keep all that normalization leaves of them."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(30, 5)) @ rng.normal(size=(5, 12))
    basis, gain = _basis(table - table.mean(axis=1, keepdims=True), 6)
    np.testing.assert_allclose(basis.T @ basis, np.eye(6), atol=1e-12)
    centred = table - table.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(centred @ basis @ basis.T, centred, atol=1e-9)
    np.testing.assert_allclose(basis.T @ np.full(12, 12**-0.5), np.full(6, 6**-0.5), atol=1e-12)
    assert gain == pytest.approx(np.sqrt(12 / 6))
    products = rng.normal(size=(2, 7, 3)) @ rng.normal(size=(2, 3, 9))
    first, second = _factors(products, 3)
    np.testing.assert_allclose(first @ second, products, atol=1e-9)


def test_fewer_neurons_are_the_strongest():
    teacher = made("bert")
    for block in teacher.transformer_layers:
        dense = block._feedforward_output_dense
        kernel, bias = dense.get_weights()
        kernel[10:] = 0
        dense.set_weights([kernel, bias])
    student = from_layers(teacher, DEPTH, intermediate_dim=10)
    # What went did nothing.
    np.testing.assert_allclose(outputs(student), outputs(teacher), atol=2e-5)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            "bert",
            {"layers": 5},
            "from 1 to 4. Received: layers=5. The teacher 'bert_backbone.*' has 4 layers",
        ),
        ("classifier", {"layers": 5}, "The teacher 'text_classifier' has 4 layers"),
        ("own_before", {"layers": [0, 4]}, "from 0 to 3. Received: layers=4"),
        ("bert", {"layers": [2, 0]}, r"must ascend.*Use \[0, 2\]"),
        ("bert", {"layers": [1, 1]}, r"name each layer once.*Use \[1\]"),
        ("bert", {"layers": []}, r"at least one.*Use \[0, 3\]"),
        ("bert", {"hidden_dim": 24}, "`hidden_dim` must be an integer from 1 to 12"),
        ("bert", {"hidden_dim": 9}, "`num_heads` must divide `hidden_dim`.*Use num_heads=1"),
        ("bert", {"intermediate_dim": 17}, "`intermediate_dim` must be an integer from 1 to 16"),
        ("llama", {"hidden_dim": 8}, "BERT, RoBERTa, DistilBERT and GPT-2.*Choose only layers"),
        ("own_before", {"hidden_dim": 8}, "Choose only layers"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(kind, options, message):
    with pytest.raises(ValueError, match=message):
        from_layers(TEACHERS[kind](), **options)


def test_layers_that_share_weights_cannot_go():
    options = {"vocabulary_size": 30, "num_layers": 4, "num_heads": 2, "embedding_dim": 4}
    albert = keras_hub.models.AlbertBackbone(**options, hidden_dim=12, intermediate_dim=16)
    with pytest.raises(ValueError, match="AlbertBackbone cannot be removed one by one, since they share"):
        from_layers(albert, 2)
    with pytest.raises(ValueError, match="is used 4 times, so its layers share weights"):
        from_layers(text.sentence_encoder(albert), 2)


def test_windows_of_attention_stay_in_turn():
    gemma = hub("Gemma", use_sliding_window_attention=True)
    assert from_layers(gemma, [0, 3]).num_layers == 2
    with pytest.raises(ValueError, match=r"use_sliding_window_attention.*even and odd layers alternating"):
        from_layers(gemma, [0, 2])


def test_what_has_no_attention_is_refused(student):
    with pytest.raises(ValueError, match=r"must have attention layers.*tfkd\.students\.scale_depth"):
        from_layers(student, 1)
