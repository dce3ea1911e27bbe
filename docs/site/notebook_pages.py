"""Pages of notebooks: their text and code, with a link to the notebook itself."""

import json
import pathlib

NOTEBOOKS = pathlib.Path(__file__).parents[1] / "notebooks"


def pages() -> dict[str, str]:
    """The page of each notebook, by path."""
    return {f"notebooks/{path.stem}.md": page(path) for path in sorted(NOTEBOOKS.glob("*.ipynb"))}


def page(path: pathlib.Path) -> str:
    """A notebook as Markdown."""
    (title, *cells) = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = ["".join(title["source"]), f"As a [notebook]({path.name}), which the tests run."]
    for cell in cells:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts) + "\n"
