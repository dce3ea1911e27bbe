"""Schemes that kill themselves: python -m tests.schemes.killed, then a line of JSON for each on its input.

TensorFlow is loaded once; each run is a fork of the process made before it does anything.
"""

import json
import os
import signal
import sys

import keras

import tfkd
from tests.conftest import blobs
from tests.schemes.cases import Ran, Setting
from tests.schemes.registry import CASES


class KillAt(keras.callbacks.Callback):
    """Ends the process, as a power cut would, after so many steps."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


def run(name: str, teacher: keras.Model, **options) -> Ran:
    """A run of a scheme on 48 images, three steps an epoch."""
    keras.utils.set_random_seed(11)
    x, y = blobs(48)
    return CASES[name].run(Setting(teacher, x, y, **options))


def main():
    """Answers each line with the signal that ended its run, or 0."""
    for line in sys.stdin:
        name, teacher_file, folder, step = json.loads(line)
        child = os.fork()
        if not child:
            run(name, tfkd.load_teacher(teacher_file), folder=folder, callbacks=[KillAt(step)])
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, flush=True)


if __name__ == "__main__":
    main()
