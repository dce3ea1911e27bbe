"""Runs of recipes, also such that kill themselves: python -m tests.datafree.killed."""

import keras

import tfkd
from tests.datafree.recipes import RECIPES, make
from tests.killing import KillAt, serve

EPOCHS = 3


def backup(folder):
    return keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)


def run(teacher, name, callbacks):
    """A whole run; returns the distiller."""
    distiller = make(teacher, RECIPES[name])
    distiller.fit(epochs=EPOCHS, steps_per_epoch=2, verbose=0, callbacks=callbacks)
    return distiller


def run_to_kill(name: str, teacher_file: str, folder: str, step: int) -> None:
    run(tfkd.load_teacher(teacher_file), name, [backup(folder), KillAt(step)])


if __name__ == "__main__":
    serve(run_to_kill)
