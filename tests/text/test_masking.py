"""Which tokens are hidden, and that they follow from the epoch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.text import small_models as models
from tfkd import text


def hidden(dataset):
    """All inputs and labels of one pass."""
    parts = [(x["token_ids"].numpy(), y.numpy()) for x, y in dataset]
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


@pytest.fixture
def inputs():
    return models.sentences(2000)


@pytest.fixture
def dataset(inputs):
    return tf.data.Dataset.from_tensor_slices(inputs).batch(500)


def test_shares(inputs, dataset):
    ids, labels = hidden(text.mask_tokens(models.TOKENIZER)(dataset))
    real = (inputs["padding_mask"] == 1) & (inputs["token_ids"] > 4)
    chosen = labels != -100
    assert not chosen[~real].any()
    np.testing.assert_array_equal(labels[chosen], inputs["token_ids"][chosen])
    np.testing.assert_array_equal(ids[~chosen], inputs["token_ids"][~chosen])
    # About 1,200 of 8,000; three standard deviations.
    assert chosen.sum() / real.sum() == pytest.approx(0.15, abs=0.012)
    assert np.mean(ids[chosen] == 4) == pytest.approx(0.8, abs=0.035)
    kept = np.mean(ids[chosen] == labels[chosen])
    assert kept == pytest.approx(0.1 + 0.1 / 35, abs=0.027)
    others = ids[chosen & (ids != 4) & (ids != labels)]
    assert len(others) and (others > 4).all() and len(np.unique(others)) > 25


def test_all_are_masked_where_that_is_asked_for(dataset):
    masking = text.mask_tokens(models.TOKENIZER, probability=0.99, mask=1.0, random=0.0)
    ids, labels = hidden(dataset.apply(masking))
    assert (ids[labels != -100] == 4).all()


def test_each_pass_and_each_batch_hides_others(dataset):
    made = text.mask_tokens(models.TOKENIZER)(dataset)
    first, second = hidden(made)[1], hidden(made)[1]
    assert (first != second).any()
    assert (first[:500] != first[500:1000]).any()
    np.testing.assert_array_equal(first, hidden(text.mask_tokens(models.TOKENIZER)(dataset))[1])
    assert (first != hidden(text.mask_tokens(models.TOKENIZER, seed=1)(dataset))[1]).any()


def test_in_fit_they_follow_from_the_epoch(dataset):
    seen = {}

    class Keeping(keras.Model):
        def train_step(self, data):
            tf.numpy_function(lambda y: seen.setdefault("labels", []).append(y), [data[1]], [])
            return {"loss": 0.0}

    def labels(**options):
        seen.clear()
        seeds = text.EpochSeed((3, 4))
        masked = dataset.apply(text.mask_tokens(models.TOKENIZER, seed=seeds))
        model = Keeping()
        model.compile(run_eagerly=True)
        model.fit(masked, callbacks=[seeds], verbose=0, shuffle=False, **options)
        return np.concatenate(seen["labels"])

    whole = labels(epochs=3)
    np.testing.assert_array_equal(whole[4000:], labels(epochs=3, initial_epoch=2))
    assert (whole[:2000] != whole[2000:4000]).any()


def test_labels_are_left_out_and_the_length_is_known(inputs):
    labelled = tf.data.Dataset.from_tensor_slices((inputs, inputs["token_ids"][:, 1])).batch(500)
    made = text.mask_tokens(models.TOKENIZER)(labelled)
    assert int(made.cardinality()) == 4
    x, y = made.element_spec
    assert set(x) == {"token_ids", "padding_mask"} and y.shape.as_list() == [None, models.TOKENS]


def test_without_padding():
    ids = tf.data.Dataset.from_tensor_slices({"token_ids": models.sentences(32)["token_ids"]}).batch(32)
    _, labels = hidden(text.mask_tokens(models.TOKENIZER, probability=0.9)(ids))
    assert (labels != -100).any()


@pytest.mark.parametrize(
    ("option", "value"), [("probability", 0.0), ("mask", 1.1), ("random", 0.3), ("seed", -1)]
)
def test_bad_numbers(option, value):
    with pytest.raises(ValueError, match=f"`{option}`"):
        text.mask_tokens(models.TOKENIZER, **{option: value})


def test_a_tokenizer_without_a_mask():
    tokenizer = type(models.TOKENIZER)(vocabulary=["a"], mask_id=None, special_ids=set())
    with pytest.raises(ValueError, match=r"`tokenizer` has no mask token.*next_tokens"):
        text.mask_tokens(tokenizer)
