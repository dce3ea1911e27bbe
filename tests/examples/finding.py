"""Where examples are: in docstrings of public names, and in documents."""

import inspect
import pathlib
import re
import textwrap

from tests import public_api

_FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
_NO_COMMANDS = {"python", "kotlin"}


def in_docstrings() -> dict[str, str]:
    """The `Example:` block of each public thing that has one, by its shortest name."""
    packages = public_api.packages()
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


def python_blocks(document: pathlib.Path) -> list[str]:
    """The blocks of Python in a document, in their order."""
    blocks = _FENCED.findall(document.read_text())
    return [textwrap.dedent(code) for language, code in blocks if language == "python"]


def code_lines(document: pathlib.Path) -> list[str]:
    """What a document shows as code that is not of a programming language: lines and words in backticks."""
    text = document.read_text().replace("\\\n", " ")
    blocks = [code for language, code in _FENCED.findall(text) if language not in _NO_COMMANDS]
    prose = _FENCED.sub("", text)
    indented = re.findall(r"^ {4}(.*)$", prose, re.M)
    within_prose = [" ".join(words.split()) for words in re.findall(r"`([^`]+)`", prose)]
    return [*"".join(blocks).splitlines(), *indented, *within_prose]
