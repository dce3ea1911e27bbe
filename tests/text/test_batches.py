import keras
import numpy as np
import pytest

from tests.text.folders import CHECKPOINTS
from tfkd import text

WORDS = ["the", "film", "is", "not", "good", "bad"]


def tokenizer(max_length=16):
    return text.Tokenizer(CHECKPOINTS / "bert", max_length=max_length)


def sentences(n=23, longest=10, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest))) for _ in range(n)]


def collected(data):
    return [(x["token_ids"].numpy(), x["padding_mask"].numpy(), y.numpy()) for x, y in data]


def test_every_text_comes_once_in_a_batch_of_its_length():
    texts = sentences()
    made = tokenizer()
    data = text.batches(texts, np.arange(23), tokenizer=made, batch_size=4, lengths=(4, 8))
    found = collected(data)
    assert len(found) == data.cardinality().numpy()
    assert sorted(np.concatenate([y for *_, y in found])) == list(range(23))
    assert {ids.shape[1] for ids, *_ in found} == {4, 8, 16}
    for ids, mask, numbers in found:
        for row, real, number in zip(ids, mask, numbers, strict=True):
            expected = made([texts[number]])["token_ids"][0]
            np.testing.assert_array_equal(row[: real.sum()], expected)
            assert not row[real.sum() :].any()
        below = {16: 8, 8: 4, 4: 0}[ids.shape[1]]
        assert (mask.sum(axis=1) > below).all()


def test_orders_follow_from_the_seed_and_the_epoch():
    def epochs(seed, shuffle=True):
        data = text.batches(
            sentences(), np.arange(23), tokenizer=tokenizer(), batch_size=4, shuffle=shuffle, seed=seed
        )
        return [np.concatenate([y for *_, y in collected(data)]).tolist() for _ in range(2)]

    assert epochs(1) == epochs(1)
    first, second = epochs(1)
    assert first != second and sorted(first) == sorted(second) and epochs(2)[0] != first
    first, second = epochs(None, shuffle=False)
    assert first == second


def test_a_resumed_fit_sees_the_order_that_it_would_have_seen():
    def orders(initial_epoch):
        seeds = text.EpochSeed((0, 5))
        data = text.batches(
            sentences(), np.arange(23), tokenizer=tokenizer(), batch_size=4, shuffle=True, seed=seeds
        )
        seen = []
        for epoch in range(initial_epoch, 3):
            seeds.on_epoch_begin(epoch)
            seen.append(np.concatenate([y for *_, y in collected(data)]).tolist())
        return seen

    assert orders(1) == orders(0)[1:]
    assert len({tuple(each) for each in orders(0)}) == 3


def test_labels_of_tokens_are_padded_with_what_does_not_count():
    made = tokenizer()
    texts = ["the film", "the film is not good", "bad"]
    labels = [list(range(len(ids))) for ids in made.encode(texts)[0]]
    found = collected(text.batches(texts, labels, tokenizer=made, batch_size=2, lengths=(4, 8)))
    for ids, mask, y in found:
        assert y.shape == ids.shape and y.dtype == "int32"
        np.testing.assert_array_equal(y, np.where(mask == 1, np.arange(ids.shape[1]), -100))


def test_labels_of_other_shapes_stay():
    y = np.random.default_rng(0).uniform(size=(3, 2)).astype("float32")
    ((_, _, found),) = collected(text.batches(["good", "bad", "film"], y, tokenizer=tokenizer()))
    np.testing.assert_array_equal(found, y)
    ((_, _, found),) = collected(text.batches(["good", "bad"], [[0, 1], [1, 0]], tokenizer=tokenizer()))
    np.testing.assert_array_equal(found, [[0, 1], [1, 0]])


def test_long_texts_are_cut_with_their_labels():
    made = tokenizer(max_length=4)
    with pytest.warns(UserWarning, match="1 of 2 texts have more than 4 tokens"):
        data = text.batches(["the film is not", "bad"], [[0, 1, 2, 3, 4, 5], [0, 1, 2]], tokenizer=made)
    ((ids, _, y),) = collected(data)
    assert ids.shape == (2, 4) and y.tolist() == [[0, 1, 2, 3], [0, 1, 2, -100]]


def test_texts_alone_and_pairs():
    (x,) = text.batches(["good", ""], tokenizer=tokenizer(), lengths=(4,))
    assert x["token_ids"].numpy().tolist() == [[2, 12, 3, 0], [2, 3, 0, 0]]
    (x,) = text.batches(["good"], tokenizer=tokenizer(), pairs=["bad"], lengths=(6,))
    assert x["segment_ids"].numpy().tolist() == [[0, 0, 0, 1, 1, 0]]


def test_models_train_on_them():
    model = text.bilstm_classifier(28, 2, embedding_dim=4, hidden=3, dense=4)
    data = text.batches(
        sentences(), np.arange(23) % 2, tokenizer=tokenizer(), batch_size=4, lengths=(4, 8), shuffle=True
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    # Lengths that are left open need one trace for all of them.
    assert data.element_spec[0]["token_ids"].shape.as_list() == [None, None]
    history = model.fit(data, epochs=2, verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [0]}, "Received: 1 for 2 texts"),
        ({"labels": [[0, 1, 2], [0, 1]]}, "Received: 2 for 3 tokens at index 1"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"lengths": (0,)}, "`lengths`"),
        ({"texts": []}, "at least one text"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    texts = options.pop("texts", ["good", "bad"])
    with pytest.raises(ValueError, match=message):
        text.batches(texts, tokenizer=tokenizer(), **options)


def test_memory_is_not_given_back_after_each_step():
    # TensorFlow's generator data sets have the C library do so, for all that the process computes.
    data = text.batches(sentences(), tokenizer=tokenizer(), shuffle=True)
    assert b"GeneratorDataset" not in data._as_serialized_graph().numpy()
