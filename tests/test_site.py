"""What the site makes of docstrings and of files at the top."""

import importlib
import importlib.util
import pathlib
import re

import pytest

import tfkd_programs

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "site" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("block", "citation", "remark"),
    [
        ('Park et al., "A | B", 2019.', 'Park et al., "A \\| B", 2019', ""),
        (
            'Ahn, "C",\n        ICCV 2019. See `f`. Deviations: none.',
            'Ahn, "C", ICCV 2019',
            "See `f`. Deviations: none.",
        ),
        ("This project's own.", "This project's own", ""),
    ],
)
def test_a_paper_and_what_is_said_beside_it(hooks, block, citation, remark):
    docstring = f"Does it.\n\nReference:\n    {block}\n\nExample:\n    >>> f()\n"
    assert list(hooks.references(docstring)) == [(citation, remark)]
    assert list(hooks.references("Does it.\n")) == []


def test_papers_list_each_thing_once_by_its_shortest_name(hooks):
    docstring = 'Does it.\n\nReference:\n    Park et al., "A", 2019.\n'
    page = hooks.papers({"tfkd.inner.f": docstring, "tfkd.f": docstring})
    assert page.splitlines()[-1] == '| Park et al., "A", 2019 | [tfkd.f][tfkd.f] |  |'


def test_links_lead_to_pages(hooks):
    text = "[a](docs/gpu.md) [b](BUILD_NOTES.md#x) [c](examples/e.py)"
    assert hooks.with_links_between_pages(text) == "[a](gpu.md) [b](build_notes.md#x) [c](examples/e.py)"


def test_every_public_name_has_a_page(hooks):
    pages = hooks.public_names()
    assert "tfkd.losses.Hint" in pages["tfkd.losses"] and "tfkd.losses" not in pages["tfkd"]


def test_public_names_without_a_docstring_are_an_error(hooks, monkeypatch):
    assert "Reference:" in hooks.docstrings()["tfkd.losses.Hint"]
    undocumented = {"tfkd.pipelines._diagnosis": ["tfkd.pipelines._diagnosis._train"]}
    monkeypatch.setattr(hooks, "public_names", lambda: undocumented)
    with pytest.raises(hooks.PluginError, match="have no docstring"):
        hooks.docstrings()


def test_the_page_of_programs_has_every_flag(hooks):
    page = hooks.programs()
    for word, module in tfkd_programs.PROGRAMS.items():
        program = importlib.import_module(f"tfkd.cli.{module}").PROGRAM
        section = page.split(f"## tfkd {word}\n")[1].split("\n## ")[0]
        assert set(re.findall(r"^\| `--(?:\[no\])?(\w+)` \|", section, re.M)) == set(program.flags)
