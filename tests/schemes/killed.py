"""Runs of schemes, also such that kill themselves: python -m tests.schemes.killed."""

import keras

import tfkd
from tests.conftest import blobs
from tests.killing import KillAt, serve
from tests.schemes.cases import Ran, Setting
from tests.schemes.registry import CASES


def run(name: str, teacher: keras.Model, **options) -> Ran:
    """A run of a scheme on 48 images, three steps an epoch."""
    keras.utils.set_random_seed(11)
    x, y = blobs(48)
    return CASES[name].run(Setting(teacher, x, y, **options))


def run_to_kill(name: str, teacher_file: str, folder: str, step: int) -> None:
    run(name, tfkd.load_teacher(teacher_file), folder=folder, callbacks=[KillAt(step)])


if __name__ == "__main__":
    serve(run_to_kill)
