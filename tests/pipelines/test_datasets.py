"""Training data from arrays, folders of images and TFRecord files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import CLASSES, blobs
from tfkd._core import untrusted
from tfkd.pipelines import _tf_records
from tfkd.pipelines._datasets import load_data, load_unlabelled
from tfkd.schemes._epoch_data import EpochSeed
from tfkd.tasks import task_of

pytestmark = pytest.mark.slow

X, Y = blobs(20)
PIXELS = np.round(X * 255).astype("uint8")


def save_folder(path, pixels=PIXELS, labels=Y):
    """Images in folders `a`, `b` and so on, one for each class."""
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        place = path / "abcd"[label]
        place.mkdir(parents=True, exist_ok=True)
        ending, encode = ("jpeg", tf.io.encode_jpeg) if number % 5 == 4 else ("png", tf.io.encode_png)
        (place / f"{number:03d}.{ending}").write_bytes(encode(image).numpy())
    return str(path)


def save_records(path, names=("image/encoded", "image/class/label"), labels=Y, pixels=PIXELS, broken=None):
    """Records with these features; the image of one may be cut off."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            content = tf.io.encode_png(image).numpy()
            encoded = tf.train.BytesList(value=[content[:40] if number == broken else content])
            features = {
                names[0]: tf.train.Feature(bytes_list=encoded),
                **{
                    name: tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
                    for name in names[1:]
                },
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    return str(path)


@pytest.fixture
def sources(tmp_path):
    np.savez(tmp_path / "data.npz", x_train=PIXELS[..., 0], y_train=Y)
    records = save_records(tmp_path / "data.tfrecord")
    return {
        "arrays": (X, Y),
        "npz": str(tmp_path / "data.npz"),
        "records": records,
        "folder": save_folder(tmp_path / "images"),
    }


def load(source, teacher, part="train", argument="training_data"):
    return load_data(source, teacher, task_of(teacher), part, argument)


def arrays_of(data):
    return data.sample(data.count, 0)


@pytest.mark.parametrize("kind", ["arrays", "npz", "records", "folder"])
def test_all_kinds_give_the_same_examples(kind, sources, teacher):
    data = load(sources[kind], teacher)
    x, y = arrays_of(data)
    assert (x.dtype, x.shape, data.count, len(data.examples())) == ("float32", X.shape, 20, 20)
    expected = X, Y
    if kind == "folder":
        # By class, and in each by name.
        order = np.lexsort((np.arange(20), Y))
        expected, lossy = (X[order], Y[order]), order % 5 == 4
        assert np.abs(x[lossy] - expected[0][lossy]).max() < 0.1
        x = np.where(lossy[:, None, None, None], expected[0], x)
        assert data.class_names == ["a", "b", "c", "d"]
    np.testing.assert_allclose(x, expected[0], atol=0.51 / 255)
    np.testing.assert_array_equal(y, expected[1])


def test_folders_are_in_the_order_of_the_labels(sources, teacher):
    task, source = task_of(teacher), sources["folder"]
    data = load_data(source, teacher, task, "train", "training_data", ["d", "b", "c", "a"])
    assert data.class_names == ["d", "b", "c", "a"]
    np.testing.assert_array_equal(arrays_of(data)[1], np.sort(np.array([3, 1, 2, 0])[Y]))
    other = load_data(source, teacher, task, "train", "training_data", ["up", "down", "left", "right"])
    assert other.class_names == ["a", "b", "c", "d"]


def test_images_of_another_size_are_resized(tmp_path, teacher):
    path = save_folder(tmp_path / "large", np.full((8, 30, 20, 3), 51, "uint8"), np.arange(8) % CLASSES)
    x, _ = arrays_of(load(path, teacher))
    np.testing.assert_allclose(x, np.full((8, 12, 12, 1), 0.2), atol=1 / 255)


@pytest.mark.parametrize("kind", ["arrays", "records", "folder"])
def test_the_order_follows_from_the_seed_and_the_epoch(kind, sources, teacher):
    data = load(sources[kind], teacher)

    def seen(*epochs, seed=1):
        seeds = EpochSeed((seed, 0))
        batches, found = data.shuffled_batches(8, seeds), []
        assert len(batches) == 3
        for epoch in epochs:
            seeds.on_epoch_begin(epoch)
            found.append(np.concatenate([x.sum((1, 2, 3)) for x, _ in batches.as_numpy_iterator()]))
        return found

    first, second = seen(0, 1)
    np.testing.assert_array_equal(seen(1)[0], second)
    np.testing.assert_array_equal(np.sort(first), np.sort(second))
    assert (first != second).any() and (seen(0, seed=2)[0] != first).any()


@pytest.mark.parametrize("kind", ["arrays", "records", "folder"])
def test_what_is_held_out_is_a_seeded_share(kind, sources, teacher):
    data = load(sources[kind], teacher)
    learned, held_out = data.split(0.25, seed=3)
    assert (learned.count, held_out.count) == (15, 5)
    of_both = np.concatenate([arrays_of(part)[0].sum((1, 2, 3)) for part in (learned, held_out)])
    np.testing.assert_allclose(np.sort(of_both), np.sort(arrays_of(data)[0].sum((1, 2, 3))))
    again = arrays_of(data.split(0.25, seed=3)[1])[0]
    np.testing.assert_array_equal(again, arrays_of(held_out)[0])
    assert (arrays_of(data.split(0.25, seed=4)[1])[0] != again).any()
    for share, message in ((0, "above 0 and below 1"), (0.99, "leaves none for training")):
        with pytest.raises(ValueError, match=f"`validation_split`.*{message}"):
            data.split(share, seed=3)


def test_a_pattern_names_several_files(tmp_path, teacher):
    for part in range(3):
        save_records(tmp_path / f"part-{part}.tfrecord", ("image", "label"), Y[part::3], PIXELS[part::3])
    data = load(str(tmp_path / "part-*.tfrecord"), teacher)
    # In turns, since each may be of one class.
    np.testing.assert_array_equal(arrays_of(data)[1], Y)


def test_a_sample_is_seeded(teacher):
    data = load((X, Y), teacher)
    x, y = data.sample(6, 0)
    assert len(x) == len(y) == 6
    np.testing.assert_array_equal(data.sample(6, 0)[0], x)


@pytest.mark.parametrize("kind", ["arrays", "npz", "records", "folder"])
def test_inputs_without_labels(kind, sources, tmp_path, teacher):
    source = X if kind == "arrays" else sources[kind]
    if kind == "records":
        source = save_records(tmp_path / "bare.tfrecord", ("image",))
    data = load_unlabelled(source, teacher, "unlabelled_data")
    x = np.stack(list(data.examples().as_numpy_iterator()))
    assert x.shape == X.shape and x.dtype == "float32" and len(data.batches(8)) == 3


def test_folders_that_are_refused(tmp_path, teacher):
    one = save_folder(tmp_path / "one", labels=np.zeros(20, int))
    with pytest.raises(ValueError, match=r"`training_data`: .*at least two classes. Received: a\."):
        load(one, teacher)
    with pytest.raises(ValueError, match=r"has 3 folders, but the network has 4 classes.*a, b, c"):
        load(save_folder(tmp_path / "three", labels=Y % 3), teacher)
    (tmp_path / "three/e").mkdir()
    with pytest.raises(ValueError, match=r"has no image \(.*\) in e\."):
        load(str(tmp_path / "three"), teacher)
    (tmp_path / "three/e/text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"'.*text.png' is not a PNG, JPEG, GIF or BMP image"):
        load(str(tmp_path / "three"), teacher)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="`unlabelled_data`: there is no image"):
        load_unlabelled(str(tmp_path / "empty"), teacher, "unlabelled_data")


def test_records_that_are_refused(tmp_path, teacher, monkeypatch):
    lacking = save_records(tmp_path / "lacking.tfrecord", ("picture", "kind"))
    with pytest.raises(
        ValueError, match=r"feature 'image' or 'image/encoded'.*Received: 'kind', 'picture'"
    ):
        load(lacking, teacher)
    unlabelled = save_records(tmp_path / "unlabelled.tfrecord", ("image",))
    with pytest.raises(ValueError, match="'label' or 'image/class/label', a class index"):
        load(unlabelled, teacher)
    other = save_records(tmp_path / "other.tfrecord", labels=Y + 1)
    with pytest.raises(ValueError, match=r"labels of `training_data`: '.*other.tfrecord'"):
        load(other, teacher)
    with pytest.raises(FileNotFoundError, match=r"`training_data`: the file '.*none-\*' does not exist"):
        load(str(tmp_path / "none-*"), teacher)
    (tmp_path / "empty.tfrecord").write_bytes(b"")
    with pytest.raises(ValueError, match="contains no records"):
        load(str(tmp_path / "empty.tfrecord"), teacher)
    (tmp_path / "text.tfrecord").write_text("no records, but text that is long enough")
    with pytest.raises(untrusted.RefusedFile, match="is not a TFRecord file"):
        load(str(tmp_path / "text.tfrecord"), teacher)
    good = (tmp_path / "other.tfrecord").read_bytes()
    (tmp_path / "cut.tfrecord").write_bytes(good[:-3])
    with pytest.raises(untrusted.RefusedFile, match="or is damaged"):
        load(str(tmp_path / "cut.tfrecord"), teacher)
    flipped = bytearray(good)
    flipped[-20] ^= 255
    (tmp_path / "flipped.tfrecord").write_bytes(flipped)
    with pytest.raises(untrusted.RefusedFile, match="bad record"):
        load(str(tmp_path / "flipped.tfrecord"), teacher)
    with tf.io.TFRecordWriter(str(tmp_path / "foreign.tfrecord")) as writer:
        writer.write(b"\xff\xff\xff")
    with pytest.raises(untrusted.RefusedFile, match=r"contains no tf\.train\.Example"):
        load(str(tmp_path / "foreign.tfrecord"), teacher)
    monkeypatch.setattr(_tf_records, "_LARGEST_RECORD", 100)
    with pytest.raises(untrusted.RefusedFile, match="record 0 would have"):
        load(str(tmp_path / "other.tfrecord"), teacher)


def test_networks_that_images_do_not_go_with(tmp_path, teacher, sources):
    vectors = keras.Sequential([keras.Input((5,)), keras.layers.Dense(CLASSES)])
    with pytest.raises(ValueError, match=r"height, width, 1 or 3.*takes \(5,\)"):
        load_data(sources["folder"], vectors, task_of(teacher), "train", "training_data")
    number = keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="has one class per image, but the network has the task"):
        load(sources["folder"], number)
