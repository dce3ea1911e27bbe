"""tfkd-data-free: a teacher file in, a smaller student, a TFLite file and a report out, no data."""

import os
import sys
import time

import keras
import numpy as np
from absl import app, flags, logging

import tfkd
from tfkd import callbacks, export
from tfkd.black_box_files import require_litert
from tfkd.cli import inputs, monitoring
from tfkd.cli.outcome import Outcome, predict
from tfkd.cli.run_folder import RunFolder
from tfkd.datafree import DataFreeDistiller, Health
from tfkd.export import pictures
from tfkd.probing import barely_chance

FLAGS = flags.FLAGS

_FLAGS = (
    flags.DEFINE_string(
        "teacher",
        None,
        "trained classifier: a .keras or .h5 file; or a SavedModel folder or .tflite file, as a black box",
        required=True,
    ),
    flags.DEFINE_list(
        "input_range", ["0", "1"], "low,high: the scale the teacher's own pipeline starts from"
    ),
    flags.DEFINE_list(
        "input_mean",
        ["0"],
        "what that pipeline subtracts on that scale, one value or one a channel",
    ),
    flags.DEFINE_list("input_std", ["1"], "what it then divides by, one value or one a channel"),
    flags.DEFINE_enum(
        "from_logits",
        "auto",
        ["auto", "true", "false"],
        "whether the teacher's outputs are logits; auto: found out",
    ),
    flags.DEFINE_string(
        "teacher_output", None, "name or place of the output with the classes, of a teacher with several"
    ),
    flags.DEFINE_string(
        "student",
        "0.5x",
        "a .keras file, a zoo name (lenet5_half, resnet20), or a factor of the teacher's width (0.5x) or "
        "of its residual blocks (0.6deep)",
    ),
    flags.DEFINE_boolean("inherit", False, "a student by a factor begins with its part of the weights"),
    flags.DEFINE_string(
        "recipe", "procedural", f"how the student is taught: {', '.join(sorted(inputs.recipes()))}"
    ),
    flags.DEFINE_multi_string("recipe_options", [], "key=value, a field of the recipe; may be repeated"),
    flags.DEFINE_integer("epochs", None, "epochs; default: the recipe's", lower_bound=1),
    flags.DEFINE_integer(
        "steps_per_epoch", None, "steps in an epoch; default: the recipe's", lower_bound=1
    ),
    flags.DEFINE_integer("batch_size", None, "images in each update; default: the recipe's", lower_bound=1),
    flags.DEFINE_integer(
        "memory", None, "images remembered with the teacher's answers; 0 for none", lower_bound=0
    ),
    flags.DEFINE_string("eval_data", None, "npz with x_test and y_test, only to measure"),
    flags.DEFINE_enum("tflite", "int8", [*export.QUANTIZATIONS, "none"], "kind of TFLite file"),
    flags.DEFINE_string("output_dir", None, "folder of the results", required=True),
    flags.DEFINE_integer("seed", 0, "all randomness follows from it"),
    flags.DEFINE_enum("jit_compile", "auto", ["auto", "true", "false"], "XLA; auto: on accelerators only"),
    flags.DEFINE_boolean("resume", False, "continue an interrupted run"),
    flags.DEFINE_boolean("overwrite", False, "replace an earlier run in the output folder"),
)


def run() -> None:
    """Entry point of the console script."""
    app.run(main)


def main(argv: list[str]) -> None:
    """Runs the program; bad input ends it with a message and exit status 2."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}. Options start with two dashes.")
    if not FLAGS["verbosity"].present:
        # TensorFlow tells at length how it saves and converts.
        logging.set_verbosity(logging.WARNING)
    try:
        stopped = distil()
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        print(f"tfkd-data-free: {error}", file=sys.stderr)
        sys.exit(2)
    if stopped:
        print(f"tfkd-data-free: {stopped}", file=sys.stderr)
        sys.exit(1)


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
    teacher = tfkd.load_teacher(FLAGS.teacher, *_scaling(), **_ending())
    data = _evaluation_data(teacher)
    distiller = _make_distiller(teacher)
    folder.begin()
    history, health, stopped = _train(distiller, folder, data)
    outcome = Outcome(distiller, folder, data, settings)
    outcome.write(history, health, stopped, start)
    return stopped or outcome.problem


def _scaling():
    try:
        low, high = (float(value) for value in FLAGS.input_range)
        mean, std = ([float(value) for value in values] for values in (FLAGS.input_mean, FLAGS.input_std))
    except ValueError:
        raise ValueError(
            "--input_range takes two numbers, --input_mean and --input_std one or one a channel. "
            f"Received: {FLAGS.input_range}, {FLAGS.input_mean}, {FLAGS.input_std}."
        ) from None
    return (low, high), *(v[0] if len(v) == 1 else v for v in (mean, std))


def _ending():
    output = FLAGS.teacher_output
    return {
        "from_logits": {"auto": None, "true": True, "false": False}[FLAGS.from_logits],
        "output": int(output) if output and output.isdigit() else output,
    }


def _evaluation_data(teacher):
    """The evaluation data, after printing the teacher's accuracy on it."""
    if FLAGS.eval_data is None:
        return None
    classes = teacher.output_shape[-1]
    x, y = inputs.load_evaluation_data(FLAGS.eval_data, teacher.input_shape[1:], classes)
    accuracy = float(np.mean(predict(teacher, x).argmax(-1) == y))
    print(f"teacher accuracy on {len(x):,} real images: {accuracy:.2%}", flush=True)
    if accuracy < barely_chance(classes):
        raise ValueError(
            f"the teacher's accuracy on --eval_data is {accuracy:.2%}, no better than chance. Check "
            "--input_range, --input_mean and --input_std, and that the labels are the teacher's."
        )
    return x, y


def _make_distiller(teacher):
    student = inputs.make_student(FLAGS.student, teacher, FLAGS.inherit)
    recipe = inputs.make_recipe(
        FLAGS.recipe,
        FLAGS.recipe_options,
        epochs=FLAGS.epochs,
        steps_per_epoch=FLAGS.steps_per_epoch,
        batch_size=FLAGS.batch_size,
        memory=FLAGS.memory,
    )
    distiller = DataFreeDistiller(teacher, student, recipe, seed=FLAGS.seed)
    distiller.compile(
        metrics=["accuracy"],
        jit_compile={"auto": "auto", "true": True, "false": False}[FLAGS.jit_compile],
    )
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
