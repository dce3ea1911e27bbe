"""The public names of all packages: `python -m tests.public_api > api.txt` writes them down."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import generators
import tfkd


def packages() -> list[ModuleType]:
    """The public packages and modules: those without an underscore, programs apart."""
    found = [tfkd, generators]
    for root in (tfkd, generators):
        for module in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            private = any(part.startswith("_") for part in module.name.split("."))
            if not private and not module.name.startswith("tfkd.cli"):
                found.append(importlib.import_module(module.name))
    return found


def names() -> Iterator[str]:
    """Every public name with its place, in order."""
    for package in packages():
        yield from (f"{package.__name__}.{name}" for name in sorted(package.__all__))


if __name__ == "__main__":
    print("\n".join(sorted(set(names()))))
