"""What MkDocs makes of the sources: reference, recipes, notebooks, index of papers, files at the top.

Public names are those of `api.txt`, which a test keeps true. griffe reads their docstrings, and programs
are asked for their flags.
"""

import importlib
import pathlib
import re
from collections import defaultdict
from collections.abc import Iterator

import griffe
import notebook_pages
import recipe_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

import tfkd_programs
from tfkd.cli import _endings, _help

ROOT = pathlib.Path(__file__).parents[2]
# Pages that are files at the top of the repository.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "BUILD_NOTES.md": "build_notes.md",
    "CONTRIBUTING.md": "contributing.md",
}


def on_config(config: MkDocsConfig) -> None:
    """Lists the pages of recipes and those of the reference."""
    for entry in config.nav:
        if "Recipes" in entry:
            entry["Recipes"] = recipe_pages.navigation()
        if "Reference" in entry:
            entry["Reference"] = [{module: page_of(module)} for module in public_names()]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Adds the pages that are made."""
    documented = docstrings()
    made = {"papers.md": papers(documented), "programs.md": programs()}
    made |= recipe_pages.pages() | notebook_pages.pages()
    for module, names in public_names().items():
        made[page_of(module)] = reference(module, names)
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        for linked in set(re.findall(r"\]\((examples/[^)#]+)\)", text)):
            if files.get_file_from_path(linked) is None:
                files.append(File.generated(config, linked, abs_src_path=str(ROOT / linked)))
        made[page] = with_links_between_pages(text)
    for page, content in made.items():
        files.append(File.generated(config, page, content=content))


def public_names() -> dict[str, list[str]]:
    """The public names of each module that has any, modules aside."""
    names = (ROOT / "api.txt").read_text(encoding="utf-8").split()
    found = defaultdict(list)
    for name in names:
        found[name.rpartition(".")[0]].append(name)
    return {module: [name for name in of_it if name not in found] for module, of_it in found.items()}


def page_of(module: str) -> str:
    """The page of a module's reference."""
    return f"reference/{module}.md"


def reference(module: str, names: list[str]) -> str:
    """The page itself."""
    return "\n\n".join([f"# {module}", *(f"::: {name}" for name in names)]) + "\n"


def programs() -> str:
    """The programs with their flags, and how they end."""
    lines = ["# Programs", "", "`tfkd --help` lists them, `tfkd PROGRAM --help` a program's flags."]
    for word, module in tfkd_programs.PROGRAMS.items():
        program = importlib.import_module(f"tfkd.cli.{module}").PROGRAM
        lines += ["", f"## tfkd {word}", "", f"{program.purpose[0].upper()}{program.purpose[1:]}"]
        lines += ["", "```", program.example, "```"]
        for group in program.groups:
            lines += ["", f"| {group.name} | |", "|---|---|"]
            lines += [
                f"| `{flag}` | {_cell(meaning)} |" for flag, meaning in map(_help.described, group.flags)
            ]
    lines += ["", "## Exit status", "", "| status | meaning |", "|---|---|"]
    lines += [f"| {status} | {_cell(meaning)} |" for status, meaning in _endings.MEANINGS.items()]
    return "\n".join(lines) + "\n"


def _cell(text):
    """Text within a table of Markdown."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def docstrings() -> dict[str, str]:
    """Docstrings of all public names; constants have none.

    Raises:
        PluginError: if a public class or function has none.
    """
    loader = griffe.GriffeLoader(search_paths=[ROOT])
    # `tfkd.generators` takes its names from the first.
    for package in ("generators", "tfkd"):
        loader.load(package)
    loader.expand_wildcards(loader.modules_collection["tfkd"])
    found, missing = {}, []
    for name in (name for names in public_names().values() for name in names):
        thing = loader.modules_collection[name]
        if thing.docstring is not None:
            found[name] = thing.docstring.value
        elif thing.is_class or thing.is_function:
            missing.append(name)
    if missing:
        raise PluginError(f"These public names have no docstring: {', '.join(missing)}.")
    return found


def papers(documented: dict[str, str]) -> str:
    """The index of papers, from the `Reference:` blocks."""
    users = defaultdict(dict)
    # What is public in two places has the shorter name.
    for name in sorted(documented, key=len):
        for citation, remark in references(documented[name]):
            users[citation].setdefault(documented[name], (name, remark))
    lines = [
        "# Papers",
        "",
        "What is implemented of each paper, and what its docstring says of deviations.",
        "",
        "| paper | here | remarks and deviations |",
        "|---|---|---|",
    ]
    for citation in sorted(users):
        here = "<br>".join(f"[{name}][{name}]" for name, _ in users[citation].values())
        remarks = "<br>".join(dict.fromkeys(remark for _, remark in users[citation].values() if remark))
        lines.append(f"| {citation} | {here} | {remarks} |")
    return "\n".join(lines) + "\n"


def references(docstring: str) -> Iterator[tuple[str, str]]:
    """The paper that a docstring's `Reference:` block begins with, and what the block says beside it."""
    block = re.search(r"^Reference:\n((?:[ ]{4}.*\n?|\n(?=[ ]{4}))+)", docstring, re.M)
    if block is None:
        return
    text = " ".join(block[1].split()).replace("|", "\\|")
    cited = re.match(r'.+?"(?=,)[^";.]*?[12]\d{3}', text)
    citation = cited[0] if cited else text.rstrip(".")
    remark = text[len(citation) :].lstrip(".,;: ")
    yield citation, remark[:1].upper() + remark[1:]


def with_links_between_pages(text: str) -> str:
    """A file at the top whose links lead to pages of the site."""
    text = text.replace("](docs/", "](")
    for source, page in PAGES.items():
        text = text.replace(f"]({source}", f"]({page}")
    return text
