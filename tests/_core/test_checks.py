import numpy as np
import pytest

from tfkd._core.checks import check_choice, check_int, check_number


def test_what_is_right_comes_back():
    assert check_int("k", np.int64(3)) == 3 and type(check_int("k", np.int64(3))) is int
    assert check_int("k", 0, least=0) == 0 and check_int("k", 9, 1, 9) == 9
    assert check_number("x", 0.0, least=0) == 0 and check_number("x", np.float32(1), least=0, most=1) == 1
    assert check_number("x", -5) == -5
    assert check_choice("way", "up", ("up", "down")) == "up"


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_int("k", 0), r"`k` must be an integer of at least 1\. Received: k=0\."),
        (lambda: check_int("k", 1.0), r"an integer of at least 1\. Received: k=1\.0\."),
        (lambda: check_int("k", True), r"an integer of at least 1\. Received: k=True\."),
        (lambda: check_int("k", "1"), r"an integer of at least 1\. Received: k='1'\."),
        (lambda: check_int("k", 10, 0, 9), r"an integer from 0 to 9\. Received: k=10\."),
        (lambda: check_int("k", None, remedy="Count them."), r"Received: k=None\. Count them\.$"),
        (lambda: check_number("x", 0, above=0), r"`x` must be above 0 and finite\. Received: x=0\."),
        (lambda: check_number("x", -1, least=0), r"at least 0 and finite\. Received: x=-1\."),
        (lambda: check_number("x", 1, above=0, below=1), r"above 0 and below 1\. Received: x=1\."),
        (lambda: check_number("x", 1, least=0, below=1), r"at least 0 and below 1\. Received: x=1\."),
        (lambda: check_number("x", 0, above=0, most=1), r"above 0 and at most 1\. Received: x=0\."),
        (lambda: check_number("x", 2, least=0, most=1), r"between 0 and 1\. Received: x=2\."),
        (lambda: check_number("x", 2, below=1), r"below 1 and finite\. Received: x=2\."),
        (lambda: check_number("x", float("nan"), above=0), r"Received: x=nan\."),
        (lambda: check_number("x", float("inf"), above=0), r"Received: x=inf\."),
        (lambda: check_number("x", "1"), r"`x` must be a number and finite\. Received: x='1'\."),
        (lambda: check_number("x", False, least=0), r"Received: x=False\."),
        (lambda: check_number("x", 3, most=1, remedy="It is a share."), r"x=3\. It is a share\.$"),
        (lambda: check_choice("way", "left", ("up", "down")), r"`way` must be one of 'up', 'down'\. Rec"),
    ],
)
def test_what_is_wrong_is_named(check, message):
    with pytest.raises(ValueError, match=message):
        check()
