"""Runs a program of tfkd in this process, which saves starting TensorFlow."""

import contextlib
import io
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
