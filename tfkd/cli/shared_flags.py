"""The flags that several programs have, and what is read from them."""

import sys
from collections.abc import Callable

import numpy as np
from absl import app, flags, logging

from tfkd import datafree, export
from tfkd.cli import inputs
from tfkd.cli.image_files import load_images
from tfkd.cli.outcome import predict
from tfkd.export._metadata import description
from tfkd.teachers._diagnosis import barely_chance

FLAGS = flags.FLAGS

SHARED = (
    flags.DEFINE_string(
        "teacher",
        None,
        "trained classifier: a .keras or .h5 file; or a SavedModel folder or .tflite file, as a black box",
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
    flags.DEFINE_list("labels", None, "names of the classes in their order, written into the TFLite file"),
    flags.DEFINE_string("output_dir", None, "folder of the results"),
    flags.DEFINE_integer("seed", 0, "all randomness follows from it"),
    flags.DEFINE_enum("jit_compile", "auto", ["auto", "true", "false"], "XLA; auto: on accelerators only"),
    flags.DEFINE_boolean("overwrite", False, "replace an earlier run in the output folder"),
)


def run_program(program: Callable[[], str | None], name: str, needed: list[str], argv: list[str]) -> None:
    """Runs a program; bad input ends it with a message and exit status 2, an incomplete result with 1.

    Args:
        program: reads flags; returns what its result lacks, or None.
        name: of the program, for messages.
        needed: flags that have to be given.
        argv: what absl left of the command line.
    """
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}. Options start with two dashes.")
    if missing := [f"--{flag}" for flag in needed if not FLAGS[flag].value]:
        raise app.UsageError(f"{name} needs {' and '.join(missing)}.")
    if not FLAGS["verbosity"].present:
        # TensorFlow tells at length how it saves and converts.
        logging.set_verbosity(logging.WARNING)
    try:
        problem = program()
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
    if problem:
        print(f"{name}: {problem}", file=sys.stderr)
        sys.exit(1)


def scaling() -> tuple:
    """Range, mean and standard deviation, as `load_teacher` takes them."""
    try:
        low, high = (float(value) for value in FLAGS.input_range)
        mean, std = ([float(value) for value in values] for values in (FLAGS.input_mean, FLAGS.input_std))
    except ValueError:
        raise ValueError(
            "--input_range takes two numbers, --input_mean and --input_std one or one a channel. "
            f"Received: {FLAGS.input_range}, {FLAGS.input_mean}, {FLAGS.input_std}."
        ) from None
    return (low, high), *(v[0] if len(v) == 1 else v for v in (mean, std))


def ending() -> dict:
    """What is said of the teacher's outputs, as `load_teacher` takes it."""
    output = FLAGS.teacher_output
    return {
        "from_logits": {"auto": None, "true": True, "false": False}[FLAGS.from_logits],
        "output": int(output) if output and output.isdigit() else output,
    }


def labels(classes: int) -> list[str] | None:
    """The names of so many classes, or None; refused before anything is learned if they do not fit."""
    try:
        return description(FLAGS.labels, (0.0, 1.0), classes)["labels"]
    except ValueError as error:
        raise ValueError(f"--labels: {error}") from None


def evaluation_data(teacher, called: str = "teacher") -> tuple[np.ndarray, np.ndarray] | None:
    """The evaluation data, after printing a network's accuracy on it; None if there are none.

    Args:
        teacher: a network from images to logits.
        called: what it is called in messages.
    """
    if FLAGS.eval_data is None:
        return None
    classes = teacher.output_shape[-1]
    x, y = load_images(FLAGS.eval_data, teacher.input_shape[1:], classes)
    accuracy = float(np.mean(predict(teacher, x).argmax(-1) == y))
    print(f"{called} accuracy on {len(x):,} real images: {accuracy:.2%}", flush=True)
    if accuracy < barely_chance(classes):
        raise ValueError(
            f"the {called}'s accuracy on --eval_data is {accuracy:.2%}, no better than chance. Check "
            "--input_range, --input_mean and --input_std, and that the labels are the teacher's."
        )
    return x, y


def recipe() -> datafree.Recipe:
    """The recipe that was asked for."""
    return inputs.make_recipe(
        FLAGS.recipe,
        FLAGS.recipe_options,
        epochs=FLAGS.epochs,
        steps_per_epoch=FLAGS.steps_per_epoch,
        batch_size=FLAGS.batch_size,
        memory=FLAGS.memory,
    )


def jit_compile() -> bool | str:
    """What `compile` takes."""
    return {"auto": "auto", "true": True, "false": False}[FLAGS.jit_compile]
