"""Where examples are: in docstrings of public names."""

import inspect
import re
import textwrap

from tests import public_api


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
