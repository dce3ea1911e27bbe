"""Formats figures for reports."""

from collections.abc import Sequence

# The tolerated difference between LiteRT's two ways to run a file, as a fraction of the outputs' range.
_COMPILED_ROUNDING = 0.02


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction as a percentage."""
    return "not measured" if value is None else f"{value * 100:.{digits}f} %"


def size(value: int | None) -> str:
    """Bytes as KiB."""
    return "-" if value is None else f"{value / 1024:.1f} KiB"


def seconds(value: float) -> str:
    """A time as minutes and seconds."""
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{value:.1f} s"


def score_name(entry: dict) -> str:
    """The name of the main figure of a network or file on real data: the first of its "scores".

    Args:
        entry: a dictionary with "accuracy" and optionally "scores", such as a network's in `metrics.json`.
    """
    return next(iter(entry.get("scores") or {"accuracy": None})).replace("_", " ")


def score(entry: dict) -> float | None:
    """The main figure; None if nothing was measured."""
    return next(iter((entry.get("scores") or {"accuracy": entry["accuracy"]}).values()))


def score_text(entry: dict) -> str:
    """The main figure as text: a percentage if it is an accuracy, otherwise a number."""
    value = score(entry)
    return percent(value) if value is None or score_name(entry) == "accuracy" else f"{value:.4g}"


def compiled(rows: Sequence[dict]) -> str:
    """A sentence on whether LiteRT's `CompiledModel` matches its interpreter; empty if it is not known.

    Args:
        rows: files, with the fields of a `TFLiteCheck`; earlier versions may lack some.
    """
    known = [row for row in rows if row.get("compiled_difference") is not None]
    if not known:
        return ""
    # NaN counts as a difference too.
    other = [row for row in known if not row["compiled_difference"] <= _COMPILED_ROUNDING]
    if not other:
        return "LiteRT's CompiledModel, which newer apps use, gives the same outputs as the interpreter."
    worst = max(other, key=lambda row: row["compiled_difference"])
    names = ", ".join(f"{row.get('name') or row.get('model')}, {row['quantization']}" for row in other)
    return (
        f"Attention: LiteRT's CompiledModel gives different outputs than the interpreter for {names}, by "
        f"up to {percent(worst['compiled_difference'])} of the range of outputs. Test such a file in the "
        "app that will run it."
    )
