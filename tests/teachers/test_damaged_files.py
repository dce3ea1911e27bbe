"""Files of every format, damaged at random: a short message about the file, or a model."""

import copy
import json
import pathlib
import resource
import shutil
import tempfile
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tfkd
from tfkd._core.untrusted import LONGEST_MESSAGE
from tfkd.pipelines import load_examples
from tfkd.teachers import TeacherWarning

pytestmark = pytest.mark.slow

SHAPE = (4, 4, 3)
MOST_MEMORY = 2 * 2**30
BOUNDED = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# What costs a process or a graph for each.
FEWER = settings(BOUNDED, max_examples=12)


def network(kind=keras):
    inputs = kind.layers.Input(SHAPE)
    x = kind.layers.Conv2D(2, 3, activation="relu")(inputs)
    x = kind.layers.BatchNormalization()(kind.layers.Add()([x, x]))
    return kind.Model(inputs, kind.layers.Dense(3, activation="softmax")(kind.layers.Flatten()(x)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sound file of each format, by its name."""
    tf_keras = pytest.importorskip("tf_keras")
    folder = tmp_path_factory.mktemp("whole")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network().save(folder / "new.keras")
        network().save(folder / "new.h5")
        network(tf_keras).save(folder / "old.keras")
        network(tf_keras).save(folder / "old.h5")
        network().export(str(folder / "saved"), verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
    (folder / "model.tflite").write_bytes(converter.convert())
    np.savez(folder / "data.npz", x_test=np.zeros((9, *SHAPE), "uint8"), y_test=np.arange(9) % 3)
    return folder


@st.composite
def damages(draw):
    """A function of bytes: cut off, with bits or bytes changed, zeros, or blocks swapped."""
    kind = draw(st.sampled_from(["cut", "flip", "bytes", "zeros", "swap", "longer"]))
    where = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=4))
    what = draw(st.integers(1, 255))

    def damage(content):
        content, places = bytearray(content), [int(each * len(content)) for each in where]
        first, second = sorted(places[:2])
        if kind == "cut":
            return bytes(content[:first])
        if kind == "longer":
            return bytes(content[:first]) + bytes([what]) * 999 + bytes(content[first:])
        if kind == "swap":
            size = min(64, second - first)
            one, two = content[first : first + size], content[second : second + size]
            content[first : first + len(two)], content[second : second + len(one)] = two, one[: len(two)]
        for place in places if content else ():
            if kind == "flip":
                content[place] ^= 1 << what % 8
            elif kind == "bytes":
                content[place] = what
            elif kind == "zeros":
                content[place : place + 32] = bytes(len(content[place : place + 32]))
        return bytes(content)

    return damage


JSON = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**6, 10**9, 10**30, -(10**9), 1.5, float("nan")]),
    st.text(max_size=4),
    st.sampled_from(
        ["relu", "Lambda", "os", "keras.layers", "Dense", "__lambda__", "function", "x" * 9999]
    ),
    st.lists(st.integers(-1, 9), max_size=4),
    st.sampled_from([{}, {"class_name": "Dense"}, {"class_name": "Lambda", "config": {}}, [[[]]]]),
)


@st.composite
def rewritings(draw):
    """A function of a configuration: something in it is another value, or gone."""
    where = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=3))
    values = [draw(st.one_of(JSON, st.just(...))) for _ in where]

    def rewrite(config):
        for place, value in zip(where, values, strict=True):
            if not (places := list(places_in(config))):
                break
            holder, key = places[int(place * len(places))]
            if value is not ...:
                holder[key] = copy.deepcopy(value)
            elif isinstance(holder, dict):
                del holder[key]
        return config

    return rewrite


def places_in(value):
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places_in(value[key])


def check(path, open_file, before):
    """Opening the file gives something, or a short message about it."""
    peak = peak_memory()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TeacherWarning)
            open_file(path)
    except ValueError as error:
        message = str(error)
        assert len(message) <= LONGEST_MESSAGE and "\n" not in message, message
        assert "Traceback" not in message and ('File "' not in message)
        assert path.name in message or "teacher" in message, message
    assert everything_in(path.parent) == before
    # Other tests of this process may have taken much before.
    assert peak_memory() - peak < MOST_MEMORY


def peak_memory():
    """What this process has taken at most so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def everything_in(folder):
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("name", ["new.keras", "old.keras"])
@BOUNDED
@given(damage=damages())
def test_damaged_models(whole, name, damage):
    damaged(whole, name, damage)


@FEWER
@given(damage=damages())
def test_damaged_tflite_files(whole, damage):
    damaged(whole, "model.tflite", damage)


@pytest.mark.parametrize("name", ["new.h5", "old.h5"])
@FEWER
@given(damage=damages())
def test_damaged_hdf5(whole, name, damage):
    with pytest.MonkeyPatch.context() as patch:
        # The library runs in circles over some of them.
        patch.setattr("tfkd._core.untrusted._containers._LEAST_SECONDS", 3)
        damaged(whole, name, damage)


def damaged(whole, name, damage):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / name
        path.write_bytes(damage((whole / name).read_bytes()))
        check(path, tfkd.load_teacher, [path])


@pytest.mark.parametrize("name", ["new.keras", "old.keras"])
@BOUNDED
@given(rewrite=rewritings())
def test_rewritten_configurations(whole, name, rewrite):
    rewritten(whole, name, rewrite)


@pytest.mark.parametrize("name", ["new.h5", "old.h5"])
@FEWER
@given(rewrite=rewritings())
def test_rewritten_configurations_of_hdf5(whole, name, rewrite):
    rewritten(whole, name, rewrite)


def rewritten(whole, name, rewrite):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / name
        if name.endswith(".h5"):
            shutil.copy(whole / name, path)
            with h5py.File(path, "r+") as file:
                file.attrs["model_config"] = json.dumps(rewrite(json.loads(file.attrs["model_config"])))
        else:
            with zipfile.ZipFile(whole / name) as old, zipfile.ZipFile(path, "w") as new:
                for entry in old.namelist():
                    content = old.read(entry)
                    if entry == "config.json":
                        content = json.dumps(rewrite(json.loads(content)))
                    new.writestr(entry, content)
        check(path, tfkd.load_teacher, [path])


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/*.index", "variables/*.data-*"])
@FEWER
@given(damage=damages())
def test_damaged_saved_models(whole, file, damage):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "saved"
        shutil.copytree(whole / "saved", path)
        (damaged,) = path.glob(file)
        damaged.write_bytes(damage(damaged.read_bytes()))
        check(path, tfkd.load_teacher, everything_in(path.parent))


@BOUNDED
@given(damage=damages())
def test_damaged_data(whole, damage):
    model = network()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "data.npz"
        path.write_bytes(damage((whole / "data.npz").read_bytes()))
        check(path, lambda path: load_examples(path, model), [path])


def test_hdf5_over_which_the_library_never_ends(whole, tmp_path, monkeypatch):
    """A sleeping library stands for one that runs in circles."""
    script = tmp_path / "sleeping.py"
    script.write_text("import time; time.sleep(60)")
    monkeypatch.setattr("tfkd._core.untrusted._hdf5_trial.__file__", str(script))
    monkeypatch.setattr("tfkd._core.untrusted._containers._LEAST_SECONDS", 1)
    with pytest.raises(ValueError, match=r"new\.h5' is damaged: the HDF5 library crashes or hangs"):
        tfkd.load_teacher(whole / "new.h5")
    script.write_text("import os; os.abort()")
    with pytest.raises(ValueError, match="crashes or hangs"):
        tfkd.load_teacher(whole / "new.h5")
