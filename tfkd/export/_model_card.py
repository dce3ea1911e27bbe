"""The model card of a run: the same facts as Markdown and as JSON."""

import json
import os
from collections.abc import Mapping
from typing import Any

from tfkd._core import files
from tfkd.export._page import filled_in

MARKDOWN, JSON = "MODEL_CARD.md", "model_card.json"
_TEMPLATE = "model_card.md.j2"


def write_model_card(folder: str | os.PathLike, facts: Mapping[str, Any]) -> None:
    """Writes `MODEL_CARD.md` and `model_card.json`.

    Args:
        folder: the folder to write them to.
        facts: the result of `card_facts`.

    Raises:
        ImportError: if jinja2 is missing.
        OSError: if the files cannot be written.
    """
    files.write_text(os.path.join(folder, MARKDOWN), filled_in(_TEMPLATE, **facts))
    files.write_text(os.path.join(folder, JSON), json.dumps(facts, indent=2) + "\n")
