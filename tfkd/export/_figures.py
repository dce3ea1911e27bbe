"""How reports write figures."""

from typing import Any


def percent(value: float | None, digits: int = 2) -> str:
    """A share of 1 as a percentage."""
    return "not measured" if value is None else f"{value * 100:.{digits}f} %"


def size(value: int | None) -> str:
    """Bytes as KiB."""
    return "-" if value is None else f"{value / 1024:.1f} KiB"


def seconds(value: float) -> str:
    """A time as minutes and seconds."""
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{value:.1f} s"


def score_name(entry: dict) -> str:
    """What the main figure of a network or file on real data is called: of its "scores", the first.

    Args:
        entry: a dictionary with "accuracy" and maybe "scores", such as a network's in `metrics.json`.
    """
    return next(iter(entry.get("scores") or {"accuracy": None})).replace("_", " ")


def score(entry: dict) -> float | None:
    """That figure; None if nothing was measured."""
    return next(iter((entry.get("scores") or {"accuracy": entry["accuracy"]}).values()))


def score_text(entry: dict) -> str:
    """That figure: a percentage if it is an accuracy, else a number."""
    value = score(entry)
    return percent(value) if value is None or score_name(entry) == "accuracy" else f"{value:.4g}"


def template_environment() -> Any:
    """Jinja's environment with the templates of this package and how they write figures."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfkd.export", ""), autoescape=True, trim_blocks=True
    )
    filters = {"percent": percent, "size": size, "seconds": seconds}
    environment.filters.update(filters, score=score_text, score_name=score_name)
    return environment
