"""Runs a program of tfkd in this process, which saves starting TensorFlow."""

import contextlib
import io
import types
import warnings

from absl.testing import flagsaver


def run(module, *flags, status=0):
    """Runs a program by its flags and checks its exit status; returns what it printed."""
    out, err = io.StringIO(), io.StringIO()
    ended = 0
    with flagsaver.flagsaver(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        module.FLAGS.unparse_flags()
        module.FLAGS(["program", *flags])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                module.main(["program"])
            except SystemExit as end:
                ended = end.code
    done = types.SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue())
    assert ended == status, done.stdout + done.stderr
    return done
