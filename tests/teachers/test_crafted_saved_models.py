"""SavedModels and TFLite files that do more than compute, or are larger than they look."""

import pathlib
import shutil
import warnings

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import tfkd
from tfkd._core.untrusted import LONGEST_MESSAGE
from tfkd.teachers import TeacherWarning

SHAPE = (4, 4, 3)
IMAGES = np.random.default_rng(0).uniform(size=(5, *SHAPE)).astype("float32")


def saved(path, effect=lambda x: x, loaded=None):
    """A SavedModel whose signature does something before it answers."""
    module = tf.Module()
    module.w = tf.Variable(np.random.default_rng(1).normal(size=(48, 3)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE))])
    def call(x):
        return {"logits": tf.reshape(effect(x), (-1, 48)) @ module.w}

    module.call = call
    module.more = loaded
    tf.saved_model.save(module, str(path), {"serving_default": call})
    return path


def load(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TeacherWarning)
        return tfkd.load_teacher(path, from_logits=True, **options)


def refused(path):
    with pytest.raises(ValueError) as caught:
        load(path)
    message = str(caught.value)
    assert path.name in message and len(message) <= LONGEST_MESSAGE and "\n" not in message, message
    return message


def after(operation, x):
    with tf.control_dependencies([operation]):
        return tf.identity(x)


def text_of(x):
    return tf.zeros_like(x) + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), "float32")


EFFECTS = {
    "WriteFile": lambda x: after(tf.io.write_file("written", "text"), x),
    "ReadFile": text_of,
    "MatchingFiles": lambda x: x + tf.cast(tf.size(tf.io.matching_files("/etc/*")), "float32"),
    "PrintV2": lambda x: after(tf.print("seen", output_stream="file://written"), x),
    "EagerPyFunc": lambda x: tf.ensure_shape(tf.py_function(lambda v: v, [x], "float32"), x.shape),
    "PyFunc": lambda x: tf.ensure_shape(tf.numpy_function(lambda v: v, [x], "float32"), x.shape),
    "SaveV2": lambda x: after(
        tf.raw_ops.SaveV2(prefix="written", tensor_names=["a"], shape_and_slices=[""], tensors=[x]), x
    ),
    "MergeV2Checkpoints": lambda x: after(
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=["a"], destination_prefix="written"), x
    ),
    "ImmutableConst": lambda x: (
        x + tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=(1,), memory_region_name="/etc/hostname")
    ),
    "in a branch": lambda x: tf.cond(
        tf.reduce_sum(x) > 1e9, lambda: after(tf.io.write_file("written", "text"), x), lambda: x
    ),
    "in a loop": lambda x: tf.while_loop(
        lambda i, v: i < 1, lambda i, v: (i + 1, after(tf.io.write_file("written", "t"), v)), (0, x)
    )[1],
}


@pytest.mark.parametrize("name", EFFECTS)
def test_operators_that_do_more_than_compute(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    message = refused(saved(tmp_path / "crafted", EFFECTS[name]))
    assert name in message or "WriteFile" in message
    assert "trust_files=True (--trust_files)" in message
    assert not list(tmp_path.glob("written*"))


def test_functions_that_nobody_calls_count(tmp_path):
    @tf.function(input_signature=[])
    def restored():
        tf.io.write_file("written", "text")

    assert "WriteFile" in refused(saved(tmp_path / "crafted", loaded=restored))


def test_trusted_files_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "mine", EFFECTS["WriteFile"])
    assert load(path, trust_files=True)(IMAGES).shape == (5, 3)
    assert (tmp_path / "written").read_text() == "text"


def test_a_saver_that_is_called_elsewhere_is_refused(tmp_path):
    """The signature runs what saves the variables."""
    path = saved(tmp_path / "crafted")
    file = path / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    graph = model.meta_graphs[0]
    (saver,) = (f for f in graph.graph_def.library.function if "traced_save" in f.signature.name)
    call = next(f for f in graph.graph_def.library.function if "_call_" in f.signature.name)
    node = call.node_def.add(name="stolen", op="StatefulPartitionedCall")
    node.attr["f"].func.name = saver.signature.name
    file.write_bytes(model.SerializeToString())
    assert "SaveV2" in refused(path)


def test_what_only_computes_is_loaded(tmp_path):
    def effect(x):
        x = tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2.0, lambda: x)
        x = tf.while_loop(lambda i, v: i < 2, lambda i, v: (i + 1, v + tf.sin(v)), (0, x))[1]
        return tf.image.resize(tf.nn.relu(x), SHAPE[:2])

    path = saved(tmp_path / "plain", effect)
    expected = tf.saved_model.load(str(path)).signatures["serving_default"](tf.constant(IMAGES))["logits"]
    np.testing.assert_allclose(load(path)(IMAGES), expected, rtol=1e-4, atol=1e-5)


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGES = {
    "graph cut": lambda path: cut(path / "saved_model.pb"),
    "graph empty": lambda path: (path / "saved_model.pb").write_bytes(b""),
    "no variables": lambda path: shutil.rmtree(path / "variables"),
    "index cut": lambda path: cut(path / "variables/variables.index"),
    "variables cut": lambda path: cut(path / "variables/variables.data-00000-of-00001"),
    "variables empty": lambda path: (path / "variables/variables.data-00000-of-00001").write_bytes(b""),
    "index of text": lambda path: (path / "variables/variables.index").write_text("text"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_saved_models(tmp_path, damage):
    path = saved(tmp_path / "damaged")
    damage(path)
    assert "cannot be used as a SavedModel" in refused(path)


def test_large_saved_models(tmp_path, monkeypatch):
    path = saved(tmp_path / "large")
    with open(path / "variables/sparse", "wb") as file:
        file.truncate(2**31)
    assert "is too large: it holds 2 GiB" in refused(path)


def test_large_tflite_files(tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_litert")

    @tf.function(input_signature=[tf.TensorSpec((1, *SHAPE))])
    def enlarged(x):
        return tf.reduce_sum(tf.tile(tf.reshape(x, (1, 48)), (1, 10**7)), -1, keepdims=True)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([enlarged.get_concrete_function()])
    path = pathlib.Path(tmp_path / "large.tflite")
    path.write_bytes(converter.convert())
    assert path.stat().st_size < 10_000 and "is too large: its tensors have" in refused(path)
