"""Runs a program of tfkd in this process, which saves starting TensorFlow."""

import contextlib
import io
import types
import warnings

from absl import flags
from absl.testing import flagsaver


def run(program, *typed, status=0):
    """Runs a program by its flags and checks its exit status; returns what it printed."""
    out, err = io.StringIO(), io.StringIO()
    ended = 0
    # At its end, flags that the program has defined are gone again.
    with flagsaver.flagsaver(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        program.define_flags()
        flags.FLAGS(["program", *map(str, typed)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                program.main(["program"])
            except SystemExit as end:
                ended = end.code
    done = types.SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue())
    assert ended == status, done.stdout + done.stderr
    return done
