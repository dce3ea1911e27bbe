"""Sentences made of sentences: by masks, tags and n-grams, and by a model's predictions."""

import keras
import numpy as np
import pytest

from tests.text import small_models as models
from tfkd import text

SENTENCES = [f"the film number {i} is {'good' if i % 2 else 'bad'} and long indeed" for i in range(80)]


def changed(copy, words):
    """Where a copy of the same length differs."""
    return [i for i, (a, b) in enumerate(zip(copy, words, strict=True)) if a != b]


def copies_of(made):
    for text_, origin in zip(made.texts, made.origins, strict=True):
        if text_ != SENTENCES[origin]:
            yield text_.split(), SENTENCES[origin].split()


def test_words_are_masked_as_often_as_said():
    made = text.augment_words(SENTENCES, ngram=0.0, mask=0.3)
    masked = [len(changed(copy, words)) / len(words) for copy, words in copies_of(made)]
    assert all(copy[i] == "[MASK]" for copy, words in copies_of(made) for i in changed(copy, words))
    # Copies without a change are left out: 0.7 ** 9 of them.
    assert np.mean(masked) == pytest.approx(0.3 / (1 - 0.7**9), abs=0.02)


def test_words_are_exchanged_for_others_with_their_tag():
    tags = {"good": "ADJ", "bad": "ADJ", "long": "ADJ"}
    made = text.augment_words(
        SENTENCES, ngram=0.0, mask=0.0, same_tag=0.5, tags=lambda words: [tags.get(w, w) for w in words]
    )
    exchanged = [(words[i], copy[i]) for copy, words in copies_of(made) for i in changed(copy, words)]
    assert exchanged and all(a in tags and b in tags for a, b in exchanged)
    # "long" is in every sentence, the others in every second one.
    drawn = [b for a, b in exchanged if a == "good"]
    assert 1.2 < drawn.count("long") / drawn.count("bad") < 3.4


def test_ngrams_are_parts_of_the_sentence():
    made = text.augment_words(SENTENCES, ngram=1.0, mask=0.0)
    lengths = []
    for copy, words in copies_of(made):
        lengths.append(len(copy))
        assert " ".join(copy) in " ".join(words)
    assert set(lengths) == {1, 2, 3, 4, 5}


def test_origins_duplicates_and_order():
    made = text.augment_words(["one two", "three"], copies=30)
    assert made.texts[0] == "one two" and len(set(made.texts)) == len(made.texts)
    assert made.origins[0] == 0 and (np.diff(made.origins) >= 0).all()
    # A mask alone teaches nothing.
    assert "[MASK]" not in made.texts and "[MASK] [MASK]" not in made.texts
    again = text.augment_words(["one two", "three"], copies=30)
    assert made.texts == again.texts
    assert made.texts != text.augment_words(["one two", "three"], copies=30, seed=1).texts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": 1.5}, "`mask`"),
        ({"mask": 0.6, "same_tag": 0.5}, "`same_tag`"),
        ({"ngram": -0.1}, "`ngram`"),
        ({"copies": 0}, "`copies`"),
        ({"tags": lambda words: words[1:]}, "`tags` must return a tag for each of the 9 words"),
    ],
)
def test_bad_options_of_words(options, message):
    with pytest.raises(ValueError, match=message):
        text.augment_words(SENTENCES, **options)


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("one", TypeError, "`texts` must be a list"),
        ([], ValueError, "`texts` is empty"),
        (["a", "  "], ValueError, r"`texts\[1\]` has no words"),
        (["a", None], TypeError, "strings"),
    ],
)
def test_bad_texts(texts, error, message):
    with pytest.raises(error, match=message):
        text.augment_words(texts)
    with pytest.raises(error, match=message):
        text.augment_by_predictions(texts, models.bert_masked(layers=1), models.TOKENIZER)


class WordPieces:
    """A tokenizer of whole words, but for "filming", which has two pieces."""

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film", "##ing", "good", "bad", "fair", "."]
    mask_id, special_ids = 4, {0, 1, 2, 3, 4}

    def __call__(self, texts):
        rows = []
        for each in texts:
            pieces = [p for w in each.split() for p in ({"filming": ["film", "##ing"]}.get(w, [w]))]
            rows.append([2, *(self.vocabulary.index(p) for p in pieces), 3])
        ids = np.zeros((len(rows), max(map(len, rows))), "int32")
        for target, row in zip(ids, rows, strict=True):
            target[: len(row)] = row
        return {"token_ids": ids, "padding_mask": (ids != 0).astype("int32")}


def likes_good() -> keras.Model:
    """A masked language model for which "good" is likeliest everywhere, and "bad" next."""
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    size = len(WordPieces.vocabulary)
    table = np.eye(size, dtype="float32")
    # "fair" is like both pieces of "filming".
    table[9, [5, 6]] = 1.0
    embedding = keras.layers.Embedding(size, size)
    logits = keras.layers.Dense(size)
    model = keras.Model({"token_ids": ids, "padding_mask": mask}, logits(embedding(ids)))
    embedding.set_weights([table])
    bias = np.zeros(size, "float32")
    # A piece, a full stop and a special token are likelier still, and no words.
    bias[[6, 10, 3, 7, 8]] = 9.0, 8.0, 7.0, 6.0, 5.0
    logits.set_weights([np.zeros((size, size), "float32"), bias])
    return model


def test_predictions_and_nearest_words():
    made = text.augment_by_predictions(
        ["bad filming .", "film"], likes_good(), WordPieces(), candidates=1, replace=1.0, copies=3
    )
    assert made.texts == ["bad filming .", "good fair .", "film", "good"]
    assert made.origins.tolist() == [0, 0, 1, 1]


def test_words_are_exchanged_as_often_as_said():
    sentence = " ".join(["bad"] * 400)
    made = text.augment_by_predictions(
        [sentence], likes_good(), WordPieces(), candidates=2, replace=0.4, copies=1
    )
    # Of two candidates one is the word itself.
    assert made.texts[1].split().count("good") / 400 == pytest.approx(0.2, abs=0.06)


def test_recipes_hand_on_their_numbers():
    recipe = text.TinyBERT(copies=1, candidates=1, replace=1.0)
    assert recipe.augment(["bad"], likes_good(), WordPieces()).texts == ["bad", "good"]
    made = text.BERTToBiLSTM(copies=4, mask=0.0, ngram=1.0).augment(SENTENCES[:1])
    assert 1 < len(made.texts) <= 5 and not any("[MASK]" in each for each in made.texts)


def test_a_model_of_another_vocabulary():
    with pytest.raises(ValueError, match=r"`model`.*11 tokens.*Received: 40 tokens"):
        text.augment_by_predictions(["bad"], models.bert_masked(layers=1), WordPieces())
