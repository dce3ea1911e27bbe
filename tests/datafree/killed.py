"""A run that kills itself: python -m tests.datafree.killed RECIPE TEACHER_FILE BACKUP_FOLDER STEP."""

import os
import signal
import sys

import keras

import tfkd
from tests.datafree.recipes import RECIPES, make

EPOCHS = 4


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


def run(teacher, name, callbacks, seed=1):
    distiller = make(teacher, RECIPES[name], seed)
    distiller.fit(epochs=EPOCHS, steps_per_epoch=2, verbose=0, callbacks=callbacks)
    return distiller


if __name__ == "__main__":
    name, teacher_file, folder, step = sys.argv[1:]
    run(tfkd.load_teacher(teacher_file), name, [backup(folder), KillAt(int(step))])
