"""tfkd-data-free: a teacher file in, a smaller student, a TFLite file and a report out, no data."""

import os
import sys
import time

import keras
from absl import app, flags

import tfkd
from tfkd import callbacks
from tfkd._core.runtimes import require_litert
from tfkd.cli import inputs, monitoring, shared_flags
from tfkd.cli.outcome import Outcome
from tfkd.cli.run_folder import RunFolder
from tfkd.datafree import DataFreeDistiller, Health
from tfkd.export import _pictures as pictures

FLAGS = flags.FLAGS

_FLAGS = (
    *shared_flags.SHARED,
    flags.DEFINE_string(
        "student",
        "0.5x",
        "a .keras file, a zoo name (lenet5_half, resnet20), or a factor of the teacher's width (0.5x) or "
        "of its residual blocks (0.6deep)",
    ),
    flags.DEFINE_boolean("inherit", False, "a student by a factor begins with its part of the weights"),
    flags.DEFINE_boolean("resume", False, "continue an interrupted run"),
)
flags.adopt_module_key_flags(shared_flags)


def run() -> None:
    """Entry point of the console script."""
    app.run(main)


def main(argv: list[str]) -> None:
    """Runs the program; bad input ends it with a message and exit status 2."""
    shared_flags.run_program(distil, "tfkd-data-free", ["teacher", "output_dir"], argv)


def distil() -> str | None:
    """One run from the flags; returns what it lacks, such as why it stopped early, or None."""
    start = time.perf_counter()
    pictures.require_report()
    if FLAGS.tflite != "none":
        require_litert()
    settings = {flag.name: flag.value for flag in _FLAGS}
    passing = ("resume", "overwrite")
    folder = RunFolder(
        FLAGS.output_dir,
        {name: value for name, value in settings.items() if name not in passing},
        FLAGS.resume,
        FLAGS.overwrite,
    )
    if FLAGS.resume and folder.finished:
        print(f"The run in {folder.path!r} is complete; nothing to resume.")
        return None
    keras.utils.set_random_seed(FLAGS.seed)
    teacher = tfkd.load_teacher(FLAGS.teacher, *shared_flags.scaling(), **shared_flags.ending())
    shared_flags.labels(teacher.output_shape[-1])
    data = shared_flags.evaluation_data(teacher)
    distiller = _make_distiller(teacher)
    folder.begin()
    history, health, stopped = _train(distiller, folder, data)
    outcome = Outcome(distiller, folder, data, settings)
    outcome.write(history, health, stopped, start)
    return stopped or outcome.problem


def _make_distiller(teacher):
    student = inputs.make_student(FLAGS.student, teacher, FLAGS.inherit)
    distiller = DataFreeDistiller(teacher, student, shared_flags.recipe(), seed=FLAGS.seed)
    distiller.compile(metrics=["accuracy"], jit_compile=shared_flags.jit_compile())
    return distiller


def _train(distiller, folder, data):
    recipe = distiller.recipe
    state = folder.file("state/latest.weights.h5")
    initial_epoch = 0
    if FLAGS.resume and os.path.exists(state):
        distiller.load_weights(state)
        initial_epoch = int(distiller.steps_done.numpy()) // recipe.steps_per_epoch
        print(f"resuming after epoch {initial_epoch} of {recipe.epochs}", flush=True)
    history = monitoring.RunHistory(folder.file("history.json"))
    keep, health = callbacks.KeepLastGood(), Health(every=max(1, recipe.epochs // 40))
    distiller.fit(
        initial_epoch=initial_epoch,
        validation_data=data,
        validation_batch_size=500,
        validation_freq=max(1, recipe.epochs // 8),
        callbacks=[
            keep,
            health,
            history,
            monitoring.ImageGrids(folder.file("images"), recipe.epochs),
            keras.callbacks.TensorBoard(folder.file("tensorboard"), write_graph=False),
            monitoring.SaveState(state),
        ],
        verbose=2 if not sys.stdout.isatty() else 1,
    )
    stopped = None
    if keep.stopped_epoch is not None:
        stopped = (
            f"the loss was no longer finite in epoch {keep.stopped_epoch + 1}, training stopped there, "
            f"and the student is that of the end of epoch {keep.good_epoch + 1}"
        )
    return history, health, stopped


if __name__ == "__main__":
    run()
