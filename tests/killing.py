"""Runs that kill themselves, to be resumed: modules serve them in processes of their own."""

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import keras

ROOT = pathlib.Path(__file__).parents[1]


class KillAt(keras.callbacks.Callback):
    """Ends the process, as a power cut would, after so many steps."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


def serve(run: Callable) -> None:
    """Answers each line of JSON on the input, the arguments of a run, with the signal that ended it, or 0.

    TensorFlow is loaded once; each run is a fork of the process made before it does anything.
    """
    for line in sys.stdin:
        child = os.fork()
        if not child:
            run(*json.loads(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, flush=True)


def killer_of(module: str) -> Iterator[Callable[..., int]]:
    """Starts a module that serves; yields a function of a run's arguments that returns what ended it."""
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    def kill(*request):
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    yield kill
    process.stdin.close()
    process.wait()
