"""Tables and plots of the rows of `data_free_recipes.py`."""

import json
import os

import numpy as np
from marked import write_marked
from matplotlib.figure import Figure

from tfkd._core import files


def rows_of(case_name: str, folder: str) -> list[dict]:
    """The rows of a case in a folder."""
    rows = []
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            rows.append(json.load(file))
    return [row for row in rows if row["case"] == case_name]


def table(rows: list[dict]) -> str:
    """One line for each recipe, best first: mean and standard deviation over seeds."""
    by_recipe = {}
    for row in rows:
        by_recipe.setdefault(row["recipe"], []).append(row)
    lines = [
        "| recipe | accuracy | seeds | KeepBest's choice | best on test | agreement | updates "
        "| synthesis, s | student, s | found by Health |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for recipe, same in sorted(by_recipe.items(), key=lambda kv: -np.mean([r["accuracy"] for r in kv[1]])):
        mean = {key: np.mean([row[key] for row in same]) for key in same[0] if _is_number(same[0][key])}
        spread = f" ± {100 * np.std([row['accuracy'] for row in same]):.2f}" if len(same) > 1 else ""
        found = ", ".join(sorted({kind for row in same for kind in row["health"]})) or "nothing"
        cells = [
            recipe,
            f"{100 * mean['accuracy']:.2f}{spread}",
            len(same),
            *(f"{100 * mean[key]:.2f}" for key in ("chosen_accuracy", "best_accuracy", "agreement")),
            *(round(mean[key]) for key in ("student_updates", "synthesis_seconds", "student_seconds")),
            found,
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def plot(rows: list[dict], path: str) -> None:
    """Plots accuracy against training time, with a line for each row and a colour for each recipe."""
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    recipes = sorted({row["recipe"] for row in rows})
    for row in rows:
        seconds, accuracy, _ = zip(*row["curve"], strict=True)
        number = recipes.index(row["recipe"])
        first = row is next(r for r in rows if r["recipe"] == row["recipe"])
        label = row["recipe"] if first else None
        axes.plot(
            np.array(seconds) / 60,
            100 * np.array(accuracy),
            color=f"C{number % 10}",
            label=label,
            linestyle="--" if number >= 10 else "-",
        )
    axes.set(xlabel="minutes of training", ylabel="test accuracy, %", ylim=(None, 100))
    axes.legend(loc="lower right", fontsize=8)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight", format="png")


def write_report(path: str, case_name: str, rows: list[dict]) -> None:
    """Writes a case's table and plot into a Markdown file, between marks or at the end."""
    png = os.path.join(os.path.dirname(path), f"{case_name}.png")
    plot(rows, png)
    write_marked(path, case_name, f"{table(rows)}\n\n![{case_name}]({os.path.basename(png)})")
