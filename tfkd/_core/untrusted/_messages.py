"""Messages about files, which quote others no longer than a person reads."""

import re

LONGEST_MESSAGE = 600
_LEAST_REASON = 60
# What Keras says from here on is for whoever wrote the class.
_ENDS = re.compile(
    r"\s*(?:Please ensure that components|Full object config|Arguments received by|config=\{|using config=)"
)


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
    reason = _cut(in_one_line(reason), max(left, _LEAST_REASON))
    return RefusedFile(f"{what} {reason} {remedy}".strip())


def in_one_line(reason: object) -> str:
    """What another package says, without colours, lines, and the configurations that Keras repeats."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(reason))
    text = "".join(each if each.isprintable() else " " for each in text)
    # Where Keras wraps an error in others, the first one stands last.
    start, _, cause = text.rpartition("Exception encountered: ")
    if cause and start:
        text = f"{_ENDS.split(start)[0].rstrip('.')}: {cause}"
    return " ".join(_ENDS.split(text)[0].split())


def _cut(text, length):
    if len(text) <= length:
        return text
    return f"{text[: length - 4].rstrip()} ..."
