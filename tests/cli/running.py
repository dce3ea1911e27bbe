"""Runs a program of tfkd in this process, which saves starting TensorFlow."""

import contextlib
import io
import signal
import subprocess
import sys
import time
import types

from absl.testing import flagsaver


def run(program, *typed, status=0):
    """Runs a program by its flags and checks its exit status; returns what it printed."""
    out, err = io.StringIO(), io.StringIO()
    # At its end, flags that the program has defined are gone again.
    with flagsaver.flagsaver(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        ended = program.run([program.name, *map(str, typed)])
    done = types.SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue())
    assert ended == status, done.stdout + done.stderr
    return done


def kill_once_there(state, program, *typed):
    """Starts a program's module in a process of its own, and kills it as soon as a file is there."""
    kill_command_once_there(state, [sys.executable, "-m", program, *typed])


def kill_command_once_there(state, command, environment=None):
    """Starts a process, and kills it as soon as a file is there."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.time() + 120
    while not state.exists() and time.time() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert state.exists()
