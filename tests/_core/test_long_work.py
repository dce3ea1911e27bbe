"""Work that takes longer than three seconds, here a tenth: in a terminal, in a file, and not at all."""

import contextlib
import os
import pty
import re
import time

import keras
import pytest
import tensorflow as tf

import tfkd
from tests.conftest import blobs
from tfkd._core import progress


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS", 0.1)
    monkeypatch.setattr(progress, "_BETWEEN_LINES", 0.1)


@contextlib.contextmanager
def terminal(monkeypatch):
    """Standard output that is a terminal; yields a function that returns what it got."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with open(theirs, "w", closefd=False) as file, contextlib.redirect_stdout(file):
        yield lambda: os.read(ours, 100_000).decode()
    os.close(theirs)
    os.close(ours)


def long_work(verbose, seconds=0.5):
    with progress.showing(verbose), progress.work("baking", total=4) as done:
        for _ in range(2):
            done()
        time.sleep(seconds)
        done()


def test_in_a_terminal_it_moves_and_is_gone(monkeypatch):
    with terminal(monkeypatch) as written:
        long_work(verbose=1)
        seen = written()
    assert re.search(r"baking .*━.* 2/4 0:00:0\d", re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", seen))
    # The line is erased, the cursor is seen again, and a line of its own says how long it took.
    assert seen.rindex("\x1b[2K") > seen.rindex("2/4") and seen.rindex("\x1b[?25h") > seen.rindex(
        "\x1b[?25l"
    )
    assert re.search(r"baking: \d s\r\n", seen)


@pytest.mark.parametrize("verbose", [1, 2])
def test_in_a_file_there_are_lines(tmp_path, verbose):
    with open(tmp_path / "log", "w") as file, contextlib.redirect_stdout(file):
        long_work(verbose)
    first, *_, last = (tmp_path / "log").read_text().splitlines()
    assert first == "baking ... 0 s, 2 of 4" and re.fullmatch(r"baking: \d s", last)
    assert "\x1b" not in (tmp_path / "log").read_text()


def test_lines_in_a_terminal_that_asked_for_lines(monkeypatch):
    with terminal(monkeypatch) as written:
        long_work(verbose=2)
        assert written().startswith("baking ... 0 s, 2 of 4\r\n")


def test_what_is_not_asked_for_or_short_is_not_shown(capsys):
    long_work(verbose=0)
    long_work(verbose=2, seconds=0)
    time.sleep(0.2)
    assert capsys.readouterr() == ("", "")


def test_without_a_run_it_is_shown_as_keras_shows_bars(capsys):
    keras.config.disable_interactive_logging()
    try:
        with progress.work("baking"):
            time.sleep(0.2)
        assert capsys.readouterr().out == ""
    finally:
        keras.config.enable_interactive_logging()
    with progress.work("baking"):
        time.sleep(0.2)
    assert capsys.readouterr().out.startswith("baking ... 0 s\nbaking")


def test_an_error_ends_it(capsys):
    with pytest.raises(ValueError, match="burnt"), progress.work("baking"):
        raise ValueError("burnt")
    time.sleep(0.2)
    assert capsys.readouterr().out == ""


def test_what_the_library_does_for_long_is_shown(trained, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    x, model = blobs(64)[0], tfkd.load_teacher(trained)
    tfkd.export.export_tflite(model, None, "int8", x)
    tfkd.cache_teacher(tf.data.Dataset.from_tensor_slices(x).batch(8), model)
    shown = set(re.findall(r"^(.*?)(?: \.\.\. |: )\d+ s", capsys.readouterr().out, re.M))
    assert {
        "loading the network",
        "converting 'trained' to TFLite, int8",
        "comparing the file with the model",
        "running the teacher on the data set",
    } <= shown
