"""Thirty steps of every recipe and scheme go as they went.

`make golden` (`python -m tests.golden.write [NAME ...]`) rewrites the curves; CONTRIBUTING.md says when.
"""

import numpy as np
import pytest

from tests.golden import curves
from tfkd.datafree import known_recipes

EVERY = [(kind, name) for kind, (names, _) in curves.KINDS.items() for name in names]
RTOL = 1e-3
# Answers of some 80 in an epoch, or of 64 at the end, that may be other ones: those near a tie.
ANSWERS = 1 / 64
# What may become of a difference that rounding makes and selection enlarges.
LATER_RTOL, LATER_ANSWERS = 0.6, 0.2


@pytest.mark.parametrize("kind", curves.KINDS)
def test_all_have_a_curve(kind):
    names, _ = curves.KINDS[kind]
    assert [*curves.kept(kind)] == names, "Write what is missing by `python -m tests.golden.write NAME`."


def test_every_recipe_is_among_them():
    assert {*known_recipes().values()} <= {type(recipe) for recipe in curves.RECIPES.values()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "name"), EVERY, ids=[name for _, name in EVERY])
def test_thirty_steps_go_as_they_went(kind, name):
    _, run = curves.KINDS[kind]
    expected, found = curves.kept(kind)[name], run(name)
    assert found.keys() == expected.keys()
    firm = curves.FIRM_EPOCHS.get(name, len(expected["loss"]))
    # What is nearly learned is rounded relative to what it began with.
    rest = 1e-6 * max(expected["loss"])
    for part, rtol, answers in (
        (slice(firm), RTOL, ANSWERS),
        (slice(firm, None), LATER_RTOL, LATER_ANSWERS),
    ):
        for figure, tolerance in (("loss", (rtol, rest)), ("agreement", (0, answers))):
            np.testing.assert_allclose(
                found[figure][part], expected[figure][part], *tolerance, err_msg=figure
            )
