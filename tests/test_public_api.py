"""What is public is so on purpose: `__all__` everywhere, checked against api.txt."""

import pathlib
import warnings

import pytest

from tests import public_api

WRITTEN = pathlib.Path(__file__).parents[1] / "api.txt"
PACKAGES = public_api.packages()


def test_public_names_are_those_written_down():
    """`make api` regenerates the list; a name that is gone from it is a change users notice."""
    assert sorted(set(public_api.names())) == WRITTEN.read_text().split()


@pytest.mark.parametrize("name", PACKAGES)
def test_nothing_is_public_by_accident(name):
    package = PACKAGES[name]
    # Programs are run, not imported from.
    visible = {each for each in dir(package) if not each.startswith("_")} - {"cli"}
    # A module shows what it imports; packages import from their own private modules only.
    assert not hasattr(package, "__path__") or visible == set(package.__all__)
    with warnings.catch_warnings():
        # Old names warn when they are asked for, and are not among these.
        warnings.simplefilter("error")
        assert all(getattr(package, each) is not None for each in package.__all__)
        assert sorted(set(package.__all__)) == sorted(package.__all__)


@pytest.mark.parametrize("name", PACKAGES)
def test_public_things_say_what_they_are(name):
    package = PACKAGES[name]
    assert package.__doc__
    things = {each: getattr(package, each) for each in package.__all__}
    assert [each for each, thing in things.items() if callable(thing) and not thing.__doc__] == []
