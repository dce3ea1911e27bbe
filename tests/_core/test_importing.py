import sys
import warnings

import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tfkd._core.importing import import_code
from tfkd.teachers import TeacherWarning

CODE = """
import keras

class Halved(keras.Layer):
    def call(self, x):
        return x / 2

def swished(x):
    return x * keras.ops.sigmoid(x)
"""


@pytest.fixture(autouse=True)
def as_before():
    known, modules = dict(keras.saving.get_custom_objects()), set(sys.modules)
    yield
    keras.saving.get_custom_objects().clear()
    keras.saving.get_custom_objects().update(known)
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def saved(folder, extension):
    """A model of classes that this process does not know, and what it answers."""
    (folder / "mine.py").write_text(CODE)
    names = {}
    exec(CODE, names)
    names["Halved"].__module__ = names["swished"].__module__ = "mine"
    inputs = keras.Input((8, 8, 1))
    x = layers.Flatten()(names["Halved"]()(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation=names["swished"])(x))
    model.save(folder / f"own.{extension}")
    images = np.random.default_rng(0).uniform(size=(3, 8, 8, 1)).astype("float32")
    return images, np.asarray(model(images))


@pytest.mark.parametrize("extension", ["keras", "h5"])
def test_a_teacher_of_classes_of_ones_own(tmp_path, extension):
    images, expected = saved(tmp_path, extension)
    path = tmp_path / f"own.{extension}"
    with pytest.raises(ValueError, match=r"(Halved|swished).*--import"):
        tfkd.load_teacher(path)
    import_code(str(tmp_path / "mine.py"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TeacherWarning)
        teacher = tfkd.load_teacher(path, task="classification")
    np.testing.assert_allclose(teacher(images), expected, rtol=1e-5)


def test_modules_by_name(tmp_path, monkeypatch):
    (tmp_path / "layers_of_mine.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    made = import_code("layers_of_mine")
    assert keras.saving.get_custom_objects()["Halved"] is made.Halved


def test_what_is_registered_already_stays():
    made = import_code(__file__)
    assert made.Registered is keras.saving.get_registered_object("importing>Registered")
    assert "Registered" not in keras.saving.get_custom_objects()
    assert "CODE" not in keras.saving.get_custom_objects()


@keras.saving.register_keras_serializable("importing")
class Registered(layers.Layer):
    pass


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "FileNotFoundError"),
        ("import keras\n1 / 0\n", r"in line 2 of mine.py: ZeroDivisionError"),
        ("x = = 1\n", "in line 1: SyntaxError"),
        ("raise SystemExit(3)\n", "in line 1 of mine.py: SystemExit: 3"),
        ("import nothing_of_that_name\n", "in line 1 of mine.py: ModuleNotFoundError"),
    ],
)
def test_code_that_fails_is_refused(tmp_path, code, message):
    path = tmp_path / "mine.py"
    if code is not None:
        path.write_text(code)
    with pytest.raises(ValueError, match=f"(?s)`import` must be .*mine.py', which fails.*{message}"):
        import_code(str(path))
    assert "tfkd_import_mine" not in sys.modules


def test_modules_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="'no_such_module', which fails: ModuleNotFoundError"):
        import_code("no_such_module")
