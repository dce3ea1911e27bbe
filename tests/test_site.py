"""What the site makes of docstrings and of files at the top."""

import dataclasses
import importlib
import importlib.util
import pathlib
import re

import pytest

import tfkd_programs
from tfkd import datafree

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def hooks():
    # As MkDocs does it: modules of the folder are found for as long as the hook is loaded.
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "site" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs" / "site"))
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def recipe_pages(hooks):
    return hooks.recipe_pages


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


def test_a_notebook_becomes_a_page_with_its_code(hooks):
    page = hooks.notebook_pages.pages()["notebooks/phones.md"]
    assert page.startswith("# A model for a phone\n")
    assert "](phones.ipynb)" in page and "```python\npruned = prune(teacher, 0.8)\n" in page


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


@pytest.fixture(scope="module")
def pages(hooks):
    return hooks.recipe_pages.pages()


@pytest.mark.parametrize("name", datafree.known_recipes())
def test_every_recipe_has_a_page_that_is_complete(recipe_pages, pages, name):
    recipe = datafree.known_recipes()[name]
    page = pages[f"recipes/{name}.md"]
    assert page.startswith(f"# {recipe.__name__}\n")
    headings = re.findall(r"^## (.*)$", page, re.M)
    assert headings == ["When", "Example", "Cost", "Measured", "Options", "Paper and deviations"]
    listed = re.findall(r"^\| `(\w+)` \| `.*` \| \S", page, re.M)
    assert listed == sorted(field.name for field in dataclasses.fields(recipe))
    assert {recipe.__name__: f"recipes/{name}.md"} in recipe_pages.navigation()
    assert f"[{recipe.__name__}]({name}.md)" in pages["recipes/index.md"]


def test_a_new_recipe_gets_its_page_by_itself(recipe_pages, monkeypatch):
    class Mine(datafree.Procedural):
        """Images of mine.

        When:
            There are some.

        Example:
            >>> Mine()

        Reference:
            This project's own.
        """

    monkeypatch.setattr(datafree, "known_recipes", lambda: {"mine": Mine})
    page = recipe_pages.pages()["recipes/mine.md"]
    assert "## When\n\nThere are some.\n" in page and "Not measured." in page
    Mine.__doc__ = "Images of mine."
    with pytest.raises(ValueError, match="Mine must have a block `When:`"):
        recipe_pages.pages()


def test_costs_and_rows_on_the_page_of_a_recipe(recipe_pages):
    recipe = datafree.DeepInversion(inversions=2, generator_steps=30, replay_steps=7, epochs=3)
    lines = recipe_pages.cost(recipe).splitlines()
    assert "| updates of the student | 7 | 21 |" in lines
    assert "| gradient steps on a batch of inputs | 60 | 180 |" in lines
    assert "| updates of the generator | 4 | 8 |" in recipe_pages.cost(
        datafree.DFAD(generator_steps=4, epochs=1, steps_per_epoch=2)
    )
    # The mean of three rows, as docs/results.md has it.
    table = recipe_pages.measured("dfad", datafree.DFAD)
    assert "| mnist | dfad | 96.30 ± 0.26 | 99.03 | 96.68 | 3,360 | 261 | 51 | 3 |" in table
