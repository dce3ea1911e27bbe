"""The notebooks of the guides run from beginning to end, as Jupyter runs them."""

import pathlib

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))

pytestmark = [pytest.mark.slow, pytest.mark.program]


@pytest.fixture
def place(tmp_path):
    """A folder for a notebook and what it writes; the examples are where they are in the tree."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    folder = tmp_path / "docs/notebooks"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, place):
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": place}}).execute()
    assert all(
        cell.outputs for cell in notebook.cells if cell.cell_type == "code" and "print(" in cell.source
    )


def test_notebooks_are_kept_without_outputs():
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), path.name
