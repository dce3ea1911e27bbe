"""Budget and Cost: limits on a student's cost, and its actual cost."""

import dataclasses
import math

from tfkd._core.checks import check_choice, check_int, check_number

# Kinds of TFLite files that can be timed for a budget.
TIMED = ("float32", "int8")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of a network.

    Attributes:
        parameters: number of parameters.
        flops: floating-point operations for one input; None if not counted.
        milliseconds: median time of its TFLite file for one input on one thread; None if not measured.
    """

    parameters: int
    flops: int | None = None
    milliseconds: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits on a student's cost; None means no limit.

    Args:
        parameters: maximum number of parameters, at least 1.
        flops: maximum floating-point operations for one input, at least 1; a multiply-add counts as 2.
        milliseconds: maximum median time, above 0, of its TFLite file for one input on this machine, on one
            thread. None for no limit and no timing; `math.inf` for no limit, but with timing.
        quantization: kind of that file, "float32" or "int8".

    Raises:
        ValueError: if a value is out of its range.

    Example:
        >>> tfkd.searching.Budget(parameters=20_000, milliseconds=0.5, quantization="int8")
    """

    parameters: int | None = None
    flops: int | None = None
    milliseconds: float | None = None
    quantization: str = "float32"

    def __post_init__(self) -> None:
        for name in ("parameters", "flops"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name))
        if self.milliseconds not in (None, math.inf):
            check_number("milliseconds", self.milliseconds, above=0)
        check_choice("quantization", self.quantization, TIMED)

    @property
    def is_timed(self) -> bool:
        """Whether students are timed."""
        return self.milliseconds is not None

    def exceeded(self, cost: Cost) -> list[str]:
        """The names of the limits that a cost exceeds; unmeasured quantities exceed none."""
        pairs = ((name, getattr(cost, name), getattr(self, name)) for name in QUANTITIES)
        return [name for name, value, limit in pairs if None not in (value, limit) and value > limit]

    def describe(self) -> str:
        """The limits in words."""
        limits = {name: getattr(self, name) for name in QUANTITIES}
        limited = [as_text(name, limit) for name, limit in limits.items() if limit not in (None, math.inf)]
        return " and ".join(limited) or "anything"

    @property
    def main_quantity(self) -> str:
        """The quantity to plot accuracy against: time if measured, otherwise the limited quantity."""
        if self.is_timed:
            return "milliseconds"
        return "parameters" if self.flops is None else "flops"


QUANTITIES = tuple(field.name for field in dataclasses.fields(Cost))
UNITS = {"parameters": "parameters", "flops": "FLOPs", "milliseconds": "ms"}


def as_text(quantity: str, value: float | None) -> str:
    """A figure with its unit, such as "12,345 parameters"."""
    return f"{number_text(value)} {UNITS[quantity]}"


def number_text(value: float | None) -> str:
    """A figure formatted for tables; "-" for none."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
