"""Short messages about files, which shorten those of other packages that they quote."""

import re

LONGEST_MESSAGE = 600
_LEAST_REASON = 60
# From here on, a Keras message is meant for the author of the class.
_ENDS = re.compile(
    r"\s*(?:Please ensure that components|Full object config|Arguments received by|config=\{|using config=)"
)


class RefusedFile(ValueError):
    """Raised for a file that is rejected."""


def refusal(what: str, reason: object, remedy: str = "") -> RefusedFile:
    """A one-line error about a file, of at most `LONGEST_MESSAGE` characters.

    Args:
        what: the argument and the file.
        reason: what is wrong; a long exception of another package is cut short.
        remedy: a sentence or two for the end, never cut.

    Example:
        >>> raise refusal("`source`: 'a.keras'", error, "Save it again.")
    """
    left = LONGEST_MESSAGE - len(what) - len(remedy) - 4
    reason = _cut(in_one_line(reason), max(left, _LEAST_REASON))
    return RefusedFile(f"{what} {reason} {remedy}".strip())


def in_one_line(reason: object) -> str:
    """Another package's message in one line, without colours and the configurations that Keras repeats."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(reason))
    text = "".join(each if each.isprintable() else " " for each in text)
    # When Keras wraps an error in others, the original comes last.
    start, _, cause = text.rpartition("Exception encountered: ")
    if cause and start:
        text = f"{_ENDS.split(start)[0].rstrip('.')}: {cause}"
    return " ".join(_ENDS.split(text)[0].split())


def _cut(text, length):
    if len(text) <= length:
        return text
    return f"{text[: length - 4].rstrip()} ..."
