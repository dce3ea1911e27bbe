"""Which errors are bad input, and what signals do."""

import os
import signal

import keras
import numpy as np
import pytest

from tfkd._core import checks
from tfkd.cli._endings import Interruptions, status_of
from tfkd.pipelines import recipe_named


def raised(function, *arguments):
    with pytest.raises(Exception) as error:
        function(*arguments)
    return error.value


def not_finite():
    raise FloatingPointError("the loss was no longer finite")


def interrupted_library():
    raise RuntimeError("deep inside")


@pytest.mark.parametrize(
    ("status", "function", "arguments"),
    [
        (2, checks.check_int, ("epochs", -1)),
        (2, recipe_named, ("procedurel",)),
        (2, open, ("/nowhere/file",)),
        (2, os.makedirs, ("/proc/nowhere",)),
        (3, not_finite, ()),
        # The same types from inside of libraries are no advice to anybody.
        (1, np.zeros, (-1,)),
        (1, keras.ops.reshape, (np.zeros(3), (2, 2))),
        (1, np.concatenate, ([np.zeros(3), np.zeros((2, 2))],)),
        (1, interrupted_library, ()),
        (1, {}.__getitem__, ("missing",)),
    ],
)
def test_exit_statuses_of_errors(status, function, arguments):
    assert status_of(raised(function, *arguments)) == status


def test_what_is_not_done_yet_is_no_bad_input():
    with pytest.raises(NotImplementedError) as error:
        exec("raise NotImplementedError", {"__name__": "tfkd.losses"})
    assert status_of(error.value) == 1
    with pytest.raises(RuntimeError) as error:
        exec("raise RuntimeError('no such operator')", {"__name__": "tfkd.export"})
    assert status_of(error.value) == 2
    # A package that only begins like ours.
    with pytest.raises(ValueError) as error:
        exec("raise ValueError", {"__name__": "tfkdlike.export"})
    assert status_of(error.value) == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_interrupts_and_the_next_one_ends(number, status):
    # Who started the tests may have it ignored.
    original = signal.signal(number, signal.SIG_DFL)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), Interruptions() as interruptions:
        os.kill(os.getpid(), number)
        signal.pause()
    assert (interruptions.number, interruptions.status) == (number, status)
    assert signal.getsignal(number) is before
    with pytest.raises(KeyboardInterrupt), Interruptions():
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        finally:
            assert signal.getsignal(number) == signal.SIG_DFL
    signal.signal(number, original)


def test_what_is_to_be_ignored_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Interruptions() as interruptions:
            os.kill(os.getpid(), signal.SIGTERM)
        assert interruptions.number is None
    finally:
        signal.signal(signal.SIGTERM, before)
