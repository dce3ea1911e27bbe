"""How the dataclass of a recipe refuses values that are out of range."""

import math
import numbers


class CheckedFields:
    """Checks of fields by name; each raises a `ValueError` with the field, its range and its value."""

    def _at_least(self, least, *fields):
        for field in fields:
            value = getattr(self, field)
            if not isinstance(value, numbers.Integral) or value < least:
                self._refuse(field, f"an integer of at least {least}")

    def _in_range(self, low, high, *fields):
        for field in fields:
            if not low <= getattr(self, field) <= high:
                self._refuse(field, f"at least {low}" if high == math.inf else f"between {low} and {high}")

    def _above_0(self, *fields):
        for field in fields:
            if not getattr(self, field) > 0:
                self._refuse(field, "above 0")

    def _refuse(self, field, expected):
        raise ValueError(
            f"{type(self).__name__}: `{field}` must be {expected}. "
            f"Received: {field}={getattr(self, field)!r}."
        )
