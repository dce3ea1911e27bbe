"""What the guide on phones says that apps do with a file."""

import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import tfkd
from tests.conftest import blobs
from tfkd import export

GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "guides" / "phones.md"
LABELS = ["upper left", "upper right", "lower left", "lower right"]


def test_python_in_the_guide_runs(trained, tmp_path):
    pytest.importorskip("ai_edge_litert.compiled_model", reason="LiteRT without CompiledModel")
    code = re.search(r"```python\n(.*?)```", GUIDE.read_text().split("## In an app")[1], re.S)[1]
    (image, *_), (label, *_) = blobs(1, seed=4)
    np.save(tmp_path / "image.npy", image)
    export.export_tflite(trained, tmp_path / "student.tflite", labels=LABELS)
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    assert LABELS[label] in run.stdout.splitlines()


@pytest.mark.filterwarnings("ignore::tfkd.compression.PruningWarning")
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "pruned"])
def test_the_export_of_keras_answers_as_ours(trained, tmp_path, wrapped):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    student = tfkd.compression.prune(trained, 0.5, schedule=None) if wrapped else trained
    x, path = blobs(20)[0], str(tmp_path / "keras.tflite")
    student.export(path, format="litert", verbose=False)
    export.export_tflite(tfkd.compression.strip(student) if wrapped else student, tmp_path / "ours.tflite")
    keras_own, ours = export.run_tflite(path, x), export.run_tflite(tmp_path / "ours.tflite", x)
    np.testing.assert_allclose(keras_own, ours, atol=1e-5)
    np.testing.assert_allclose(ours, keras.ops.convert_to_numpy(trained(x)), atol=1e-5)
