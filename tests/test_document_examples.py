"""The code in documents runs as it is written, block after block."""

import pathlib
import subprocess
import sys

import keras
import pytest

from tests.examples import finding, images, pages, worlds
from tests.examples.short import short_training as short_training

pytestmark = [pytest.mark.slow, pytest.mark.eager]

ROOT = pathlib.Path(__file__).parents[1]
PATHS = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs/guides").glob("*.md")]
BLOCKS = {str(path.relative_to(ROOT)): blocks for path in PATHS if (blocks := finding.python_blocks(path))}
# Blocks by some words of theirs, and why they are not run, or not in this process.
NOT_RUN = {
    "tf.distribute.MultiWorkerMirroredStrategy()": "has to come before TensorFlow does anything; "
    "tests/cli/test_workers.py starts two workers",
}
IN_A_PROCESS = {"CompiledModel.from_file(": "may die of a file, and logs at its end"}


def named(block, blocks):
    """Whether a block is one of those."""
    return any(words in block for words in blocks)


@pytest.fixture
def same_precision():
    """Puts back what a page may change for all networks."""
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


# The stand-ins for trained networks are not trained, and runs are cut short.
@pytest.mark.filterwarnings("ignore::tfkd.teachers.TeacherWarning", "ignore::tfkd.datafree.HealthWarning")
@pytest.mark.parametrize("page", BLOCKS)
def test_page_runs(page, tmp_path, monkeypatch, short_training, same_precision):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    blocks = [block for block in BLOCKS[page] if not named(block, NOT_RUN)]
    world = pages.WORLDS.get(page, images.Images)()
    names = worlds.names_for("".join(blocks), world, files=pages.FILES)
    for block in blocks:
        if named(block, IN_A_PROCESS):
            subprocess.run([sys.executable, "-c", block], check=True, timeout=120)
        else:
            exec(compile(block, page, "exec"), names)


def test_pages_are_found():
    assert {*pages.WORLDS, "docs/guides/with_data.md"} <= BLOCKS.keys()


@pytest.mark.parametrize("words", [*NOT_RUN, *IN_A_PROCESS])
def test_blocks_that_are_named_are_there(words):
    assert sum(words in block for blocks in BLOCKS.values() for block in blocks) == 1
