"""Docstrings as griffe reads them."""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Makes `Example:` the section that griffe calls `Examples:`, whose code it shows as code."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for each object with a docstring or without."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.M)
