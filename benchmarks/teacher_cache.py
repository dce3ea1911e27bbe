"""The cost of `tfkd.cache_teacher` at scale: bytes, speed and memory, and the loss of accuracy.

    python benchmarks/teacher_cache.py --logits=FILE.npz

For each way of storing outputs, a separate process writes and reads 200,000 examples of 1000 classes, with
a one-layer teacher so that the cache dominates the times. Memory is the increase of the process's peak
compared with a tenth of the examples. Bytes and times are extrapolated to 1.28 million examples. --logits
is a file with `teacher`, the logits `(n, classes)` of a real network, for the table of losses, and
`student`, the logits for changed versions of the same inputs. Tables are written to docs/large_data.md,
rows to --rows.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from marked import write_marked

import tfkd
from tfkd._core import files
from tfkd.distilling._packing import Exact, Half, TopLogits
from tfkd.losses import soft_targets

FLAGS = flags.FLAGS
flags.DEFINE_integer("examples", 200_000, "how many are cached")
flags.DEFINE_string("logits", None, "npz file of a real teacher's logits; no table of losses without")
flags.DEFINE_string("rows", "docs/rows/teacher_cache.json", "where the rows are kept")
flags.DEFINE_string("form", None, "measure this one alone: exact, float16 or top32")

CLASSES, FEATURES, BATCH, IMAGENET = 1000, 64, 500, 1_281_167
FORMS = {"exact": None, "float16": "float16", "top32": 32}
NAMES = {"exact": "exact", "float16": '`compress="float16"`', "top32": "`compress=32`"}
SURE = 0.8


def peak() -> float:
    """The peak memory of the process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def examples(n: int) -> tf.data.Dataset:
    """Batches of inputs that are computed from their indices."""

    def inputs(i):
        return tf.sin(tf.cast(i[:, None] % 9973, "float32") * tf.range(1.0, FEATURES + 1))

    return tf.data.Dataset.range(n).batch(BATCH).map(inputs)


def passed(teacher: keras.Model, n: int, compress: int | str | None) -> dict[str, float]:
    """Seconds for writing and reading, and the size of the files."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        cached = tfkd.cache_teacher(examples(n), teacher, path=folder, compress=compress)
        written = time.perf_counter()
        for _ in cached:
            pass
        read = time.perf_counter()
        size = sum(entry.stat().st_size for entry in os.scandir(folder))
    return {"bytes": size / n, "write": n / (written - start), "read": n / (read - written)}


def measure(compress: int | str | None) -> dict[str, float]:
    """The cost of one way of storing outputs."""
    keras.utils.set_random_seed(0)
    # Logits far apart, like those of a confident teacher.
    dense = keras.layers.Dense(CLASSES, kernel_initializer=keras.initializers.RandomNormal(stddev=1.0))
    teacher = keras.Sequential([keras.Input((FEATURES,)), dense])
    passed(teacher, FLAGS.examples // 10, compress)
    before = peak()
    return {**passed(teacher, FLAGS.examples, compress), "growth": peak() - before, "peak": peak()}


def measured_alone(form: str) -> dict[str, float]:
    """Calls `measure` in a separate process, so that peak memory is not affected by earlier work."""
    command = [sys.executable, __file__, f"--form={form}", f"--examples={FLAGS.examples}"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(answer.splitlines()[-1])


def cost_table(rows: dict[str, dict[str, float]]) -> str:
    """Bytes, speed and memory as Markdown."""
    lines = [
        "| kept | bytes an example | of float32 | written, examples/s | read, examples/s | memory grows by "
        "| 1.28 million: size | written in | read in |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for form, row in rows.items():
        times = [f"{IMAGENET / row[key] / 60:.1f} min" for key in ("write", "read")]
        cells = [
            NAMES[form],
            f"{row['bytes']:.0f}",
            f"1/{CLASSES * 4 / row['bytes']:.1f}",
            f"{row['write']:,.0f}",
            f"{row['read']:,.0f}",
            f"{row['growth']:.0f} MiB",
            f"{IMAGENET * row['bytes'] / 1e9:.2f} GB",
            *times,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def loss(teacher, student, temperature: float) -> float:
    """The mean soft-target loss."""
    return float(tf.reduce_mean(soft_targets(teacher, student, temperature)))


def losses(logits: np.ndarray, student: np.ndarray) -> list[dict]:
    """The error of the soft-target loss, for an untrained student and a nearly perfect one."""
    rows = []
    for temperature in (1.0, 2.0, 4.0):
        kinds: dict[str, Exact | TopLogits] = {'"float16"': Half(tf.float32)}
        for kept in (32, 128, 256):
            kinds[str(kept)] = TopLogits(kept, logits.shape[1], temperature, tf.float32)
        for kind, packing in kinds.items():
            kept = packing.unpack(packing.pack(logits))
            row = {"temperature": temperature, "compress": kind}
            for name, answers in (("untrained", np.zeros_like(student)), ("near", student)):
                exact = loss(logits, answers, temperature)
                row[name] = loss(kept, answers, temperature) / exact - 1
                row[f"{name} loss"] = exact
            rows.append(row)
    return rows


def loss_table(groups: dict[str, dict]) -> str:
    """The table of losses as Markdown, with a pair of columns for each group of pictures."""
    headings = [
        f"{name}: {kind}" for name in groups for kind in ("untrained student", "student that is near")
    ]
    lines = [f"| temperature | `compress` | {' | '.join(headings)} |", f"|{'---|' * (2 + len(headings))}"]
    for together in zip(*(group["rows"] for group in groups.values()), strict=True):
        cells = [f"{row[kind]:+.2%}" for row in together for kind in ("untrained", "near")]
        first = together[0]
        lines.append(f"| {first['temperature']:g} | {first['compress']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def loss_groups(path: str) -> dict[str, dict]:
    """The rows for all pictures, and for those with a confident teacher."""
    with np.load(path, allow_pickle=False) as archive:
        logits, student = archive["teacher"].astype("float32"), archive["student"].astype("float32")
    sure = tf.reduce_max(tf.nn.softmax(logits), -1).numpy() > SURE
    chosen = {"all": np.ones(len(logits), bool), f"confidence above {SURE:g}": sure}
    return {
        f"{name} ({which.sum()})": {"rows": losses(logits[which], student[which])}
        for name, which in chosen.items()
    }


def main(argv: list[str]) -> None:
    """Measures everything, or one way of storing outputs for a parent process."""
    if FLAGS.form:
        print(json.dumps(measure(FORMS[FLAGS.form])))
        return
    rows = {form: measured_alone(form) for form in FORMS}
    everything = {"examples": FLAGS.examples, "forms": rows}
    write_marked("docs/large_data.md", "cost", cost_table(rows))
    if FLAGS.logits:
        everything["losses"] = groups = loss_groups(FLAGS.logits)
        write_marked("docs/large_data.md", "losses", loss_table(groups))
    files.write_text(FLAGS.rows, json.dumps(everything, indent=1))


if __name__ == "__main__":
    app.run(main)
