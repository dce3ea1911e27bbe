"""Where examples are: docstrings of public names, blocks of documents."""

import inspect
import pathlib
import re
import textwrap

from tests import public_api

ROOT = pathlib.Path(__file__).parents[2]


def in_docstrings() -> dict[str, str]:
    """The `Example:` block of each public thing that has one, by its shortest name."""
    packages = {package.__name__: package for package in public_api.packages()}
    found, seen = {}, set()
    for name in sorted(set(public_api.names()), key=lambda name: (name.count("."), len(name), name)):
        package, _, own = name.rpartition(".")
        thing = getattr(packages[package], own)
        if name in packages or not callable(thing) or id(thing) in seen:
            continue
        seen.add(id(thing))
        block = re.search(r"^Example:\n((?:[ ]{4}.*\n?|\n)+)", f"{inspect.getdoc(thing)}\n", re.M)
        if block:
            found[name] = textwrap.dedent(block[1])
    return found


def in_documents() -> dict[str, list[str]]:
    """The blocks of Python of each document that has any, in order."""
    paths = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("docs/guides/*.md"))]
    blocks = {
        str(path.relative_to(ROOT)): re.findall(r"^```python\n(.*?)^```", path.read_text(), re.M | re.S)
        for path in paths
    }
    return {path: found for path, found in blocks.items() if found}
