"""Contracts are lists of clauses; each is checked separately and fails with one sentence."""

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

import numpy as np

from tfkd._core.names import lookup

Subject = TypeVar("Subject")


def check_clauses(
    name: str,
    subject: Subject,
    clauses: Mapping[str, Callable[[Subject], None]],
    leave_out: Collection[str] = (),
) -> None:
    """Checks clauses one after another.

    Args:
        name: name of the subject in messages.
        subject: the object to check.
        clauses: checks of the subject, by name.
        leave_out: names of clauses to skip.

    Raises:
        AssertionError: at the first clause that fails or raises an error.
        ValueError: if a name to skip is not a clause.
    """
    for clause in leave_out:
        lookup(clauses, clause, "clause")
    for clause, check in clauses.items():
        if clause in leave_out:
            continue
        try:
            check(subject)
        except AssertionError as error:
            raise AssertionError(f"{name} fails {clause!r}: {error}") from error
        except Exception as error:
            raise AssertionError(f"{name} fails {clause!r}: {type(error).__name__}: {error}") from error


def expect(condition: bool, sentence: str) -> None:
    """Raises an AssertionError with the sentence, unless the condition holds."""
    if not condition:
        raise AssertionError(sentence)


def expect_close(received, expected, sentence: str, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Raises an AssertionError unless two arrays have the same shape and nearly equal values."""
    received, expected = np.asarray(received), np.asarray(expected)
    same = received.shape == expected.shape and np.allclose(received, expected, rtol, atol)
    expect(same, f"{sentence} Expected: {_short(expected)}. Received: {_short(received)}.")


def _short(values):
    text = np.array2string(values, precision=6, threshold=8, edgeitems=2).replace("\n", "")
    return f"{text} of shape {values.shape}" if values.size > 8 else text
