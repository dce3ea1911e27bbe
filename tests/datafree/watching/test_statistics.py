import keras
import numpy as np
import pytest
from keras import layers

from tests import harness
from tests.conftest import SHAPE, blobs, small_network
from tfkd.datafree import reestimate_statistics
from tfkd.pipelines._statistics import choose_statistics


def images(n, seed=0):
    return np.random.default_rng(seed).normal(3, 2, (n, *SHAPE)).astype("float32")


def moments(batches):
    """Averages over batches of what each batch has over all but the channels."""
    axes = tuple(range(len(SHAPE)))
    batches = [batch.astype("float64") for batch in batches]
    return np.mean([b.mean(axes) for b in batches], 0), np.mean([b.var(axes) for b in batches], 0)


@pytest.mark.parametrize(("n", "sizes"), [(60, [20, 20, 20]), (32, [16, 16]), (45, [15, 15, 15]), (1, [1])])
def test_statistics_are_the_batches_average(n, sizes):
    norm = layers.BatchNormalization(momentum=0.93)
    student = keras.Sequential([keras.Input(SHAPE), norm])
    # What stood there before, even if it is not finite, leaves no trace.
    norm.moving_mean.assign([np.inf])
    x = images(n)
    assert reestimate_statistics(student, x, batch_size=20) == 1
    mean, variance = moments(np.split(x, np.cumsum(sizes)[:-1]))
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-5)
    assert norm.momentum == 0.93


def nested_student():
    inner = keras.Sequential([layers.BatchNormalization(name="deep"), layers.Dropout(0.5)], name="inner")
    frozen = layers.BatchNormalization(trainable=False, name="frozen")
    stack = [layers.BatchNormalization(name="first"), inner, frozen, layers.Flatten(), layers.Dense(3)]
    return keras.Sequential([keras.Input(SHAPE), *stack])


def test_nested_layers_are_found_and_all_else_is_left_alone():
    student = nested_student()
    deep = student.get_layer("inner").get_layer("deep")
    estimated = [
        v
        for layer in (student.get_layer("first"), deep)
        for v in (layer.moving_mean, layer.moving_variance)
    ]
    before = {v.path: v.numpy() for v in student.variables}
    assert any("seed" in path for path in before)
    assert reestimate_statistics(student, images(40), batch_size=16) == 2
    changed = {path for path, value in before.items() if not np.array_equal(value, _now(student, path))}
    assert changed == {v.path for v in estimated}
    # The first layer passes on what it has normalized by each batch's own statistics.
    np.testing.assert_allclose(deep.moving_mean, 0, atol=1e-5)
    np.testing.assert_allclose(deep.moving_variance, 1, atol=1e-2)


def _now(model, path):
    return next(v.numpy() for v in model.variables if v.path == path)


def test_the_same_images_give_the_same_statistics_whatever_stood_there(student):
    x = blobs(64)[0]
    reestimate_statistics(student, x)
    first = harness.snapshot(student)
    student(10 * x, training=True)
    reestimate_statistics(student, x)
    harness.assert_same_weights(first, student)


def test_without_batch_normalization_nothing_happens():
    student = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(2)])
    before = harness.snapshot(student)
    assert reestimate_statistics(student, images(4)) == 0
    harness.assert_same_weights(before, student)


def test_a_failure_leaves_the_student_as_it_was(student):
    before = harness.snapshot(student)
    with pytest.raises(ValueError):
        reestimate_statistics(student, np.zeros((4, 5, 5, 2), "float32"))
    harness.assert_same_weights(before, student)
    assert student.get_layer("norm1").momentum == 0.9
    for x, batch_size in ((images(0), 8), (images(4), 0)):
        with pytest.raises(ValueError, match="at least one image"):
            reestimate_statistics(student, x, batch_size)


@pytest.mark.parametrize("spoil", ["training's", "the new"])
def test_the_program_keeps_what_agrees_more(teacher, trained, spoil):
    student = small_network(8, name="copy")
    student.set_weights(trained.get_weights())
    x, y = blobs(128, seed=1)
    other, judging = x[:64], blobs(64, seed=2)[0]
    if spoil == "training's":
        student.get_layer("norm1").moving_mean.assign(np.full(8, 3.0))
    else:
        other = 30 * images(64)
    before = harness.snapshot(student)
    record = choose_statistics(teacher, student, other, judging, (x, y))
    trained_figures, new_figures = record["as_trained"], record["reestimated"]
    if spoil == "training's":
        assert record["kept"] == "reestimated" and new_figures["agreement"] > trained_figures["agreement"]
        harness.assert_other_weights(before, student.weights)
    else:
        assert record["kept"] == "as_trained"
        assert trained_figures["agreement"] == trained_figures["accuracy"] == 1.0
        harness.assert_same_weights(before, student)
    # Whatever real labels say: nobody without data has them.
    student.set_weights(before)
    assert choose_statistics(teacher, student, other, judging, (x, (y + 1) % 4))["kept"] == record["kept"]
    kept = np.mean(student.predict(x, verbose=0).argmax(-1) == y)
    assert record[record["kept"]]["accuracy"] == pytest.approx(kept)


def test_equal_statistics_stay_as_trained_and_none_are_nothing_to_choose(teacher, student):
    x = blobs(32)[0]
    reestimate_statistics(student, x)
    record = choose_statistics(teacher, student, x, x, None)
    assert record["kept"] == "as_trained" and record["as_trained"] == record["reestimated"]
    assert record["as_trained"]["accuracy"] is None
    plain = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(4)])
    assert choose_statistics(teacher, plain, x, x, None) is None
