"""What noisy students learn from: both kinds in a batch, order and noise that follow from the epoch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tfkd.distilling import _caching as caching
from tfkd.schemes import rand_augment
from tfkd.schemes._epoch_data import EpochSeed
from tfkd.schemes._noisy_examples import Mixing, labelled_examples
from tfkd.tasks import Classification

pytestmark = pytest.mark.slow

X, Y = blobs(160)
LABELLED, UNLABELLED = (X[:32], Y[:32]), X[32:]
TASK = Classification((CLASSES,))


def epoch_of(data, seeds, number):
    seeds.on_epoch_begin(number)
    batches = list(data.as_numpy_iterator())
    return np.stack([x for x, _ in batches]), np.stack([y for _, y in batches])


def test_a_batch_has_both_kinds_and_an_epoch_each_example():
    examples = labelled_examples(LABELLED, TASK).with_unlabelled(UNLABELLED)
    teacher, seeds = small_network(2), EpochSeed((0, 1))
    data, count = examples.pseudo_labelled(
        teacher, Mixing(8, 3, 1000, None), seeds, False, None, None, [], False, None
    )
    assert count == 128 and len(data) == 6
    x, y = epoch_of(data, seeds, 0)
    assert x.shape == (6, 32, *SHAPE)
    # Labelled ones first, by their rows; all others once or more.
    np.testing.assert_array_equal(y[:, :8].max(-1), 1.0)
    known = {image.tobytes(): label for image, label in zip(*LABELLED, strict=True)}
    for image, row in zip(x[:, :8].reshape(-1, *SHAPE), y[:, :8].reshape(-1, CLASSES), strict=True):
        assert row.argmax() == known[image.tobytes()]
    for part, of_all in ((x[:, :8], LABELLED[0]), (x[:, 8:], UNLABELLED)):
        seen = {image.tobytes() for image in part.reshape(-1, *SHAPE)}
        assert seen == {image.tobytes() for image in of_all}
    expected = keras.ops.softmax(teacher(x[0, 8:]))
    np.testing.assert_allclose(y[0, 8:], expected, rtol=1e-4)


def test_an_epochs_order_and_noise_follow_from_its_number():
    examples = labelled_examples(LABELLED, TASK)

    def made(seed=0):
        seeds = EpochSeed((seed, 1))
        return seeds, examples.labelled_alone(Mixing(8, 1, 1000, rand_augment()), seeds)

    seeds, data = made()
    first, second = (epoch_of(data, seeds, i) for i in (0, 1))
    assert (first[1] != second[1]).any()
    tf.random.set_seed(99)
    again_seeds, again = made()
    for kept, new in zip(
        (*second, *first), (*epoch_of(again, again_seeds, 1), *epoch_of(data, seeds, 0)), strict=True
    ):
        np.testing.assert_array_equal(kept, new)
    other_seeds, other = made(1)
    assert (epoch_of(other, other_seeds, 0)[1] != first[1]).any()


def test_what_the_teacher_said_of_clean_inputs_is_carried():
    examples = labelled_examples(LABELLED, TASK).with_unlabelled(UNLABELLED)
    teacher, seeds = small_network(2), EpochSeed((0, 1))
    mixing = Mixing(8, 1, 1000, lambda image, seed: image + tf.random.stateless_normal(SHAPE, seed))
    data, _ = examples.pseudo_labelled(teacher, mixing, seeds, False, None, None, ["relu1"], True, None)
    x, _ = next(iter(data))
    batch = caching.unpack(x)
    everything = np.concatenate([LABELLED[0], UNLABELLED])
    clean = everything[batch.index.numpy()]
    np.testing.assert_allclose(batch.output, teacher(clean), rtol=1e-4, atol=1e-5)
    assert batch.taps["relu1"].shape[0] == 16
    assert 0.8 < np.std(batch.inputs - clean) < 1.2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_rand_augment_follows_its_seed(channels, dtype):
    image = np.random.default_rng(0).uniform(0, 1 if dtype == "float32" else 255, (8, 8, channels))
    augment = rand_augment((0, 1) if dtype == "float32" else (0, 255))
    image = tf.constant(image.astype(dtype))
    ones, twos, others = (augment(image, seed) for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(ones, twos)
    assert (ones.numpy() != others.numpy()).any()
    assert ones.shape == image.shape and ones.dtype == image.dtype
    assert ones.numpy().max() <= image.dtype.max and (dtype == "uint8" or ones.numpy().max() <= 1)


def test_rand_augment_refuses_what_is_no_image():
    with pytest.raises(ValueError, match="shape \\(height, width, 1 or 3\\)"):
        rand_augment()(tf.zeros((8, 8, 4)), (1, 2))
    with pytest.raises(ValueError, match="`factor` must be between 0 and 1"):
        rand_augment(factor=2)
