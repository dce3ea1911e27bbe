"""Cached outputs in shards: whole or missing, one reading, several workers, and little memory."""

import json
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests.distilling.cached_examples import Counting, X, Y, batches, check_outputs, fresh_teacher
from tfkd.distilling import _cache_form, unpack
from tfkd.distilling._shards import ShardFolder


def stopping(after):
    """The examples one by one, until something breaks."""

    def examples():
        for i, pair in enumerate(zip(X, Y, strict=True)):
            if i == after:
                raise RuntimeError("power cut")
            yield pair

    spec = tuple(tf.TensorSpec(each.shape[1:], each.dtype) for each in (X, Y))
    return tf.data.Dataset.from_generator(examples, output_signature=spec).batch(5)


def test_a_finished_cache_is_used_again_and_an_interrupted_one_goes_on(tmp_path, monkeypatch):
    """At the first shard that is missing, also where batches and shards end at other examples."""
    teacher = fresh_teacher()
    monkeypatch.setattr(_cache_form, "_SHARD_EXAMPLES", 8)
    with pytest.raises(tf.errors.OpError, match="power cut"):
        tfkd.cache_teacher(stopping(27), teacher, path=tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == ["00000.npz", "00001.npz", "00002.npz"]
    assert json.loads((tmp_path / "index.json").read_text())["examples"] is None
    count = Counting(teacher)
    tfkd.cache_teacher(stopping(None), teacher, path=tmp_path)
    # From the batch on that example 24 is in; the first one is asked once more, for the shapes of outputs.
    assert count.rows == 5 + 20
    count.rows = 0
    cached = tfkd.cache_teacher(batches(7), teacher, path=tmp_path)
    assert count.rows == 7
    check_outputs(cached, teacher)


def test_another_process_may_write_the_same_shards(tmp_path, monkeypatch):
    """One that appears while it is computed here is neither mixed with the next nor left out."""
    teacher = fresh_teacher()
    monkeypatch.setattr(_cache_form, "_SHARD_EXAMPLES", 8)
    tfkd.cache_teacher(batches(4), teacher, path=tmp_path / "theirs")
    here = tmp_path / "here"

    def examples():
        for i, pair in enumerate(zip(X, Y, strict=True)):
            if i == 6:
                shutil.copy(tmp_path / "theirs" / "00000.npz", here)
            yield pair

    spec = tuple(tf.TensorSpec(each.shape[1:], each.dtype) for each in (X, Y))
    data = tf.data.Dataset.from_generator(examples, output_signature=spec).batch(2)
    tfkd.cache_teacher(data, teacher, path=here)
    with np.load(here / "00001.npz") as shard:
        assert len(shard["checks"]) == 8
    check_outputs(tfkd.cache_teacher(batches(4), teacher, path=here), teacher)


def test_the_data_set_is_read_once(tmp_path):
    read = []

    def examples():
        for i in range(40):
            read.append(i)
            yield X[i]

    # Else batches are read ahead of their use.
    options = tf.data.Options()
    options.autotune.enabled = False
    data = tf.data.Dataset.from_generator(examples, output_signature=tf.TensorSpec(X.shape[1:])).batch(8)
    data = data.with_options(options)
    teacher = fresh_teacher()
    tfkd.cache_teacher(data, teacher, path=tmp_path)
    assert read == list(range(40))
    read.clear()
    tfkd.cache_teacher(data, teacher, path=tmp_path)
    assert read == list(range(8))


@pytest.mark.parametrize("batched", [True, False])
def test_workers_ask_and_join_their_own_shards(batched, tmp_path, monkeypatch):
    """What two wrote is there for one, and for three."""
    teacher = fresh_teacher()
    monkeypatch.setattr(_cache_form, "_SHARD_EXAMPLES", 8)
    examples = batches(5) if batched else batches(5).unbatch()
    places = {0: [*range(8), *range(16, 24), *range(32, 40)], 1: [*range(8, 16), *range(24, 32)]}
    for worker in (0, 1):
        cached = tfkd.cache_teacher(examples, teacher, path=tmp_path, batched=batched, shard=(worker, 2))
        policy = cached.options().experimental_distribute.auto_shard_policy
        assert policy == tf.data.experimental.AutoShardPolicy.OFF
        check_outputs(cached if batched else cached.batch(3), teacher, places[worker])
    count = Counting(teacher)
    cached = tfkd.cache_teacher(batches(8), teacher, path=tmp_path)
    policy = cached.options().experimental_distribute.auto_shard_policy
    assert policy == tf.data.experimental.AutoShardPolicy.DATA
    assert count.rows == 8
    check_outputs(cached, teacher)
    count.rows = 0
    cached = tfkd.cache_teacher(batches(8), teacher, path=tmp_path, shard=(1, 3))
    assert count.rows == 8
    check_outputs(cached, teacher, [*range(8, 16), *range(32, 40)])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("00000.npz", b"not a zip", "00000.npz' is damaged .*Remove that file"),
        ("00000.npz", None, "array 'checks' must be"),
        ("index.json", b"{", "their index.json is damaged"),
        ("index.json", b"[1]", "their index.json is damaged"),
        ("progress.json", b"{}", "format of an older version of tfkd"),
    ],
)
def test_damaged_files_are_refused(file, content, message, tmp_path):
    teacher = fresh_teacher()
    tfkd.cache_teacher(batches(), teacher, path=tmp_path)
    if content is None:
        np.savez(tmp_path / file, checks=np.zeros((40, 2), "uint32"))
    else:
        (tmp_path / file).write_bytes(content)
    if file == "progress.json":
        (tmp_path / "index.json").unlink()
    with pytest.raises(ValueError, match=message):
        tfkd.cache_teacher(batches(), teacher, path=tmp_path)
    if file.endswith(".npz"):
        # The remedy.
        (tmp_path / file).unlink()
        check_outputs(tfkd.cache_teacher(batches(), teacher, path=tmp_path), teacher)


def test_pickles_are_not_read(tmp_path):
    teacher = fresh_teacher()
    tfkd.cache_teacher(batches(), teacher, path=tmp_path)
    np.savez(tmp_path / "00000.npz", checks=np.array([print], object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        tfkd.cache_teacher(batches(), teacher, path=tmp_path)


def memory():
    """Bytes that this process has in memory."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux to see its memory")
def test_memory_is_flat_over_200_000_examples(tmp_path, monkeypatch):
    """Of 102 MB of outputs a few are in memory, while they are written and while they are read."""
    seen = []

    def watched(method):
        def watching(*arguments):
            seen.append(memory())
            return method(*arguments)

        return watching

    n, teacher = 200_000, keras.Sequential([keras.Input((4,)), keras.layers.Dense(128)])
    numbers = tf.data.Dataset.range(n).batch(4000)
    data = numbers.map(lambda i: tf.cast(i[:, None], "float32") / (n * tf.range(1.0, 5.0)))
    for name in ("write", "_read_file"):
        monkeypatch.setattr(ShardFolder, name, watched(getattr(ShardFolder, name)))
    cached = tfkd.cache_teacher(data, teacher, path=tmp_path)
    last = cached.reduce(tf.zeros((1, 128)), lambda _, x: unpack(x).output[-1:])
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > n * 128 * 4
    assert len(seen) == 25 + 25
    # Behind the first shards, since TensorFlow sets itself up.
    assert max(seen[4:25]) - seen[4] < 40e6
    assert max(seen[29:]) - seen[29] < 40e6
    inputs = (n - 1) / (n * np.arange(1.0, 5.0, dtype="float32"))
    np.testing.assert_allclose(last, teacher(inputs[None]), rtol=1e-4, atol=1e-6)
