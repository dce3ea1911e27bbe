"""Runs lines of Python as doctest does, and compares what is shown with what comes out."""

import contextlib
import doctest
import io
import re
from typing import Any

import numpy as np

_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# A list of numbers in a remark at the end of a line: `# [2.5]`, `# [0.4387...]`.
_REMARK = re.compile(r"# (\[.*\])$")

_FRACTION = re.compile(r"\d+\.\d+(e[+-]?\d+)?")


def run_session(text: str, names: dict[str, Any], any_fractions: bool = False) -> None:
    """Runs what stands after `>>>`; shown output must be that, and numbers in a remark the result.

    A result of which nothing is shown may be anything.

    Args:
        text: lines as of a Python session.
        names: what the code has at its beginning; takes up what it defines.
        any_fractions: whether numbers with a decimal point may be others than those shown.

    Raises:
        AssertionError: if something else comes out.
    """
    for example in doctest.DocTestParser().get_examples(text):
        result, printed = _run(example.source, names)
        if example.want:
            got = printed if result is None else f"{result!r}\n"
            shown, come = example.want, got
            if any_fractions:
                shown, come = (_FRACTION.sub("0.0", text) for text in (shown, come))
            matches = doctest.OutputChecker().check_output(shown, come, _FLAGS)
            assert matches, f"{example.source}shown:\n{example.want}came:\n{got}"
        if remark := _REMARK.search(example.source.rstrip()):
            shown = eval(remark[1].replace("...", ""))
            # Digits that are left out count for less than this.
            np.testing.assert_allclose(result, shown, rtol=5e-3, err_msg=example.source)


def _run(source, names):
    """The result of an expression and what was printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            code = compile(source, "<example>", "eval")
        except SyntaxError:
            exec(compile(source, "<example>", "exec"), names)
            return None, printed.getvalue()
        return eval(code, names), printed.getvalue()
