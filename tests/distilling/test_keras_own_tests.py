"""Keras's own tests of its distiller, with nothing changed but the import of the distiller."""

import os
import pathlib
import subprocess
import sys

import keras
import pytest

pytestmark = pytest.mark.slow

FOLDER = pathlib.Path(keras.__file__).parent / "src" / "distillation"
IMPORT = "from keras.src.distillation.distiller import Distiller\n"
SETTINGS = "[pytest]\nmarkers = requires_trainable_backend: Keras's own\n"


@pytest.mark.parametrize("name", ["distiller_test.py", "distillation_loss_test.py"])
def test_keras_own_tests_pass(name, tmp_path):
    if not (FOLDER / name).exists():
        pytest.skip(f"the installed Keras {keras.__version__} does not ship {name}")
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text.count(IMPORT) == 1
    (tmp_path / f"test_{name}").write_text(text.replace(IMPORT, "from tfkd import Distiller\n"))
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    root = pathlib.Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout
