"""How a teacher's outputs are kept, against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests.conftest import blobs, small_network
from tfkd.distilling import unpack
from tfkd.distilling._packing import Half, TopLogits
from tfkd.losses import soft_targets

pytestmark = pytest.mark.eager


def softmax(logits, temperature=1.0):
    exponentials = np.exp((logits - logits.max(-1, keepdims=True)) / temperature)
    return exponentials / exponentials.sum(-1, keepdims=True)


def sure_logits(n, classes=1000):
    """As a network has them of pictures that it was trained on: one class far above others that differ.

    EfficientNet-Lite0's 1000 logits have a deviation of 1.3 and a largest one of 9 to 12 where it is sure.
    """
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.3, (n, classes)).astype("float32")
    logits[np.arange(n), rng.integers(0, classes, n)] += rng.uniform(9, 14, n)
    return logits


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("shape", [(6, 50), (2, 3, 50)])
def test_the_largest_logits_are_kept_and_the_mass_of_the_others(shape, temperature):
    logits = np.random.default_rng(0).normal(3, 2, shape).astype("float32")
    packing = TopLogits(5, 50, temperature, tf.float32)
    packed = packing.pack(tf.constant(logits))
    assert [tuple(part.shape) for part in packed] == packing.shapes(shape)
    assert [part.dtype for part in packed] == [tf.float16, tf.uint16, tf.float32]
    kept = packing.unpack(packed).numpy()
    assert kept.shape == shape
    order = np.argsort(-logits, -1)
    top, rest = order[..., :5], order[..., 5:]
    np.testing.assert_array_equal(packed[1], top)
    np.testing.assert_array_equal(kept.argmax(-1), logits.argmax(-1))
    np.testing.assert_allclose(
        np.take_along_axis(kept, top, -1), np.take_along_axis(logits, top, -1), atol=5e-3
    )
    others = np.take_along_axis(kept, rest, -1)
    np.testing.assert_array_equal(others, np.broadcast_to(others[..., :1], others.shape))
    ours, theirs = (np.take_along_axis(softmax(x, temperature), rest, -1).sum(-1) for x in (kept, logits))
    np.testing.assert_allclose(ours, theirs, rtol=5e-3)


def test_equal_and_masked_logits():
    equal = np.array([[2.0, 1.0, 1.0, 1.0, 0.0, 0.0], [3.0] * 6], "float32")
    packing = TopLogits(2, 6, 1.0, tf.float32)
    kept = packing.unpack(packing.pack(equal)).numpy()
    np.testing.assert_allclose(softmax(kept)[:, 2:].sum(-1), softmax(equal)[:, 2:].sum(-1), rtol=1e-3)
    for nothing in (-1e9, -np.inf):
        masked = np.array([[1.0, 0.5, 0.0, nothing, nothing, nothing]], "float32")
        kept = TopLogits(3, 6, 1.0, tf.float32)
        kept = kept.unpack(kept.pack(masked)).numpy()
        np.testing.assert_allclose(softmax(kept), softmax(masked), atol=1e-3)
        assert np.isfinite(kept).all()
        assert np.isfinite(Half(tf.float32).unpack(Half(tf.float32).pack(tf.constant(masked)))).all()


def test_top_32_of_a_sure_teacher_take_a_twentieth_and_lose_less_than_a_hundredth():
    logits = sure_logits(500)
    packing = TopLogits(32, 1000, 1.0, tf.float32)
    packed = packing.pack(logits)
    # With the checksum and the length that every row has.
    assert sum(part.numpy().nbytes for part in packed) + 500 * 8 <= logits.nbytes / 20
    kept = packing.unpack(packed)
    rng = np.random.default_rng(1)
    for student in (np.zeros_like(logits), 0.5 * logits + rng.normal(size=logits.shape)):
        exact, ours = (float(tf.reduce_mean(soft_targets(x, student))) for x in (logits, kept))
        assert ours == pytest.approx(exact, rel=0.01)
    known, other = np.log(softmax(logits)), np.log(softmax(kept.numpy()))
    probabilities = np.exp(known)
    lost = (probabilities * (known - other)).sum(-1).mean()
    nothing = (probabilities * (known + np.log(1000))).sum(-1).mean()
    assert packing.lost_share(logits) == pytest.approx(lost / nothing, rel=1e-3)


def test_float16_keeps_soft_targets_within_a_thousandth():
    logits = sure_logits(200)
    kept = Half(tf.float32).unpack(Half(tf.float32).pack(logits))
    for temperature in (1.0, 4.0):
        exact, ours = (
            float(tf.reduce_mean(soft_targets(x, np.zeros_like(logits), temperature)))
            for x in (logits, kept)
        )
        assert ours == pytest.approx(exact, rel=1e-3)


def test_losing_much_of_soft_targets_warns_by_how_much():
    logits = np.random.default_rng(0).normal(0, 0.5, (8, 20)).astype("float32")
    teacher = keras.Sequential([keras.Input((20,)), keras.layers.Dense(20, use_bias=False)])
    teacher.layers[-1].set_weights([np.eye(20, dtype="float32")])
    data = tf.data.Dataset.from_tensor_slices(logits).batch(8)
    packing = TopLogits(2, 20, 2.0, tf.float32)
    with pytest.warns(UserWarning, match=f"loses {packing.lost_share(logits):.1%} .* at temperature 2"):
        tfkd.cache_teacher(data, teacher, compress=2, temperature=2)
    sure = data.map(lambda x: x + 20 * tf.one_hot(tf.range(8), 20))
    cached = tfkd.cache_teacher(sure, teacher, compress=2)
    np.testing.assert_allclose(softmax(unpack(next(iter(cached))).output.numpy()).max(-1), 1, atol=1e-4)


def test_outputs_of_several_heads_and_numbers():
    x = np.random.default_rng(0).normal(size=(10, 3)).astype("float32")
    a = keras.Input((3,))
    largest = keras.layers.Lambda(lambda y: keras.ops.argmax(y, -1), output_shape=(), dtype="int64")(a)
    scores = 20 * keras.layers.Dense(6, kernel_initializer="orthogonal")(a)
    teacher = keras.Model(a, {"largest": largest, "scores": scores, "wide": keras.layers.Dense(9)(20 * a)})
    data = tf.data.Dataset.from_tensor_slices(x).batch(4)
    cached = tfkd.cache_teacher(data, teacher, compress=5)
    for batch in cached:
        carried, exact = unpack(batch), teacher(unpack(batch).inputs)
        np.testing.assert_array_equal(carried.output["largest"], exact["largest"])
        np.testing.assert_allclose(carried.output["scores"], exact["scores"], rtol=2e-3, atol=2e-2)
        assert carried.output["wide"].shape[1] == 9


@pytest.mark.parametrize("compress", ["float16", 3])
def test_a_distiller_learns_from_compressed_outputs(compress, tmp_path, teacher):
    """Losses, agreement and metrics see logits of the ordinary shape and type."""
    x, y = blobs(48)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    history, weights = [], small_network(4).get_weights()
    for dataset in (data, tfkd.cache_teacher(data, teacher, ["relu1"], tmp_path, compress=compress)):
        student = small_network(4)
        student.set_weights(weights)
        knowledge = [tfkd.losses.SoftTargets(), tfkd.losses.AttentionTransfer("relu1", "relu1")]
        distiller = tfkd.Distiller(teacher, student, knowledge)
        labels_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        distiller.compile(keras.optimizers.SGD(0.1), labels_loss, ["accuracy"])
        history.append(distiller.fit(dataset, epochs=2, verbose=0).history)
    for name, values in history[0].items():
        assert history[1][name] == pytest.approx(values, rel=1e-2), name
