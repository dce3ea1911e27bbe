"""Time and memory of a training step at ImageNet's size: MobileNetV2 at 224x224 to half its width.

    python benchmarks/imagenet_size.py --batch_sizes=8,32
    python benchmarks/imagenet_size.py --methods=dfad --batch_sizes=64 --microbatches=1,8
    python benchmarks/imagenet_size.py --network=small --methods=dfq --batch_sizes=128,1024 --steps=2

Weights and images are random, which does not change the time of a step. Each row is measured in a separate
process, which ends after --limit seconds; rows with other settings stay in --rows. Memory is the increase
of the process's peak from before the first step, so it includes the traced graph. Seconds are CPU time: of
the first step, and the median of later ones. A step of a data-free recipe is after warm-up and has one
student update on new inputs. With data, a batch is divided among the replicas; without data, each replica
makes its own. The table is written to docs/large_data.md.
"""

import itertools
import json
import os
import resource
import subprocess
import sys
import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from marked import write_marked

import tfkd
from tfkd._core import files

FLAGS = flags.FLAGS
flags.DEFINE_enum("network", "mobilenet", ["mobilenet", "small"], "which pair of networks")
flags.DEFINE_list(
    "methods", ["distil", "procedural", "picture_prior", "dfad"], "distil, or recipes by name"
)
flags.DEFINE_list("batch_sizes", ["8", "32"], "images in an update")
flags.DEFINE_list("microbatches", ["1"], "in how many parts a recipe has a batch; with data it is whole")
flags.DEFINE_list("replicas", ["1"], "devices of the CPU that MirroredStrategy is given; 1 for no strategy")
flags.DEFINE_list("policies", ["float32"], "Keras dtype policies")
flags.DEFINE_integer("steps", 3, "timed steps after the first")
flags.DEFINE_integer("limit", 180, "seconds that a row may take")
flags.DEFINE_string("rows", "docs/rows/imagenet_size.json", "where the rows are kept")
flags.DEFINE_string("only", None, "the one setting that this process measures, as JSON")


class Setting(NamedTuple):
    """The setting of a row: one value of each flag."""

    network: str
    method: str
    batch_size: int
    microbatches: int
    replicas: int
    policy: str


def mobilenet() -> keras.Model:
    """MobileNetV2 for a thousand classes, with logits as outputs."""
    return keras.applications.MobileNetV2((224, 224, 3), weights=None, classifier_activation=None)


TEACHERS = {"mobilenet": mobilenet, "small": lambda: tfkd.students.resnet(20)}
STUDENTS = {
    "mobilenet": lambda teacher: tfkd.students.scale_width(teacher, 0.5),
    "small": lambda teacher: tfkd.students.resnet(20),
}


class Steps(keras.callbacks.Callback):
    """CPU seconds of each step, and the process's peak memory before the first, in MiB."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.seconds, self.before = [], peak()

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self.begun = time.process_time()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.seconds.append(time.process_time() - self.begun)


def peak() -> float:
    """The peak memory of the process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def strategy_of(replicas: int) -> tf.distribute.Strategy:
    """`MirroredStrategy` on this number of logical CPU devices; the default strategy for one."""
    devices = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    if replicas == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])


def measure(setting: Setting) -> dict[str, float]:
    """Seconds and memory of a setting, in this process."""
    keras.config.set_dtype_policy(setting.policy)
    clock, length = Steps(), {"epochs": 1, "steps_per_epoch": FLAGS.steps + 1}
    with strategy_of(setting.replicas).scope():
        teacher = TEACHERS[setting.network]()
        distiller, data = distiller_of(setting, teacher, STUDENTS[setting.network](teacher))
    distiller.fit(data, verbose=0, callbacks=[clock], **length)
    first, *later = clock.seconds
    return {
        "first": first,
        "later": float(np.median(later)),
        "before": clock.before,
        "memory": peak() - clock.before,
    }


def distiller_of(setting: Setting, teacher: keras.Model, student: keras.Model) -> tuple:
    """A compiled distiller, and its training data (None without data)."""
    if setting.method == "distil":
        distiller = tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets(4.0))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        distiller.compile("sgd", loss, jit_compile=False)
        return distiller, examples(teacher, setting.batch_size)
    recipe = tfkd.pipelines.recipe_named(
        setting.method,
        batch_size=setting.batch_size,
        microbatches=setting.microbatches,
        student_steps=1,
        warmup_steps=0,
    )
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=0)
    distiller.compile(jit_compile=False)
    return distiller, None


def examples(teacher: keras.Model, batch_size: int) -> tf.data.Dataset:
    """One batch of random images and labels, repeated."""
    rng = np.random.default_rng(0)
    x = rng.random((batch_size, *teacher.input_shape[1:]), "float32")
    y = rng.integers(0, teacher.output_shape[-1], batch_size)
    return tf.data.Dataset.from_tensors((x, y)).repeat()


def measured_alone(setting: Setting) -> dict[str, float] | None:
    """Calls `measure` in a separate process; None if it takes too long."""
    command = [sys.executable, __file__, f"--steps={FLAGS.steps}", f"--only={json.dumps(setting)}"]
    try:
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=FLAGS.limit)
    except subprocess.TimeoutExpired:
        return None
    return json.loads(ran.stdout.splitlines()[-1])


def settings() -> list[Setting]:
    """All settings requested by the flags."""
    numbers = (map(int, each) for each in (FLAGS.batch_sizes, FLAGS.microbatches, FLAGS.replicas))
    asked = itertools.product([FLAGS.network], FLAGS.methods, *numbers, FLAGS.policies)
    return [each for each in itertools.starmap(Setting, asked) if divides(each)]


def divides(setting: Setting) -> bool:
    """Whether the number of parts is possible: only one with data, only equal parts for recipes."""
    parts = setting.microbatches
    return parts == 1 or (setting.method != "distil" and setting.batch_size % parts == 0)


def table(rows: list[dict]) -> str:
    """The rows as Markdown."""
    lines = [
        "| networks | method | batch | parts | replicas | policy | first step, s "
        "| later steps, s | memory, MiB | before, MiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [str(row[name]) for name in Setting._fields]
        cells += [
            f"{row['first']:.1f}",
            f"{row['later']:.2f}",
            f"{row['memory']:,.0f}",
            f"{row['before']:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    """Measures each setting in a separate process, or one setting for a parent process."""
    if FLAGS.only:
        print(json.dumps(measure(Setting(*json.loads(FLAGS.only)))))
        return
    rows = {}
    if os.path.exists(FLAGS.rows):
        with open(FLAGS.rows, encoding="utf-8") as file:
            rows = {tuple(row[name] for name in Setting._fields): row for row in json.load(file)}
    for setting in settings():
        measured = measured_alone(setting)
        if measured is None:
            print(f"left out, since it takes more than {FLAGS.limit} s: {setting}", flush=True)
            continue
        rows[setting] = {**setting._asdict(), **measured}
        print(rows[setting], flush=True)
        ordered = [rows[key] for key in sorted(rows)]
        files.write_text(FLAGS.rows, json.dumps(ordered, indent=1) + "\n")
        write_marked("docs/large_data.md", "imagenet", table(ordered))


if __name__ == "__main__":
    app.run(main)
