import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests.conftest import small_network
from tests.distilling.cached_examples import Counting, X, Y, batches, fresh_teacher
from tfkd import losses
from tfkd._core.fingerprints import fingerprint
from tfkd.distilling import _caching as caching

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_outputs_belong_to_their_examples_after_shuffling(where, tmp_path):
    teacher = fresh_teacher()
    path = tmp_path / "cache" if where == "disk" else None
    cached = tfkd.cache_teacher(batches(), teacher, taps=["relu1"], path=path)
    seen = 0
    for x, y in cached.unbatch().shuffle(40, seed=1).batch(7):
        carried = caching.unpack(x)
        np.testing.assert_allclose(carried.output, teacher(carried.inputs), rtol=1e-4, atol=1e-5)
        with tfkd.taps.record(teacher, ["relu1"]) as inner:
            teacher(carried.inputs)
        np.testing.assert_allclose(carried.taps["relu1"], inner["relu1"], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(carried.inputs, X[carried.index])
        np.testing.assert_array_equal(y, Y[carried.index])
        seen += len(y)
    assert seen == 40


def test_a_distiller_learns_the_same_and_skips_the_teacher():
    """Also with an uneven last batch, evaluation and prediction on the same data set."""
    teacher = fresh_teacher()
    cached = tfkd.cache_teacher(batches(), teacher, taps=["relu1"])
    count = Counting(teacher)
    weights = small_network(8).get_weights()
    after = []
    for dataset in (batches(), cached):
        keras.utils.set_random_seed(1)
        student = small_network(8)
        student.set_weights(weights)
        distiller = tfkd.Distiller(teacher, student, [losses.SoftTargets(), losses.Hint("relu1", "relu1")])
        distiller.compile(keras.optimizers.SGD(0.1), LABELS_LOSS, ["accuracy"])
        rows = count.rows
        distiller.fit(dataset, epochs=2, verbose=0)
        after.append((count.rows - rows, student.get_weights()))
    assert [rows for rows, _ in after] == [80, 0]
    for ours, theirs in zip(after[0][1], after[1][1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    expected = distiller.evaluate(X, Y, batch_size=16, return_dict=True, verbose=0)
    assert distiller.evaluate(cached, return_dict=True, verbose=0) == pytest.approx(expected)
    np.testing.assert_allclose(
        distiller.predict(cached, verbose=0), student.predict(X, verbose=0), atol=1e-5
    )


def test_evaluation_on_a_cache_without_taps_leaves_the_comparison_out(teacher):
    cached = tfkd.cache_teacher(tf.data.Dataset.from_tensor_slices((X, Y)).batch(16), teacher)
    distiller = tfkd.Distiller(teacher, small_network(4), losses.Hint("conv2", "conv2", projector=True))
    distiller.compile("adam", LABELS_LOSS)
    assert set(distiller.evaluate(cached, return_dict=True, verbose=0)) == {"loss", "student_loss"}


def test_stale_caches_are_refused(tmp_path):
    teacher, other = fresh_teacher(), small_network(8)
    cached = tfkd.cache_teacher(batches(), teacher, path=tmp_path)
    for arguments, message in (
        ((batches(), other), "their teacher is '.*now it is"),
        ((batches(), teacher, ["relu1"]), r"their taps is \[\], but now it is \['relu1'\]"),
        ((batches().map(lambda x, y: (1 - x, y)), teacher), "for other examples"),
    ):
        with pytest.raises(ValueError, match=message):
            tfkd.cache_teacher(*arguments, path=tmp_path)
    with pytest.raises(ValueError, match="their compress is None, but now it is 'float16'"):
        tfkd.cache_teacher(batches(), teacher, path=tmp_path, compress="float16")
    more = tfkd.cache_teacher(batches().concatenate(batches()), teacher, path=tmp_path)
    with pytest.raises(tf.errors.InvalidArgumentError, match="has more examples than the 40"):
        list(more)
    student = small_network(4)
    for model, loss, message in (
        (other, losses.SoftTargets(), "carries the outputs of another teacher"),
        (teacher, losses.AttentionTransfer("relu1", "relu1"), r"no outputs for \['relu1'\].*taps="),
    ):
        distiller = tfkd.Distiller(model, student, loss, student_loss_weight=0.0)
        distiller.compile("sgd")
        with pytest.raises(ValueError, match=message):
            distiller.fit(cached, verbose=0)


def test_teachers_are_told_apart_by_their_layers_too(trained, teacher):
    """The same weights with another ending, or under other names."""
    assert fingerprint(trained) != fingerprint(teacher)
    copy = keras.models.clone_model(trained, clone_function=renamed)
    copy.set_weights(trained.get_weights())
    assert fingerprint(copy) == fingerprint(trained)


def renamed(layer):
    return type(layer).from_config({**layer.get_config(), "name": f"other_{layer.name}"})


def test_inputs_of_text():
    text = keras.layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=2)
    inputs = keras.Input((1,), dtype="string")
    teacher = keras.Model(inputs, keras.layers.Embedding(4, 2)(text(inputs)))
    words = tf.data.Dataset.from_tensor_slices(np.array([["a"], ["b"], ["a b"]])).batch(2)
    assert len(list(tfkd.cache_teacher(words, teacher))) == 2


def test_data_that_changes_between_epochs_is_refused():
    shuffled = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(40).batch(8)
    cached = tfkd.cache_teacher(shuffled, fresh_teacher())
    with pytest.raises(tf.errors.OpError, match="gives other examples"):
        list(cached)


def test_examples_one_by_one_and_nested_inputs_and_outputs():
    a, b = keras.Input((3,)), keras.Input((3,))
    sums = keras.layers.Dense(2)(keras.layers.Add()([a, b]))
    teacher = keras.Model({"a": a, "b": b}, {"sum": sums, "a": keras.layers.Dense(1)(a)})
    x = {name: np.random.default_rng(0).normal(size=(10, 3)).astype("float32") for name in "ab"}
    examples = tf.data.Dataset.from_tensor_slices(x)
    cached = tfkd.cache_teacher(examples, teacher, batched=False)
    assert len(cached) == 10
    for batch in cached.batch(4):
        carried = caching.unpack(batch)
        expected = teacher(carried.inputs)
        keras.tree.map_structure(
            lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6),
            carried.output,
            expected,
        )


def test_places_count_over_batches_and_epochs():
    for batched, dataset in ((True, batches(16)), (False, batches(16).unbatch())):
        placed = tfkd.with_index(dataset, batched)
        for _ in range(2):
            index = [np.atleast_1d(caching.unpack(x).index) for x, _ in placed]
            np.testing.assert_array_equal(np.concatenate(index), np.arange(40))


def test_bad_arguments(trained):
    teacher = fresh_teacher()
    for build, error, message in (
        (lambda: tfkd.cache_teacher((X, Y), teacher), TypeError, "`dataset` must be a tf.data.Dataset"),
        (lambda: tfkd.with_index(X), TypeError, "`dataset` must be a tf.data.Dataset"),
        (lambda: tfkd.cache_teacher(batches().repeat(), teacher), ValueError, "must be finite"),
        (lambda: tfkd.cache_teacher(batches().take(0), teacher), ValueError, "is empty"),
        (lambda: tfkd.cache_teacher(batches(), teacher, compress="int8"), ValueError, "`compress` must be"),
        (lambda: tfkd.cache_teacher(batches(), teacher, compress=0), ValueError, "`compress` must be"),
        (lambda: tfkd.cache_teacher(batches(), teacher, compress=4), ValueError, "below the number of cl"),
        (lambda: tfkd.cache_teacher(batches(), teacher, temperature=0), ValueError, "`temperature` must"),
        (lambda: tfkd.cache_teacher(batches(), teacher, shard=2), ValueError, "`shard` must be a pair"),
        (lambda: tfkd.cache_teacher(batches(), teacher, shard=(2, 2)), ValueError, r"`shard\[0\]` must be"),
        (lambda: tfkd.cache_teacher(batches(), trained, compress=2), ValueError, "ends in a softmax"),
        (lambda: tfkd.cache_teacher(batches(), teacher, ["relu9"]), ValueError, "No layer 'relu9'"),
    ):
        with pytest.raises(error, match=message):
            build()


@pytest.mark.parametrize("form", ["cached", "indexed", "plain", "examples"])
def test_inputs_are_augmented_after_caching_as_the_message_says(form):
    teacher = fresh_teacher()
    cached = tfkd.cache_teacher(batches(), teacher)
    dataset = {
        "cached": cached,
        "indexed": tfkd.with_index(batches()),
        "plain": batches(),
        "examples": cached.unbatch(),
    }[form]
    changed = tfkd.map_inputs(dataset, tf.image.flip_left_right)
    first, flipped = next(iter(dataset)), next(iter(changed))
    before, after = caching.unpack(first[0]), caching.unpack(flipped[0])
    np.testing.assert_array_equal(after.inputs, before.inputs[..., ::-1, :])
    np.testing.assert_array_equal(flipped[1], first[1])
    if form == "cached":
        np.testing.assert_array_equal(after.output, before.output)
        distiller = tfkd.Distiller(teacher, small_network(4), losses.SoftTargets(), student_loss_weight=0.0)
        distiller.compile("sgd")
        distiller.fit(changed, verbose=0)


def test_the_message_about_changed_examples_names_the_way_to_augment():
    cached = tfkd.cache_teacher(batches(1).shuffle(40), fresh_teacher())
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"tfkd\.map_inputs\(cached, function\)"):
        list(cached)
