"""What tasks of texts compute, against NumPy, and how they are found."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfkd import losses, tasks
from tfkd.tasks import (
    CausalLanguageModel,
    MaskedLanguageModel,
    SentenceEmbedding,
    TextClassification,
    next_tokens,
)
from tfkd.tasks._finding import name_of_mark
from tfkd.tasks._ranks import rank_correlation

RNG = np.random.default_rng(2)
LOGITS = RNG.normal(0, 2, size=(2, 9, 6, 11)).astype("float32")
MASK = np.arange(6)[None] < np.array([6, 5, 4, 3, 2, 1, 6, 0, 2])[:, None]
LABELS = np.where(RNG.random((9, 6)) < 0.5, RNG.integers(0, 11, (9, 6)), -100)
VECTORS = RNG.normal(size=(2, 40, 8)).astype("float32")
LANGUAGE = [MaskedLanguageModel, CausalLanguageModel]


def log_softmax(z):
    z = z.astype("float64") - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


@pytest.mark.parametrize("kind", LANGUAGE)
@pytest.mark.parametrize("mask", [None, MASK])
def test_tokens_agree_and_diverge(kind, mask):
    task, (teacher, student) = kind((None, 11)), LOGITS
    counts = np.ones((9, 6)) if mask is None else mask.astype("float64")
    number = np.maximum(counts.sum(-1), 1)
    p, q = log_softmax(teacher), log_softmax(student)
    kl = (np.exp(p) * (p - q)).sum(-1)
    same = teacher.argmax(-1) == student.argmax(-1)
    agreement, divergence = ((each * counts).sum(-1) / number for each in (same, kl))
    if mask is not None:
        # Of a row without tokens nothing differs.
        agreement[7] = 1
    np.testing.assert_allclose(task.agreement(teacher, student, mask), agreement, rtol=1e-5)
    np.testing.assert_allclose(task.divergence(teacher, student, mask), divergence, rtol=1e-4)


@pytest.mark.parametrize("kind", LANGUAGE)
def test_accuracy_and_perplexity_of_tokens_that_count(kind):
    task, logits = kind((6, 11)), LOGITS[0]
    counts = LABELS != -100
    nats = -np.take_along_axis(log_softmax(logits), np.maximum(LABELS, 0)[..., None], -1)[..., 0]
    expected = {
        "accuracy": (logits.argmax(-1) == LABELS)[counts].mean(),
        "perplexity": np.exp(nats[counts].mean()),
    }
    assert task.score(logits, LABELS) == pytest.approx(expected)
    # The loss and the metrics of Keras count the same tokens, in graphs, too.
    loss = tf.function(task.label_loss())(LABELS, logits)
    assert float(loss) == pytest.approx(np.log(expected["perplexity"]), rel=1e-5)
    for metric in (task.metric(), tasks.Perplexity()):
        for part in (slice(0, 4), slice(4, 9)):
            metric.update_state(LABELS[part], logits[part])
        assert float(metric.result()) == pytest.approx(expected[metric.name], rel=1e-5)
        assert type(metric).from_config(metric.get_config()).name == metric.name


def test_weights_of_texts_and_of_tokens():
    logits = LOGITS[0]
    for weight in (RNG.random(9), RNG.random((9, 6))):
        by_token = np.broadcast_to(weight if weight.ndim == 2 else weight[:, None], (9, 6))
        counts = by_token * (LABELS != -100)
        nats = -np.take_along_axis(log_softmax(logits), np.maximum(LABELS, 0)[..., None], -1)[..., 0]
        right = logits.argmax(-1) == LABELS
        for metric, expected in (
            (tasks.TokenAccuracy(), (right * counts).sum() / counts.sum()),
            (tasks.Perplexity(), np.exp((nats * counts).sum() / counts.sum())),
        ):
            metric.update_state(LABELS, logits, weight)
            assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_a_network_that_is_sure_and_wrong_has_a_finite_perplexity():
    logits = np.zeros((1, 2, 3), "float32")
    logits[..., 0] = 1e4
    scores = MaskedLanguageModel((None, 3)).score(logits, np.array([[1, -100]]))
    assert scores["accuracy"] == 0.0 and 1e300 < scores["perplexity"] < np.inf


def test_a_language_model_is_fitted_by_its_loss_and_metric():
    inputs = keras.Input((None,), dtype="int32", name="token_ids")
    model = keras.Model(inputs, layers.Dense(5)(layers.Embedding(5, 8)(inputs)))
    task = CausalLanguageModel((None, 5))
    model.compile(
        keras.optimizers.Adam(0.1), task.label_loss(), metrics=[task.metric(), tasks.Perplexity()]
    )
    x = np.array([[0, 1, 2, 3, 4, 0], [3, 4, 0, 1, 2, 3]])
    y = next_tokens(x, x >= 0)
    history = model.fit(x, y, epochs=20, verbose=0).history
    assert history["accuracy"][-1] == 1.0 and history["perplexity"][-1] < 1.2 < history["perplexity"][0]
    assert task.score(model.predict(x, verbose=0), y)["accuracy"] == 1.0
    # Nobody shifts: by the tokens themselves the same network is wrong everywhere.
    assert task.score(model.predict(x, verbose=0), x)["accuracy"] == 0.0


def test_next_tokens_end_with_the_text():
    ids = np.array([[5, 6, 7, 0], [8, 9, 1, 2]])
    expected = [[6, 7, -100, -100], [9, 1, 2, -100]]
    np.testing.assert_array_equal(next_tokens(ids, [[1, 1, 1, 0], [1, 1, 1, 1]]), expected)
    np.testing.assert_array_equal(next_tokens(ids[1:]), expected[1:])
    with pytest.raises(ValueError, match=r"must be \(batch, tokens\).*\(2, 4\) and \(4,\)"):
        next_tokens(ids, np.ones(4))


def test_chance_is_the_commonest_token():
    task = MaskedLanguageModel((4, 3))
    labels = np.array([[0, 0, 1, -100]] * 5)
    blind = np.broadcast_to(task.constant(np.eye(3)[np.zeros((5, 4), int)]), (5, 4, 3))
    assert task.score(blind, labels)["accuracy"] == pytest.approx(2 / 3)
    assert task.is_chance(blind, labels)
    assert not task.is_chance(np.eye(3)[np.maximum(labels, 0)], labels)


def ranks_by_hand(values):
    """Each number's place, counted; equal ones get the mean of theirs."""
    return np.array([np.sum(values < v) + (np.sum(values == v) + 1) / 2 for v in values])


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlation(ties):
    a, b = RNG.normal(size=(2, 50))
    if ties:
        a, b = np.round(a), np.round(2 * b)
    expected = np.corrcoef(ranks_by_hand(a), ranks_by_hand(b))[0, 1]
    assert rank_correlation(a, b) == pytest.approx(expected, abs=1e-12)
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1.0)
    assert rank_correlation(a, -a) == pytest.approx(-1.0)
    assert rank_correlation(a, np.ones(50)) == 0.0


def test_vectors_agree_by_their_cosine():
    task, (teacher, student) = SentenceEmbedding((8,)), VECTORS
    student = teacher + 0.7 * student
    cosine = (
        (teacher * student).sum(-1) / np.linalg.norm(teacher, axis=-1) / np.linalg.norm(student, axis=-1)
    )
    np.testing.assert_allclose(task.agreement(teacher, student), np.clip(cosine, 0, 1), rtol=1e-4)
    np.testing.assert_allclose(task.divergence(teacher, student), 1 - cosine, atol=1e-5)
    np.testing.assert_allclose(task.agreement(teacher, -teacher), np.zeros(40))
    assert isinstance(task.soft_loss(3.0), losses.CosineEmbedding)
    assert float(np.mean(task.soft_loss()(teacher, 3 * teacher))) == pytest.approx(0.0, abs=1e-6)


def test_scores_of_vectors():
    task, (teacher, noise) = SentenceEmbedding((8,)), VECTORS
    student = 5 * teacher + 2 * noise
    t, s = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (teacher, student))
    pairs = np.triu_indices(40, 1)
    a, b = (ranks_by_hand((each @ each.T)[pairs]) for each in (t, s))
    expected = {"cosine": (t * s).sum(-1).mean(), "rank_correlation": np.corrcoef(a, b)[0, 1]}
    assert task.score(student, teacher) == pytest.approx(expected, rel=1e-4)
    assert task.score(student[:2], teacher[:2]).keys() == {"cosine"}
    # Another choice of axes leaves the ranks as they are.
    rotation = np.linalg.qr(RNG.normal(size=(8, 8)))[0]
    rotated = task.score(teacher @ rotation, teacher)
    assert rotated["rank_correlation"] == pytest.approx(1.0, abs=1e-4) and rotated["cosine"] < 0.8
    assert not task.is_chance(teacher @ rotation, teacher) and not task.is_chance(student, teacher)
    blind = np.broadcast_to(task.constant(teacher), teacher.shape)
    assert task.is_chance(blind, teacher) and task.is_chance(noise, teacher)


def test_directions_as_targets():
    task, seed = SentenceEmbedding((8,)), keras.random.SeedGenerator(0)
    np.testing.assert_allclose(np.linalg.norm(task.draw_targets(5, seed), axis=-1), np.ones(5), rtol=1e-5)
    drawn = np.asarray(task.draw_targets(40, seed, VECTORS[0]))
    np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(VECTORS[0], axis=0))


@pytest.mark.parametrize("kind", LANGUAGE)
def test_tokens_as_targets(kind):
    seed = keras.random.SeedGenerator(0)
    assert np.asarray(kind((6, 11)).draw_targets(3, seed)).shape == (3, 6)
    assert np.asarray(kind((None, 11)).draw_targets(9, seed, LOGITS[0])).shape == (9, 6)
    with pytest.raises(ValueError, match=r"`answers` are needed.*number of tokens is open"):
        kind((None, 11)).draw_targets(3, seed)


@pytest.mark.parametrize(
    ("task", "bad", "message"),
    [
        (TextClassification((2,)), [0, 1, 2, 0], "4 class indices from 0 to 1"),
        (
            MaskedLanguageModel((None, 5)),
            [[0, 5]] * 4,
            r"token ids \(4, tokens\) from 0 to 4, the token that",
        ),
        (CausalLanguageModel((3, 5)), [[0, 1]] * 4, r"\(4, 3\).*see tfkd.tasks.next_tokens"),
        (MaskedLanguageModel((2, 5)), [[-1, 1]] * 4, "-100 where a token does not count"),
        (MaskedLanguageModel((2, 5)), np.full((4, 2), -100), "have at least one token that counts"),
        (SentenceEmbedding((2,)), np.zeros((4, 3)), r"finite vectors \(4, 2\), such as a teacher's"),
        (SentenceEmbedding((2,)), np.full((4, 2), np.nan), "finite vectors"),
    ],
)
def test_labels_that_do_not_fit_are_refused(task, bad, message):
    with pytest.raises(ValueError, match=f"`y` must .*{message}"):
        task.check_labels(bad, 4, "`y`")


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        (TextClassification, (7, 5), r"one row of logits per text.*\(None, 7, 5\).*masked_language_model"),
        (TextClassification, (1,), r"returns \(batch, classes\)"),
        (MaskedLanguageModel, (5,), r"\(batch, tokens, vocabulary\).*\(None, 5\).*text_classification"),
        (CausalLanguageModel, (7, None), "a known vocabulary"),
        (SentenceEmbedding, (7, 5), r"one vector per text.*Pool.*sentence_encoder"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(kind, shape, message):
    with pytest.raises(ValueError, match=message):
        kind(shape)


def test_what_looks_broken():
    logits = 3 * RNG.normal(size=(50, 6, 11)).astype("float32")
    language, text = MaskedLanguageModel((6, 11)), TextClassification((11,))
    for task, outputs in ((language, logits), (text, logits[:, 0])):
        assert task.diagnose(outputs) is None
        assert "looks untrained. Check that the texts" in task.diagnose(0.01 * outputs)
        assert "hardly depends on its input. Check" in task.diagnose(outputs + 50 * np.eye(11)[3])
    assert "token takes" in language.diagnose(0.01 * logits)
    assert "it is saturated. Check" in text.diagnose(1000 * logits[:, 0])
    vectors = SentenceEmbedding((8,))
    assert vectors.diagnose(VECTORS[0]) is None
    assert "(mean cosine 1.000) for everything" in vectors.diagnose(100 + 0.1 * VECTORS[0])


def test_words():
    assert TextClassification((2,)).agreement_text("9 %") == "agree on 9 % of texts"
    assert MaskedLanguageModel((6, 11)).agreement_text("9 %") == "agree on 9 % of the tokens of texts"
    assert "the mean cosine" in SentenceEmbedding((8,)).agreement_text("9 %")
    expected = [" ".join(map(str, row)) for row in LOGITS[0].argmax(-1)[:, :4]]
    assert CausalLanguageModel((6, 11)).captions(LOGITS[0]) == expected
    assert TextClassification((2,)).captions(np.array([[0.0, 20]]))[0] == "1  100%"
    assert {kind.examples for kind in (TextClassification, *LANGUAGE, SentenceEmbedding)} == {"texts"}


def tokens_to(outputs):
    inputs = keras.Input((None,), dtype="int32", name="token_ids")
    return keras.Model(inputs, outputs(layers.Embedding(11, 8)(inputs)), name="net")


ENDINGS = {
    "text_classification": lambda x, name: layers.Dense(3, name=name)(layers.GlobalAveragePooling1D()(x)),
    "sentence_embedding": lambda x, name: layers.UnitNormalization(name=name)(
        layers.GlobalAveragePooling1D()(x)
    ),
    "masked_language_model": lambda x, name: layers.Dense(11, name=name)(x),
    "causal_language_model": lambda x, name: layers.Dense(11, name=name)(x),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_tasks_are_found_by_mark_name_and_file(name, tmp_path):
    plain = tokens_to(lambda x: ENDINGS[name](x, None))
    task = tasks.as_task(name, plain.output_shape[1:])
    assert task.name == name and type(task) is tasks.known_tasks()[name]
    assert tasks.task_of(tasks.mark(plain, task)) is task
    # What tfkd.text builds ends in a layer of this name, which a file keeps.
    named = tokens_to(lambda x: ENDINGS[name](x, f"outputs_of_{name}"))
    assert repr(tasks.task_of(named)) == repr(task)
    named.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    assert repr(tasks.task_of(loaded)) == repr(task)


@pytest.mark.parametrize("name", ENDINGS)
def test_a_last_layer_can_be_named_for_each_task(name):
    plain = tokens_to(lambda x: ENDINGS[name](x, None))
    task = tasks.as_task(name, plain.output_shape[1:])
    assert name_of_mark(plain, task) == f"outputs_of_{name}"
    assert name_of_mark(tasks.mark(plain, task), task) is None


def test_rows_of_a_vocabulary_need_a_task():
    with pytest.raises(ValueError, match=r"`task` is needed.*\(None, None, 11\).*'masked_language_model'"):
        tasks.task_of(tokens_to(layers.Dense(11)))
