"""Messages about files, which quote others no longer than a person reads."""

LONGEST_MESSAGE = 600
_LEAST_REASON = 60


class RefusedFile(ValueError):
    """A file that is not opened, or not as it stands."""


def refusal(what: str, reason: object, remedy: str = "") -> RefusedFile:
    """An error of one line about a file, of at most `LONGEST_MESSAGE` characters.

    Args:
        what: the argument and the file.
        reason: what is wrong; an exception of another package is cut where it is long.
        remedy: a sentence or two for the end, which stay whole.

    Example:
        >>> raise refusal("`source`: 'a.keras'", error, "Save it again.")
    """
    left = LONGEST_MESSAGE - len(what) - len(remedy) - 4
    reason = _cut(" ".join(str(reason).split()), max(left, _LEAST_REASON))
    return RefusedFile(f"{what} {reason} {remedy}".strip())


def _cut(text, length):
    if len(text) <= length:
        return text
    return f"{text[: length - 4].rstrip()} ..."
