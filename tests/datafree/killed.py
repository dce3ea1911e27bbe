"""Runs that kill themselves: python -m tests.datafree.killed, then a line of JSON for each on its input.

TensorFlow is loaded once; each run is a fork of the process made before it does anything.
"""

import json
import os
import signal
import sys

import keras

import tfkd
from tests.datafree.recipes import RECIPES, make

EPOCHS = 3


class KillAt(keras.callbacks.Callback):
    """Ends the process, as a power cut would, after so many steps."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


def backup(folder):
    return keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)


def run(teacher, name, callbacks):
    """A whole run; returns the distiller."""
    distiller = make(teacher, RECIPES[name])
    distiller.fit(epochs=EPOCHS, steps_per_epoch=2, verbose=0, callbacks=callbacks)
    return distiller


def main():
    """Answers each line with the signal that ended its run, or 0."""
    for line in sys.stdin:
        name, teacher_file, folder, step = json.loads(line)
        child = os.fork()
        if not child:
            run(tfkd.load_teacher(teacher_file), name, [backup(folder), KillAt(step)])
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, flush=True)


if __name__ == "__main__":
    main()
