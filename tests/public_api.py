"""The public names of all packages: `python -m tests.public_api > api.txt` writes them down."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import tfkd


def packages() -> dict[str, ModuleType]:
    """The public packages and modules by name: those without an underscore, programs apart.

    The top-level package `generators` is here as `tfkd.generators`, the name that documents use.
    """
    found = {"tfkd": tfkd}
    for module in pkgutil.walk_packages(tfkd.__path__, "tfkd."):
        private = any(part.startswith("_") for part in module.name.split("."))
        if not private and not module.name.startswith("tfkd.cli"):
            found[module.name] = importlib.import_module(module.name)
    return found


def names() -> Iterator[str]:
    """Every public name with its place, in order."""
    for name, package in packages().items():
        yield from (f"{name}.{each}" for each in sorted(package.__all__))


if __name__ == "__main__":
    print("\n".join(sorted(set(names()))))
