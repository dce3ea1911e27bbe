"""Files that somebody made to do more than compute: refused before anything of them runs."""

import json
import os
import stat
import sys
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tfkd._core.untrusted import LONGEST_MESSAGE
from tfkd.pipelines import load_examples, recipe_named
from tfkd.students import student_named
from tfkd.teachers import TeacherWarning

SHAPE = (4, 4, 3)


def network():
    inputs = keras.Input(SHAPE, name="input")
    x = layers.Conv2D(2, 3, name="conv")(inputs)
    return keras.Model(inputs, layers.Dense(3, name="dense")(layers.Flatten(name="flat")(x)), name="net")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "net.keras"
    network().save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_keras(path, saved, edit=lambda config: None, **entries):
    """The saved network with another configuration, and other entries by their names."""
    config = json.loads(saved["config.json"])
    config = edit(config) or config
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**saved, "config.json": json.dumps(config), **entries}.items():
            archive.writestr(name, content)
    return path


def write_h5(path, config):
    """An `.h5` file as Keras 2 writes it, with a configuration of any kind and no weights."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        file.attrs["keras_version"] = "2.11.0"
        file.create_group("model_weights").attrs["layer_names"] = []
    return path


def everything_in(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def refused(path, *, folder=None, open_file=tfkd.load_teacher):
    """What is said of a file that is refused; it has changed nothing."""
    folder = folder or path.parent
    before, modules = everything_in(folder), set(sys.modules)
    with pytest.raises(ValueError) as caught:
        open_file(path)
    message = str(caught.value)
    assert everything_in(folder) == before
    assert "evil" not in set(sys.modules) - modules
    assert path.name in message and len(message) <= LONGEST_MESSAGE and "\n" not in message, message
    return message


def layer(config, name):
    return next(each for each in config["config"]["layers"] if each["config"]["name"] == name)


# Functions of TensorFlow that tf_keras would call on what the file gives, by the exported name.
def calling(function, *first, **options):
    """A functional model of Keras 2 with a layer that calls a function."""
    lambda_ = {
        "class_name": "TFOpLambda",
        "name": "tf.op",
        "config": {"name": "tf.op", "trainable": True, "dtype": "float32", "function": function},
        "inbound_nodes": [[*(first or ("input", 0, 0)), options]],
    }
    inputs = {
        "class_name": "InputLayer",
        "name": "input",
        "config": {"batch_input_shape": [None, *SHAPE], "dtype": "float32", "name": "input"},
        "inbound_nodes": [],
    }
    config = {
        "name": "model",
        "layers": [inputs, lambda_],
        "input_layers": [["input", 0, 0]],
        "output_layers": [["tf.op", 0, 0]],
    }
    return {"class_name": "Functional", "config": config}


@pytest.mark.parametrize(
    ("function", "options"),
    [
        ("io.gfile.rmtree", {}),
        ("io.gfile.remove", {}),
        ("io.gfile.makedirs", {}),
        ("io.gfile.copy", {"dst": "stolen"}),
        ("io.gfile.rename", {"dst": "stolen"}),
        ("io.write_file", {"contents": "text"}),
        ("io.read_file", {}),
        ("raw_ops.WriteFile", {"contents": "text"}),
        ("raw_ops.PyFunc", {}),
        ("py_function", {}),
        ("numpy_function", {}),
        ("load_op_library", {}),
        ("load_library", {}),
        ("saved_model.load", {}),
        ("keras.utils.get_file", {}),
        ("compat.v1.gfile.DeleteRecursively", {}),
        ("summary.create_file_writer", {}),
        ("print", {"output_stream": "file://printed"}),
        ("data.TFRecordDataset", {}),
        ("math.add.__globals__", {}),
        ("", {}),
        (None, {}),
        (["io.write_file"], {}),
    ],
)
def test_functions_that_are_not_on_the_list_do_not_run(tmp_path, monkeypatch, function, options):
    monkeypatch.chdir(tmp_path)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").write_text("kept")
    path = tmp_path / "crafted.h5"
    write_h5(path, calling(function, "_CONSTANT_VALUE", -1, str(victim), **options))
    assert "tf.op" in refused(path) and (victim / "kept").read_text() == "kept"
    # The same spelt in another way, and called on the input.
    text = json.dumps(calling(function, **options)).replace("TFOpLambda", "\\u0054FOpLambda")
    assert "'tf.op' (TFOpLambda) runs the TensorFlow function" in refused(write_h5(path, text))


def test_functions_on_the_list_are_not_run_on_constants(tmp_path):
    path = write_h5(tmp_path / "crafted.h5", calling("math.add", "_CONSTANT_VALUE", -1, 1.0, y=2.0))
    assert "'tf.op' (TFOpLambda) is called on constants only" in refused(path)


def entry(kind, module="keras.layers", registered=None, name="crafted", **config):
    return {
        "module": module,
        "class_name": kind,
        "config": {"name": name, **config},
        "registered_name": registered,
    }


A_LAMBDA = {"class_name": "__lambda__", "config": {"value": ["gASVAA==", None, None]}}
OF_OS = {
    "module": "os",
    "class_name": "system",
    "config": {"command": "touch run"},
    "registered_name": None,
}
FUNCTION_OF_OS = {
    "module": "os",
    "class_name": "function",
    "config": "system",
    "registered_name": "system",
}
STRANGE_LAYERS = {
    "Lambda": entry("Lambda", function=A_LAMBDA),
    "TFSMLayer": entry("TFSMLayer", filepath="."),
    "TorchModuleWrapper": entry("TorchModuleWrapper", module="gASVAA=="),
    "JaxLayer": entry("JaxLayer", call_fn=A_LAMBDA),
    "StringLookup": entry("StringLookup", vocabulary="/etc/passwd"),
    "IntegerLookup": entry("IntegerLookup", vocabulary="/etc/passwd"),
    "TextVectorization": entry("TextVectorization", vocabulary="/etc/passwd"),
    "a module of its own": entry("Layer", module="evil"),
    "a layer of another module": entry("Dense", module="evil", units=3),
    "a module of Keras that is none of layers": entry("get_file", module="keras.utils", origin="file:///x"),
    "a loader": entry("load_model", module="keras.saving", filepath="other.keras"),
    "os.system": OF_OS,
    "subprocess": entry("Popen", module="subprocess", args=["touch", "run"]),
    "a registered name that nobody knows": entry("Dense", registered="evil>Dense", units=3),
    "a method": entry("ClassMethod", module="tf_keras.src.layers.core.tf_op_layer", cls_ref="os"),
    "a property": entry("InstanceProperty", attr_name="__globals__"),
    "an operator by its definition": entry("TensorFlowOpLayer", node_def="{}", constants={}),
    "an operation that runs functions": entry("Map", module="keras.src.ops.core", f=A_LAMBDA),
    "an operation that makes arrays": entry("Full", module="keras.src.ops.numpy", shape=[10**9]),
    "no name": {**entry("Dense"), "class_name": ["Dense"]},
}
IN_A_LAYER = {
    "an activation": {"activation": A_LAMBDA},
    "an activation of os": {"activation": FUNCTION_OF_OS},
    "an activation by a strange word": {"activation": "deserialize"},
    "an initializer": {"kernel_initializer": OF_OS},
    "a regularizer": {"kernel_regularizer": OF_OS},
    "a constraint": {"bias_constraint": OF_OS},
    "a policy": {"dtype": OF_OS},
    "a list in a list": {"units": [[{"x": OF_OS}]]},
    "a type": {"units": {"class_name": "__typespec__", "spec_name": "x", "module": "evil", "config": []}},
    "an array of huge words": {
        "units": {"class_name": "__numpy__", "config": {"value": "", "dtype": "U9"}}
    },
}


def with_layer(strange):
    def edit(config):
        found = layer(config, "dense")
        calls = found["inbound_nodes"]
        found.clear()
        found.update(json.loads(json.dumps(strange)))
        found["name"], found["inbound_nodes"] = "crafted", calls

    return edit


def with_options(options):
    return lambda config: layer(config, "dense")["config"].update(options)


@pytest.mark.parametrize("strange", STRANGE_LAYERS.values(), ids=STRANGE_LAYERS)
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
def test_classes_that_are_not_on_the_list_are_refused(tmp_path, saved, monkeypatch, strange, wrapped):
    (tmp_path / "evil.py").write_text("open('run', 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    if wrapped:
        strange = entry("TimeDistributed", layer=strange)
    path = write_keras(tmp_path / "crafted.keras", saved, with_layer(strange))
    assert "is refused: " in refused(path)
    refused(path, open_file=lambda path: student_named(path, network()))
    # As Keras 2 would have written it, for tf_keras to read.
    old = json.dumps({"keras_version": "2.13.1"})
    path = write_keras(path, saved, with_layer(strange), **{"metadata.json": old})
    assert "is refused: " in refused(path)
    path = write_h5(tmp_path / "crafted.h5", {"class_name": "Sequential", "config": [strange]})
    assert "is refused: " in refused(path)


@pytest.mark.parametrize("options", IN_A_LAYER.values(), ids=IN_A_LAYER)
def test_parts_of_layers_that_are_not_on_the_list_are_refused(tmp_path, saved, options):
    path = write_keras(tmp_path / "crafted.keras", saved, with_options(options))
    assert "'dense' (Dense)" in refused(path)


@pytest.mark.parametrize(
    "place",
    [
        lambda config: config.update(compile_config={"optimizer": OF_OS}),
        lambda config: config.update(build_config={"input_shape": OF_OS}),
        lambda config: layer(config, "dense").update(build_config={"input_shape": OF_OS}),
        lambda config: layer(config, "dense")["inbound_nodes"][0]["kwargs"].update(mask=OF_OS),
        lambda config: layer(config, "dense")["inbound_nodes"][0]["args"].append(A_LAMBDA),
        lambda config: layer(config, "dense").update(
            inbound_nodes=[
                {"args": [{"class_name": "__numpy__", "config": {"value": [1], "dtype": "int8"}}]}
            ]
        ),
        with_layer(entry("RNN", cell=entry("Lambda", function=A_LAMBDA))),
        with_layer(entry("Bidirectional", layer=entry("GRU", units=2, activation=A_LAMBDA))),
        with_layer(
            entry("StackedRNNCells", cells=[entry("GRUCell", units=2), entry("cell", module="evil")])
        ),
        with_layer(entry("Sequential", "keras", layers=[entry("Sequential", "keras", layers=[OF_OS])])),
        with_layer(entry("Functional", "keras", layers=[entry("Lambda", function=A_LAMBDA)])),
        with_layer(entry("Bridge", "x", "tfkd>Bridge", inner=calling("io.gfile.rmtree"), m_by_n={})),
        with_layer(entry("Bridge", "x", "tfkd>Bridge", inner=entry("Layer", "evil"), m_by_n={})),
        with_layer(
            entry("BridgedModel", "x", "tfkd>BridgedModel", bridge={}, architecture=json.dumps(OF_OS))
        ),
        with_layer(entry("BridgedModel", "x", "tfkd>BridgedModel", bridge={}, architecture="[" * 10**5)),
        with_layer(entry("Bridge", "evil", "tfkd>Bridge", inner=entry("Bridge", "evil", "tfkd>Bridge"))),
    ],
)
def test_nothing_hides_elsewhere(tmp_path, saved, place):
    assert "is refused: " in refused(write_keras(tmp_path / "crafted.keras", saved, place))


def test_deep_configurations(tmp_path, saved):
    deep = entry("Flatten")
    for _ in range(150):
        deep = entry("TimeDistributed", layer=deep)
    path = write_keras(tmp_path / "deep.keras", saved, with_layer(deep))
    assert "nested more than" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", '{"class_name": "Model", "config": ' + "[" * 10**6)
        archive.writestr("model.weights.h5", saved["model.weights.h5"])
    assert "cannot be read" in refused(path)
    assert "cannot be read" in refused(write_h5(tmp_path / "deep.h5", "[" * 20_000))


@keras.saving.register_keras_serializable("tests_of_files")
class Doubled(layers.Layer):
    def call(self, x):
        return 2 * x


@keras.saving.register_keras_serializable("tests_of_files")
def doubled(x):
    return 2 * x


@pytest.mark.parametrize("name", ["own.keras", "own.h5"])
def test_what_the_process_has_registered_is_loaded(tmp_path, name):
    inputs = keras.Input(SHAPE)
    x = layers.Dense(3, activation=doubled)(layers.Flatten()(Doubled()(inputs)))
    model = keras.Model(inputs, x)
    model.save(tmp_path / name)
    images = np.random.default_rng(0).uniform(size=(3, *SHAPE)).astype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TeacherWarning)
        teacher = tfkd.load_teacher(tmp_path / name)
    np.testing.assert_allclose(teacher(images), model(images), rtol=1e-5)


def test_a_registered_name_does_not_open_the_way_to_another_class(tmp_path, saved):
    for strange in (
        entry("TFSMLayer", registered="tests_of_files>Doubled", filepath="."),
        entry("system", "os", registered="tests_of_files>Doubled"),
    ):
        assert "is refused: " in refused(write_keras(tmp_path / "c.keras", saved, with_layer(strange)))


# Archives.
@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside", "C:/outside", "..\\x"])
def test_entries_that_lead_elsewhere(tmp_path, saved, name):
    path = write_keras(tmp_path / "crafted.keras", saved, **{name: "text", "more": "entries"})
    assert "points outside the archive" in refused(path)


def test_links_and_entries_of_the_same_name(tmp_path, saved):
    path = write_keras(tmp_path / "crafted.keras", saved)
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "points outside the archive" in refused(path)
    write_keras(path, saved)
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("config.json", "{}")
    assert "two of its entries have the same name" in refused(path)


def test_two_files_in_one(tmp_path, saved):
    archive = write_keras(tmp_path / "net.keras", saved).read_bytes()
    old = write_h5(tmp_path / "old.h5", calling("io.gfile.rmtree")).read_bytes()
    for name in ("both.keras", "both.h5"):
        (tmp_path / name).write_bytes(old + archive)
        refused(tmp_path / name)
        (tmp_path / name).write_bytes(archive.ljust(2**14, b"\0")[: 2**14] + old)
        refused(tmp_path / name)


# Sizes: of what is not there.
def test_large_entries_are_not_unpacked(tmp_path, saved):
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("config.json", "metadata.json"):
            archive.writestr(name, saved[name])
        with archive.open("model.weights.h5", "w") as file:
            for _ in range(1100):
                file.write(bytes(2**20))
    message = refused(path)
    assert "is too large" in message and "TFKD_SIZE_LIMIT=3" in message


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_large_arrays_are_not_read(tmp_path, saved, kind):
    target = tmp_path / "array.h5"
    with h5py.File(target, "w") as file:
        file.create_dataset("a/b", (10**6, 10**6), "float32", chunks=(1000, 1000), compression="gzip")
        file.attrs["model_config"] = saved["config.json"]
    if kind == "keras":
        target = write_keras(tmp_path / "x.keras", saved, **{"model.weights.h5": target.read_bytes()})
    assert "is too large" in refused(target)


def lengthened(name, **options):
    def edit(config):
        layer(config, name)["config"].update(options)
        for each in config["config"]["layers"]:
            each.pop("build_config", None)

    return edit


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lengthened("dense", units=10**9), "is too large"),
        (lengthened("dense", units=10**18), "is too large"),
        (lengthened("dense", units=10**6), "is damaged or not genuine"),
        (lengthened("conv", filters=10**9), "is too large"),
        (lengthened("dense", units=-1), "cannot be loaded as a Keras model"),
        (lengthened("dense", units="many"), "cannot be loaded as a Keras model"),
    ],
)
def test_layers_larger_than_the_file_are_not_made(tmp_path, saved, edit, said):
    assert said in refused(write_keras(tmp_path / "large.keras", saved, edit))


def test_layers_of_old_files_larger_than_the_file_are_not_made(tmp_path):
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential(
        [tf_keras.layers.Flatten(input_shape=SHAPE), tf_keras.layers.Dense(3, name="dense")]
    )
    model.save(tmp_path / "large.keras")
    with zipfile.ZipFile(tmp_path / "large.keras") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for units in (10**9, 10**6):
        path = write_keras(tmp_path / "large.keras", content, lengthened("dense", units=units))
        assert "GiB" in refused(path)


def test_the_limit_is_raised_as_the_message_says(tmp_path, saved, monkeypatch):
    path = write_keras(tmp_path / "net.keras", saved)
    monkeypatch.setenv("TFKD_SIZE_LIMIT", "1e-6")
    assert "TFKD_SIZE_LIMIT=2," in refused(path)
    monkeypatch.setenv("TFKD_SIZE_LIMIT", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TeacherWarning)
        assert tfkd.load_teacher(path).name == "net"
    monkeypatch.setenv("TFKD_SIZE_LIMIT", "much")
    with pytest.raises(ValueError, match="TFKD_SIZE_LIMIT must be a number of GiB"):
        tfkd.load_teacher(path)


@pytest.mark.parametrize(
    "layer",
    [
        entry("UpSampling2D", size=10**5),
        entry("ZeroPadding2D", padding=10**5),
        entry("RepeatVector", n=10**9),
        entry("Tile", module="keras.src.ops.numpy", repeats=[1, 10**9]),
        entry("Resizing", height=10**5, width=10**5),
    ],
    ids=lambda entry: entry["class_name"],
)
def test_layers_that_would_make_too_much_are_not_run(tmp_path, saved, layer):
    inputs = keras.Input((3,) if layer["class_name"] in ("RepeatVector", "Tile") else SHAPE)
    keras.Model(inputs, layers.Activation("linear", name="dense")(inputs)).save(tmp_path / "plain.keras")
    with zipfile.ZipFile(tmp_path / "plain.keras") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    path = write_keras(tmp_path / "large.keras", content, renamed_output(layer))
    assert "one of its layers makes" in refused(path)


def renamed_output(strange):
    def edit(config):
        with_layer(strange)(config)
        config["config"]["output_layers"][0] = "crafted"
        config["config"]["layers"][-1]["config"]["name"] = "crafted"

    return edit


# HDF5.
def external_link(file, other):
    file["model_weights/link"] = h5py.ExternalLink(str(other), "/")


def soft_link(file, other):
    file["model_weights/link"] = h5py.SoftLink("/model_weights")


def external_array(file, other):
    file.create_dataset("model_weights/array", (8,), "uint8", external=[(str(other), 0, 8)])


def virtual_array(file, other):
    layout = h5py.VirtualLayout((8,), "uint8")
    layout[:] = h5py.VirtualSource(str(other), "x", (8,))
    file.create_virtual_dataset("model_weights/array", layout)


@pytest.mark.parametrize("craft", [external_link, soft_link, external_array, virtual_array])
@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_hdf5_that_reads_other_files(tmp_path, saved, craft, kind):
    other = tmp_path / "secret"
    other.write_bytes(b"12345678")
    target = write_h5(tmp_path / "crafted.h5", json.loads(saved["config.json"]))
    with h5py.File(target, "r+") as file:
        craft(file, other)
    if kind == "keras":
        target = write_keras(tmp_path / "crafted.keras", saved, **{"model.weights.h5": target.read_bytes()})
    assert "is not genuine" in refused(target)


def test_long_names_are_cut(tmp_path, saved):
    path = write_keras(tmp_path / "long.keras", saved, with_layer(entry("X" * 10**5, name="N" * 10**5)))
    refused(path)
    deep = tmp_path.joinpath(*["d" * 100] * 6)
    os.makedirs(deep)
    refused(write_keras(deep / "long.keras", saved, with_layer(OF_OS)))


def test_pipelines_name_their_own_arguments(tmp_path, saved):
    path = write_keras(tmp_path / "crafted.keras", saved, with_layer(OF_OS))
    with pytest.raises(ValueError, match=r"^`teacher`: .*crafted\.keras' is refused"):
        tfkd.pipelines.distil(path, tflite=None)
    with pytest.raises(ValueError, match=r"^`model`: .*crafted\.keras' is refused"):
        tfkd.pipelines.compress(path, prune=0.5, tflite=None)


def write_npz(path, header):
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x_test.npy", "y_test.npy"):
            with archive.open(name, "w") as file:
                np.lib.format.write_array_header_1_0(file, header)
    return path


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            {"shape": (10**6, 4, 4, 10**6), "fortran_order": False, "descr": "<f4"},
            "is too large: x_test has",
        ),
        ({"shape": (10**9,), "fortran_order": False, "descr": "<U99"}, "is too large: x_test has"),
        ({"shape": (9, *SHAPE), "fortran_order": False, "descr": "<f4"}, "is not a readable npz file"),
        ({"shape": (9,), "fortran_order": False, "descr": "|O"}, "is not a readable npz file"),
    ],
)
def test_arrays_that_are_larger_than_their_file(tmp_path, header, said):
    path = write_npz(tmp_path / "data.npz", header)
    assert said in refused(path, open_file=lambda path: load_examples(path, network()))


def test_large_tables_of_recipes(tmp_path):
    path = tmp_path / "table.npy"
    with open(path, "wb") as file:
        header = {"shape": (10**6, 10**6), "fortran_order": False, "descr": "<f4"}
        np.lib.format.write_array_header_1_0(file, header)
    options = [f"embeddings={path}"]
    assert "is too large" in refused(path, open_file=lambda _: recipe_named("nayer", options))
