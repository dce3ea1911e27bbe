"""What C++ code prints is not seen; what Python prints is, and errors are."""

import os
import subprocess
import sys
import threading
import warnings

import pytest
from absl import logging

from tfkd._core import quiet


def test_only_foreign_output_is_kept_back(capfd):
    os.write(2, b"before\n")
    with quiet.foreign_output():
        os.write(2, b"noise\n")
        print("from Python", file=sys.stderr)
        with quiet.foreign_output():
            os.write(2, b"more noise\n")
        os.write(2, b"still noise\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nfrom Python\nafter\n"


def test_an_error_brings_what_was_written_along(capfd):
    with pytest.raises(RuntimeError) as error, quiet.foreign_output():
        os.write(2, b"x" * 5000 + b"LLVM ERROR: the reason\n")
        raise RuntimeError("no such operation")
    assert str(error.value) == "no such operation"
    (note,) = error.value.__notes__
    assert note.endswith("LLVM ERROR: the reason") and len(note) < 2100
    assert capfd.readouterr().err == ""
    with pytest.raises(RuntimeError) as error, quiet.foreign_output():
        raise RuntimeError("nothing was written")
    assert not hasattr(error.value, "__notes__")


def test_a_higher_verbosity_shows_everything(capfd):
    before = logging.get_verbosity()
    logging.set_verbosity(logging.INFO)
    try:
        with quiet.foreign_output():
            os.write(2, b"noise\n")
    finally:
        logging.set_verbosity(before)
    assert capfd.readouterr().err == "noise\n"


def test_threads_leave_in_any_order(capfd):
    entered, leave = threading.Barrier(3), [threading.Event(), threading.Event()]

    def work(event):
        with quiet.foreign_output():
            entered.wait()
            event.wait()
            os.write(2, b"noise\n")

    threads = [threading.Thread(target=work, args=(event,)) for event in leave]
    for thread in threads:
        thread.start()
    entered.wait()
    for thread, event in zip(threads, leave, strict=True):
        os.write(2, b"noise\n")
        event.set()
        thread.join()
    os.write(2, b"seen\n")
    assert capfd.readouterr().err == "seen\n"


def program(code, **streams):
    """What a program of its own does, which imports `quiet` and nothing that prints."""
    code = f"import os, sys, warnings; from tfkd._core import quiet; {code}"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, "-c", code],
        text=True,
        capture_output=True,
        timeout=120,
        env=environment,
        **streams,
    )


def test_python_writes_to_the_real_standard_error():
    done = program(
        "print('first', file=sys.stderr, end='')\n"
        "stderr = sys.stderr\n"
        "with quiet.foreign_output():\n"
        "    os.write(2, b'noise')\n"
        "    warnings.warn('from Python')\n"
        "assert sys.stderr is stderr\n"
        "print('last', file=sys.stderr)"
    )
    assert done.returncode == 0 and "noise" not in done.stderr
    assert "first<string>:5: UserWarning: from Python\n" in done.stderr and done.stderr.endswith("last\n")


def test_without_a_standard_error():
    done = program(
        "os.close(2)\n"
        "with quiet.foreign_output():\n"
        "    print('inside')\n"
        "sys.stderr = None\n"
        "with quiet.foreign_output():\n"
        "    print('again')"
    )
    assert done.stdout == "inside\nagain\n"


def test_whoever_replaces_standard_error_within_keeps_it(monkeypatch):
    other = object()
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    with quiet.foreign_output():
        sys.stderr = other
    assert sys.stderr is other


def test_a_warning_made_an_error_leaves_the_streams_as_they_were(capfd):
    with warnings.catch_warnings(), pytest.raises(UserWarning):
        warnings.simplefilter("error")
        with quiet.foreign_output():
            warnings.warn("refused", stacklevel=1)
    os.write(2, b"seen\n")
    assert capfd.readouterr().err == "seen\n"


def test_whoever_keeps_standard_error_writes_to_what_stands_there_later(tmp_path):
    """As a handler of logging does that is made meanwhile."""
    script = """
import os, sys
from tfkd._core import quiet
with quiet.foreign_output():
    kept = sys.stderr
    os.write(2, b"hidden\\n")
    print("seen inside", file=kept)
files = [open(os.path.join(sys.argv[1], str(n)), "w") for n in range(4)]
print("seen later", file=kept)
with quiet.foreign_output():
    print("seen again", file=kept)
for file in files:
    file.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith(("seen", "hidden"))]
    assert lines == ["seen inside", "seen later", "seen again"]
    assert all(not path.read_text() for path in tmp_path.iterdir())
