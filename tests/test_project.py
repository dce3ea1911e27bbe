"""What holds for the project as a whole: names, imports, documents."""

import ast
import importlib
import pathlib
import re
import subprocess
import sys

import pytest

import tfkd

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]
HEAVY = (
    "matplotlib",
    "jinja2",
    "ai_edge_litert",
    "tf_keras",
    "tensorflow_model_optimization",
    "keras_tuner",
    "sklearn",
    "keras_hub",
    "tokenizers",
    "safetensors",
)


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
    for module in (tfkd, *packages, tfkd.compression, tfkd.pipelines):
        assert all(hasattr(module, name) for name in module.__all__)


def programs():
    """The programs that are installed, by name."""
    scripts = re.findall(r'"(tfkd-[\w-]+) = tfkd_programs:(\w+)"', (ROOT / "setup.py").read_text())
    return {name: importlib.import_module(f"tfkd.cli.{module}").PROGRAM for name, module in scripts}


def test_programs_are_installed_by_their_names():
    found = programs()
    assert len(found) >= 5
    for name, program in found.items():
        assert program.name == name


def test_presets_have_flags_there_are():
    for preset in (ROOT / "examples").glob("*.flags"):
        typed = set(re.findall(r"^--(\w+)", preset.read_text(), re.M))
        assert typed and typed <= {*programs()["tfkd-data-free"].flags, "flagfile"}


def imports(path):
    """What a file imports: pairs of module and name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("folder", ["benchmarks", "examples"])
def test_benchmarks_and_examples_use_the_library_not_the_programs(folder):
    files = list((ROOT / folder).glob("*.py"))
    assert files
    for path in files:
        for module, name in imports(path):
            assert not module.startswith("tfkd.cli"), path
            public = module.split("._")[0]
            if public != module and public != "tfkd":
                # What has a public name is imported by that.
                assert name not in importlib.import_module(public).__all__, (path, module, name)


def test_shipped_assets_are_small():
    size = sum(path.stat().st_size for path in (ROOT / "examples/assets").iterdir())
    assert size < 4e6
