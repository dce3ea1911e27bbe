"""Sentences of words: which words of a vocabulary, how often, how many."""

import keras
import numpy as np
import pytest

from generators import Words, model_inputs, whole_words

BERT = [
    "[PAD]",
    "[unused0]",
    "[CLS]",
    "[SEP]",
    "[UNK]",
    "!",
    "a",
    "é",
    "the",
    "##ing",
    "of",
    "café",
    "2004",
    "x2",
]


def probabilities(n, exponent):
    """Of n words, by the integral of the power law from each rank to the next."""
    ends = np.arange(1.0, n + 2)
    below = np.log(ends) if exponent == 1 else ends ** (1 - exponent) / (1 - exponent)
    return np.diff(below) / (below[-1] - below[0])


@pytest.mark.parametrize("exponent", [0, 0.5, 1, 1.3])
def test_words_are_as_frequent_as_the_law_says(exponent):
    token_ids = np.arange(100, 140)
    drawn = Words(token_ids, words=(1, 1), exponent=exponent).sample(50_000, seed=1).numpy()
    shares = np.bincount(drawn[:, 0] - 100, minlength=40) / 50_000
    np.testing.assert_allclose(shares, probabilities(40, exponent), atol=0.007)


def test_the_commonest_words_of_a_large_vocabulary_are_in_zipf_s_proportion():
    drawn = Words(range(20_000), words=(20, 20)).sample(2_000, seed=2).numpy().ravel()
    assert drawn.min() == 0 and drawn.max() < 20_000
    first, tenth = (drawn == 0).mean(), (drawn == 9).mean()
    np.testing.assert_allclose(first, np.log(2) / np.log(20_001), rtol=0.05)
    np.testing.assert_allclose(first / tenth, np.log(2) / np.log(1.1), rtol=0.15)


def test_each_number_of_words_is_equally_likely_and_stands_between_its_tokens():
    words = Words(range(10, 30), words=(4, 8), start_id=1, end_id=2, pad_id=3, length=12)
    drawn = words.sample(10_000, seed=0).numpy()
    assert drawn.dtype == np.int32 and drawn.shape == (10_000, 12)
    is_word = drawn >= 10
    counts = is_word.sum(axis=1)
    np.testing.assert_allclose(np.bincount(counts, minlength=9)[4:] / 10_000, 0.2, atol=0.02)
    place = np.arange(12)
    np.testing.assert_array_equal(drawn == 1, np.tile(place == 0, (10_000, 1)))
    np.testing.assert_array_equal(is_word, (place > 0) & (place <= counts[:, None]))
    np.testing.assert_array_equal(drawn == 2, place == counts[:, None] + 1)
    np.testing.assert_array_equal(drawn == 3, place > counts[:, None] + 1)


def test_what_models_are_given_says_what_is_padding():
    words = Words(range(10, 30), words=(1, 4), end_id=2, length=8, pad_id=7)
    drawn = words.sample(16, seed=0)
    inputs = words.model_inputs(drawn)
    assert list(inputs) == ["token_ids", "padding_mask"]
    np.testing.assert_array_equal(inputs["token_ids"], drawn)
    np.testing.assert_array_equal(inputs["padding_mask"], drawn.numpy() != 7)
    assert inputs["padding_mask"].dtype == "int32"


def test_padding_is_what_comes_behind_the_last_other_token():
    token_ids = [[7, 5, 7, 7], [5, 7, 5, 7], [7, 7, 7, 7]]
    mask = model_inputs(token_ids, pad_id=7)["padding_mask"]
    np.testing.assert_array_equal(mask, [[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]])


def test_whole_words_of_each_kind_of_vocabulary():
    assert [BERT[i] for i in whole_words(BERT)] == ["the", "of", "café"]
    assert [BERT[i] for i in whole_words(BERT, special_ids={8})] == ["of", "café"]
    byte_pairs = ["!", "a", "Ġ", "Ġa", "Ġthe", "ing", "the", "Ġof", "Ġ20", "<|endoftext|>"]
    assert whole_words(byte_pairs) == [4, 7]
    assert whole_words(["<unk>", "▁", "▁the", "er", "▁in"]) == [2, 4]


class Tokenizer:
    vocabulary, special_ids, cls_id, sep_id, pad_id = BERT, {0, 2, 3, 4}, 2, 3, 0
    fingerprint = "0123456789abcdef"


def test_words_of_a_tokenizer_stand_between_its_tokens():
    words = Words.from_tokenizer(Tokenizer, words=(2, 3))
    assert (words.token_ids, words.start_id, words.end_id, words.pad_id) == ((8, 10, 11), 2, 3, 0)
    assert words.tokenizer == Tokenizer.fingerprint
    assert Words.from_tokenizer(Tokenizer, end_id=None).end_id is None


def test_a_file_keeps_all_options(tmp_path):
    words = Words([9, 5, 7], (2, 3), 0.8, start_id=1, end_id=2, pad_id=4, length=8, tokenizer="abc")
    keras.models.Model.save(words, tmp_path / "words.keras")
    loaded = keras.models.load_model(tmp_path / "words.keras")
    assert loaded.get_config() == words.get_config()
    np.testing.assert_array_equal(loaded.sample(8, seed=3), words.sample(8, seed=3))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Words([]), "`token_ids` must contain at least one word. Received: none. .*whole_words"),
        (lambda: Words([1, -1]), "`token_ids` must be an integer of at least 0. Received: token_ids=-1"),
        (lambda: Words([1], words=(5, 4)), r"`words` must be \(fewest, most\)"),
        (lambda: Words([1], words=(1.5, 4)), "`words` must be .* two integers"),
        (lambda: Words([1], words=6), "`words` must be .* Received: words=6"),
        (lambda: Words([1], exponent=-1), "`exponent` must be a number of at least 0"),
        (lambda: Words([1], start_id=-2), "`start_id` must be an integer of at least 0"),
        (lambda: Words([1], pad_id=-2), "`pad_id` must be an integer of at least 0"),
        (
            lambda: Words([1], words=(2, 6), start_id=0, end_id=2, length=7),
            "`length` must be at least 8, for 6 words .* Received: length=7. Use a longer",
        ),
    ],
)
def test_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
