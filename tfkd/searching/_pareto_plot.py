"""The plot of a search: objective of students against cost."""

import io
from collections.abc import Sequence
from typing import Any

from tfkd.searching._budget import Budget
from tfkd.searching._space import point_text

_DPI = 110
_TRIAL, _FRONT, _TEACHER = "#8fb8d8", "#2a78b5", "#4c566a"
_AXES = {"parameters": "parameters", "flops": "FLOPs", "milliseconds": "TFLite milliseconds"}


def draw(
    trials: Sequence[Any], front: Sequence[Any], teacher: Any, quantity: str, objective: str, budget: Budget
) -> bytes:
    """A PNG of all trials, with the Pareto front as a line and a list of its points.

    Args:
        trials: trials with an objective.
        front: trials on the front, cheapest first.
        teacher: the teacher's figures, or None.
        quantity: the quantity on the x axis.
        objective: name of the objective.
        budget: the budget; its limit is drawn if there is one.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullFormatter
    except ImportError as error:
        raise ImportError(f"Pictures need {error.name}: pip install 'tfkd[report]'.") from error
    # The object interface: no global state and no window, whatever the user's backend.
    figure = Figure(figsize=(9.5, 4.6), layout="constrained")
    axis = figure.subplots()
    axis.scatter(*_coordinates(trials, quantity), color=_TRIAL, s=30, label="trials", zorder=2)
    axis.plot(*_coordinates(front, quantity), color=_FRONT, marker="o", label="Pareto front", zorder=3)
    if teacher is not None and getattr(teacher, quantity) is not None and teacher.objective is not None:
        axis.scatter(*_coordinates([teacher], quantity), color=_TEACHER, marker="*", s=90, label="teacher")
    limit = getattr(budget, quantity)
    if limit not in (None, float("inf")):
        axis.axvline(limit, color=_TEACHER, linestyle="--", linewidth=1, label="budget")
    for number, trial in enumerate(front, start=1):
        place = (getattr(trial, quantity), trial.objective)
        axis.annotate(
            str(number), place, xytext=(-4, 4), textcoords="offset points", fontsize=8, ha="right"
        )
        # In the legend, since points of a front lie close together.
        axis.plot([], [], " ", label=f"{number}: {point_text(trial.point)}")
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.margins(x=0.08, y=0.1)
    axis.set_xlabel(
        f"{_AXES[quantity]}" + (f" ({budget.quantization})" if quantity == "milliseconds" else "")
    )
    axis.set_ylabel(objective.replace("_", " "))
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def _coordinates(trials, quantity):
    return [getattr(trial, quantity) for trial in trials], [trial.objective for trial in trials]
