"""Outputs of a teacher for batches that are padded to lengths of their own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests.distilling import token_models
from tests.distilling.token_models import LABELS, TAGGERS, sentences
from tfkd import losses
from tfkd._core.keras_internals import mask_of
from tfkd.distilling import _cache_form, forward_pass, unpack
from tfkd.distilling._shards import ShardFolder

MAKE, LAYER = TAGGERS["functional"]
SCORES = f"{LAYER}/self_attention_layer:scores"
TAPS = [LAYER, SCORES]
LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-100)
X = sentences(9, longest=8, lengths=[3, 5, 4, 8, 7, 8, 2, 2, 6])
# Labels say which example a row is, for tests of order.
Y = np.where(X["padding_mask"] == 1, np.arange(9)[:, None] % LABELS, -100)
PADDED = ({name: 0 for name in X}, -100)


def single():
    """Examples of their own lengths."""
    lengths = X["padding_mask"].sum(1)

    def examples():
        for i, n in enumerate(lengths):
            yield {name: values[i, :n] for name, values in X.items()}, Y[i, :n]

    spec = tf.TensorSpec((None,), tf.int32)
    return tf.data.Dataset.from_generator(
        examples, output_signature=({name: spec for name in X}, tf.TensorSpec((None,), tf.int64))
    )


def padded(dataset, size=3):
    """Batches, each padded to the longest of its own examples."""
    _, y = dataset.element_spec
    return dataset.padded_batch(size, padding_values=(None, tf.constant(-100, y.dtype)))


@pytest.fixture(scope="module")
def teacher():
    keras.utils.set_random_seed(3)
    return MAKE()


def check(x, teacher):
    """That a batch carries what the teacher says of it, where tokens are real."""
    batch = unpack(x)
    fresh = forward_pass(teacher, TAPS, batch.inputs, False)
    real = batch.inputs["padding_mask"].numpy() == 1
    assert batch.output.shape[1] == real.shape[1]
    for mine, theirs in ((batch.output, fresh.output), (batch.taps[LAYER], fresh.features[LAYER])):
        np.testing.assert_allclose(mine.numpy()[real], theirs.numpy()[real], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(mask_of(mine), real)
    between = np.broadcast_to((real[:, :, None] & real[:, None])[:, None], batch.taps[SCORES].shape)
    mine, theirs = batch.taps[SCORES].numpy(), fresh.features[SCORES].numpy()
    np.testing.assert_allclose(mine[between], theirs[between], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(mask_of(batch.taps[SCORES]), real)
    return len(real)


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_batches_of_their_own_lengths_carry_what_the_teacher_says(where, teacher, tmp_path):
    path = tmp_path if where == "disk" else None
    for _ in range(2):
        # The second time from what is there.
        cached = tfkd.cache_teacher(padded(single()), teacher, TAPS, path)
        assert [x["tfkd:inputs"]["token_ids"].shape[1] for x, _ in cached] == [5, 8, 6]
        assert sum(check(x, teacher) for x, _ in cached) == 9


@pytest.mark.parametrize("how", ["unbatch", "bucket", "examples"])
def test_batched_again_after_caching(how, teacher):
    if how == "examples":
        cached = tfkd.cache_teacher(single(), teacher, TAPS, batched=False)
    else:
        cached = tfkd.cache_teacher(padded(single()), teacher, TAPS).unbatch()
    cached = cached.shuffle(9, seed=1)
    if how == "bucket":
        cached = cached.bucket_by_sequence_length(
            lambda x, y: tf.shape(x["tfkd:inputs"]["token_ids"])[0], [6], [4, 4]
        )
    else:
        cached = cached.padded_batch(4)
    assert sum(check(x, teacher) for x, _ in cached) == 9


def test_files_are_joined_to_batches_of_other_lengths(teacher, tmp_path):
    """Such as those of another run, whose examples come in the same order in other batches."""
    tfkd.cache_teacher(padded(single(), 3), teacher, TAPS, tmp_path)
    for size in (1, 2, 9):
        cached = tfkd.cache_teacher(padded(single(), size), teacher, TAPS, tmp_path)
        assert sum(check(x, teacher) for x, _ in cached) == 9


def test_an_interrupted_cache_goes_on(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(_cache_form, "_SHARD_EXAMPLES", 4)
    write = ShardFolder.write

    def write_once(self, number, arrays):
        if number == 1:
            raise KeyboardInterrupt
        write(self, number, arrays)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ShardFolder, "write", write_once)
        tfkd.cache_teacher(padded(single()), teacher, TAPS, tmp_path)
    cached = tfkd.cache_teacher(padded(single()), teacher, TAPS, tmp_path)
    assert sum(check(x, teacher) for x, _ in cached) == 9


@pytest.mark.filterwarnings("ignore:compress=2 keeps all but")
@pytest.mark.parametrize("compress", ["float16", 2])
def test_compressed_outputs_of_tokens(compress, teacher, tmp_path):
    """In rows of their own lengths, joined to batches of another."""
    for size in (3, 2):
        cached = tfkd.cache_teacher(padded(single(), size), teacher, [LAYER], tmp_path, compress=compress)
    for x, _ in cached:
        batch = unpack(x)
        real = batch.inputs["padding_mask"].numpy() == 1
        exact = forward_pass(teacher, [LAYER], batch.inputs, False)
        np.testing.assert_array_equal(mask_of(batch.output), real)
        np.testing.assert_allclose(
            batch.taps[LAYER].numpy()[real], exact.features[LAYER].numpy()[real], rtol=1e-3, atol=1e-4
        )
        ours, theirs = batch.output.numpy()[real], exact.output.numpy()[real]
        top = np.argsort(-theirs, -1)[:, :2]
        np.testing.assert_allclose(
            np.take_along_axis(ours, top, -1), np.take_along_axis(theirs, top, -1), atol=2e-3
        )


def test_a_distiller_learns_the_same(teacher):
    data = padded(single())
    cached = tfkd.cache_teacher(data, teacher, TAPS)
    weights, logs = MAKE().get_weights(), []
    for dataset in (data, cached):
        student = MAKE()
        student.set_weights(weights)
        knowledge = [losses.SoftTargets(2.0), losses.CosineEmbedding(LAYER, LAYER)]
        knowledge += [
            losses.AttentionScores(SCORES.removesuffix(":scores"), SCORES.removesuffix(":scores"))
        ]
        distiller = tfkd.Distiller(teacher, student, knowledge)
        distiller.compile(keras.optimizers.SGD(0.1), LABELS_LOSS)
        logs.append(distiller.fit(dataset, verbose=0).history)
    for name, values in logs[0].items():
        assert logs[1][name] == pytest.approx(values, rel=1e-4), name


def test_masks_of_the_teacher_alone_are_carried(teacher):
    """The student has none: it is told which tokens count by what was cached."""
    data = tf.data.Dataset.from_tensor_slices(X["token_ids"]).batch(3)
    theirs = token_models.keras_masks_tagger()
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    student = keras.Model(ids, keras.layers.Embedding(50, LABELS, name="logits")(ids))
    values = []
    for dataset in (data, tfkd.cache_teacher(data, theirs)):
        distiller = tfkd.Distiller(theirs, student, losses.SoftTargets(), student_loss_weight=0.0)
        distiller.compile("sgd")
        values.append(distiller.evaluate(dataset, verbose=0))
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_other_words_are_refused(teacher):
    cached = tfkd.cache_teacher(padded(single().shuffle(9)), teacher)
    with pytest.raises(tf.errors.OpError, match=r"gives other examples.*padding_mask"):
        list(cached)


def test_lengths_that_outputs_do_not_follow_are_refused(tmp_path):
    ids = keras.Input((None,), dtype="int32")
    halved = keras.layers.Embedding(50, 4)(ids)[:, ::2]
    halves = keras.Model(ids, halved)
    data = single().map(lambda x, y: x["token_ids"])
    cached = tfkd.cache_teacher(data.padded_batch(3), halves, path=tmp_path)
    assert [x["tfkd:inputs"].shape[1] for x in cached] == [5, 8, 6]
    cached = tfkd.cache_teacher(data.padded_batch(9), halves, path=tmp_path)
    with pytest.raises(tf.errors.OpError, match="batch again only after"):
        list(cached)
