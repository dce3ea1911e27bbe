"""Mutual learning, as the contract of schemes trains it."""

import keras

from tests.schemes.cases import LABELS_LOSS, Case, Ran, Setting
from tfkd.schemes import MutualDistiller


def _run(networks, **options):
    def run(setting: Setting) -> Ran:
        students = [setting.student(f"student_{i}") for i in range(networks)]
        model = MutualDistiller(students, setting.loss, **options)
        model.compile(
            keras.optimizers.Adam(1e-2), LABELS_LOSS, ["accuracy"], jit_compile=setting.jit_compile
        )
        history = setting.fit(model)
        return Ran(history, students, model)

    return run


CASES = {
    "mutual of two": Case(_run(2)),
    "mutual of three": Case(_run(3)),
    "mutual in turn": Case(_run(2, together=False)),
}
