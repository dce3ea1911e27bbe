"""What holds for the project as a whole: names, imports, documents."""

import pathlib
import re
import subprocess
import sys

import tfkd
from tfkd.cli import compress, data_free, shared_flags

ROOT = pathlib.Path(__file__).parents[1]
HEAVY = ("matplotlib", "jinja2", "ai_edge_litert", "tf_keras", "tensorflow_model_optimization")


def test_importing_tfkd_imports_nothing_heavy_and_changes_nothing():
    program = (
        "import os, sys; before = dict(os.environ); import keras, tensorflow as tf; backend = tf.keras; "
        "had = set(sys.modules); import tfkd; "
        f"loaded = [m for m in {HEAVY!r} if m in sys.modules and m not in had]; "
        "assert not loaded, loaded; assert tf.keras is backend; "
        "assert os.environ.get('TF_USE_LEGACY_KERAS') == before.get('TF_USE_LEGACY_KERAS')"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_another_backend_is_refused_with_the_remedy(monkeypatch):
    program = "import keras; keras.config.backend = lambda: 'jax'; import tfkd"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert "KERAS_BACKEND=tensorflow" in done.stderr


def test_public_names_exist():
    packages = tfkd.losses, tfkd.datafree, tfkd.datafree.objectives, tfkd.students, tfkd.export
    for module in (tfkd, *packages, tfkd.compression):
        assert all(hasattr(module, name) for name in module.__all__)


def test_documents_name_only_flags_there_are():
    known = {flag.name for flag in data_free._FLAGS} | {"flagfile"}
    _, table, of_compress = (ROOT / "README.md").read_text().split("| flag | meaning |")
    named = set(re.findall(r"`--(\w+)`", table.split("\n\n")[0])) | {"output_dir"}
    assert named == known
    shared = {flag.name for flag in shared_flags.SHARED}
    named = set(re.findall(r"`--(\w+)`", of_compress.split("\n\n")[0]))
    assert named - shared == {flag.name for flag in compress._FLAGS} - shared
    for preset in (ROOT / "examples").glob("*.flags"):
        assert set(re.findall(r"^--(\w+)", preset.read_text(), re.M)) <= known


def test_shipped_assets_are_small():
    size = sum(path.stat().st_size for path in (ROOT / "examples/assets").iterdir())
    assert size < 4e6


def test_python_in_the_readme_runs():
    code = (ROOT / "README.md").read_text().split("## Five minutes, in code")[1]
    first = re.search(r"```python\n(.*?)```", code, re.S)[1]
    # As written but for the length of the run and the place of the file.
    short = first.replace("epochs=40, steps_per_epoch=50", "epochs=1, steps_per_epoch=2")
    short = short.replace('"student.tflite"', "None")
    assert short != first
    exec(short, {})
