"""Pages of recipes, made of what there is: docstrings, options and measured rows."""

import collections
import dataclasses
import inspect
import json
import pathlib
import re
import statistics
from collections.abc import Iterator
from typing import Any

import griffe
from markdown.extensions.toc import slugify

from tfkd import datafree
from tfkd.datafree import Recipe

ROOT = pathlib.Path(__file__).parents[2]


def pages() -> dict[str, str]:
    """Each recipe's page and a list of them, by path."""
    recipes = datafree.known_recipes()
    made = {f"recipes/{name}.md": page(name, recipe) for name, recipe in recipes.items()}
    return {"recipes/index.md": contents(recipes), **made}


def navigation() -> list[str | dict[str, str]]:
    """The same pages for the site's navigation."""
    recipes = datafree.known_recipes()
    return ["recipes/index.md", *({each.__name__: f"recipes/{name}.md"} for name, each in recipes.items())]


def contents(recipes: dict[str, type[Recipe]]) -> str:
    """The list of recipes, with when to take which."""
    lines = ["# Recipes", "", "How inputs are made and how a student learns from them, without data."]
    lines += [
        "[Without data](../guides/data_free.md) says how to use them.",
        "",
        "| recipe | when |",
        "|---|---|",
    ]
    lines += [f"| [{each.__name__}]({name}.md) | {when(each)} |" for name, each in recipes.items()]
    return "\n".join(lines) + "\n"


def page(name: str, recipe: type[Recipe]) -> str:
    """What it is, when to take it, what it costs, what was measured, its options and its paper."""
    text, blocks = _sections(recipe)
    elsewhere = [f"[Reference][tfkd.datafree.{recipe.__name__}]"]
    if not recipe.needs_examples:
        elsewhere.append(f"`tfkd data-free --recipe={name}`")
    parts = [
        f"# {recipe.__name__}",
        text,
        " · ".join(elsewhere),
        "## When",
        when(recipe),
        "## Example",
        f"```python\n{blocks['Example']}\n```",
        "## Cost",
        cost(recipe()),
        "## Measured",
        measured(name, recipe),
        "## Options",
        options(recipe),
        "## Paper and deviations",
        blocks["Reference"],
    ]
    return "\n\n".join(parts) + "\n"


def when(recipe: type[Recipe]) -> str:
    """When to take a recipe, as its docstring says.

    Raises:
        ValueError: if it does not say so.
    """
    _, blocks = _sections(recipe)
    if "When" not in blocks:
        raise ValueError(f"The docstring of {recipe.__name__} must have a block `When:`.")
    return " ".join(blocks["When"].split())


def cost(recipe: Recipe) -> str:
    """Updates in a step and in a run, by default options."""
    steps = recipe.epochs * recipe.steps_per_epoch
    warming_up = f", {recipe.warmup_steps:,} of them to warm up" if recipe.warmup_steps else ""
    rows = [("updates of the student", recipe.updates_per_step(), recipe.student_updates(steps))]
    if isinstance(recipe, datafree.InversionRecipe):
        in_a_step = recipe.inversions * recipe.generator_steps
        rows.append(("gradient steps on a batch of inputs", in_a_step, in_a_step * steps))
    elif isinstance(recipe, datafree.GeneratorRecipe):
        rows.append(("updates of the generator", recipe.generator_steps, recipe.generator_steps * steps))
    lines = [
        f"Inputs made or learned from at a time by default: {recipe.images_at_once():,}. "
        f"Steps in a run: {steps:,}{warming_up}.",
        "",
        "| | in a step | in a run |",
        "|---|---|---|",
        *(f"| {what} | {each:,} | {in_all:,} |" for what, each, in_all in rows),
    ]
    return "\n".join(lines)


def measured(name: str, recipe: type[Recipe]) -> str:
    """The rows that were measured with it, and the tables of documents that name it."""
    rows, tables = _rows(name), list(_tables_naming(name, recipe))
    if not rows and not tables:
        return "Not measured."
    lines = ["Not measured side by side with others."]
    if rows:
        columns = ("case", "row", "accuracy, %", "teacher", "agreement, %")
        columns += ("updates", "synthesis, s", "student, s", "seeds")
        lines = ["Means over seeds; [results](../results.md) has the settings.", ""]
        lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        lines += [_row(case, label, group) for (case, label), group in sorted(rows.items())]
    if tables:
        lines += ["", f"Tables that name it: {', '.join(tables)}."]
    return "\n".join(lines)


def _rows(name):
    """Rows of the recipe in docs/rows by case and label."""
    found = collections.defaultdict(list)
    for path in sorted((ROOT / "docs" / "rows").glob("*-*-*.json")):
        row = json.loads(path.read_text(encoding="utf-8"))
        if row["options"]["name"] == name:
            found[row["case"], row["recipe"]].append(row)
    return found


def _row(case, label, rows):
    """A line of the table."""

    def mean(key, scale=1.0):
        return statistics.mean(scale * row[key] for row in rows)

    spread = f" ± {statistics.pstdev(100 * row['accuracy'] for row in rows):.2f}" if len(rows) > 1 else ""
    cells = [
        case,
        label,
        f"{mean('accuracy', 100):.2f}{spread}",
        f"{mean('teacher_accuracy', 100):.2f}",
        f"{mean('agreement', 100):.2f}",
        *(f"{mean(key):,.0f}" for key in ("student_updates", "synthesis_seconds", "student_seconds")),
        str(len(rows)),
    ]
    return f"| {' | '.join(cells)} |"


def _tables_naming(name: str, recipe: type[Recipe]) -> Iterator[str]:
    """Links to sections of documents that name it in a table: by its class, or as code or a whole cell."""
    word = re.compile(rf"\b{recipe.__name__}\b|`[^`]*\b{name}\b[^`]*`|\| {name} \|")
    for path in sorted((ROOT / "docs").glob("*.md")):
        _, *sections = re.split(r"^##+ ", path.read_text(encoding="utf-8"), flags=re.M)
        for section in sections:
            heading, _, body = section.partition("\n")
            if any(line.startswith("|") and word.search(line) for line in body.splitlines()):
                yield f"[{heading}](../{path.name}#{slugify(heading, '-')})"


def options(recipe: type[Recipe]) -> str:
    """A table of options with their defaults and meanings."""
    meanings, by_default = _meanings(recipe), recipe()
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for field in sorted(dataclasses.fields(recipe), key=lambda field: field.name):
        default = getattr(by_default, field.name)
        lines.append(f"| `{field.name}` | `{default!r}` | {meanings[field.name]} |")
    return "\n".join(lines)


def _meanings(recipe):
    """What each option means, as the class says that is nearest to the recipe."""
    found: dict[str, Any] = {}
    for cls in reversed(recipe.__mro__):
        for section in griffe.Docstring(inspect.getdoc(cls) or "").parse("google", warnings=False):
            if section.kind is griffe.DocstringSectionKind.parameters:
                found |= {each.name: _cell(each.description) for each in section.value}
    return found


def _cell(text):
    """Text within a table of Markdown."""
    return " ".join(text.split()).replace("|", "\\|")


def _sections(recipe):
    """A docstring's text, and its blocks by name."""
    text, *rest = re.split(r"^([A-Z][a-z]+):\n", inspect.getdoc(recipe), flags=re.M)
    blocks = {name: inspect.cleandoc(block) for name, block in zip(rest[::2], rest[1::2], strict=True)}
    return text.strip(), blocks
