"""Ways to bring low-bit files closer to their network, measured on pictures not used for calibration.

    python benchmarks/phone_rounding.py --teacher=keras_model.h5 --input_range=-1,1 --pictures=FOLDER

Files are calibrated with crops of the photographs that ship with the library (`generators.Pictures`) and
compared with the network on crops of other pictures, which are used for evaluation only: squares of 0.3 to
1 of a picture's shorter side, flipped or not. Each way is a row; rows already in --rows are not measured
again. "w4a8" needs the extra `aeq`.
"""

import json
import os
import pathlib
import time

import keras
import numpy as np
from absl import app, flags
from marked import write_marked
from PIL import Image

import generators
import tfkd
from tfkd._core import files
from tfkd._core.asking import answers
from tfkd.compression import equalize_layers
from tfkd.compression._reconstruction import Learning
from tfkd.compression._rounding import Rounding, corrected_biases
from tfkd.export._conversion import convert

FLAGS = flags.FLAGS
flags.DEFINE_string("teacher", None, "file of a classifier of images", required=True)
flags.DEFINE_list("input_range", ["0", "1"], "as of tfkd-compress")
flags.DEFINE_string("pictures", None, "folder of pictures to compare on", required=True)
flags.DEFINE_multi_string("ways", [], "rows to measure; default: all")
flags.DEFINE_integer("crops", 240, "how many crops to compare on")
flags.DEFINE_integer("calibration", 64, "how many inputs to calibrate with")
flags.DEFINE_integer("seed", 0, "what crops and calibration follow from")
flags.DEFINE_string("rows", "docs/rows/phone_rounding.json", "where the rows are kept")
flags.DEFINE_string("table", "docs/compression.md", "Markdown file that the table goes to")


def made(kind, rounding=None, equalized=False, without_relu6=False):
    """A way to make a file, optionally from a network with equalized layers and learned rounding."""

    def make(model, inputs):
        if without_relu6:
            model = equalize_layers(model, absorb_biases=True, replace_relu6=True)
        if equalized:
            model = equalize_layers(model, inputs)
        if rounding is None:
            return convert(model, kind, inputs)
        with corrected_biases(model, inputs, rounding):
            return convert(model, kind, inputs)

    return make


# Rounding for each kind of file, and the ways to make a file, each with one more idea.
INT8, INT16, W4A8 = Rounding(), Rounding(values=False), Rounding(bits=4)
WAYS = {
    "float16": made("float16"),
    "int8": made("int8"),
    "int8, biases corrected": made("int8", INT8),
    "int8, kernels equalized (ReLU6 replaced), biases corrected": made("int8", INT8, without_relu6=True),
    "int8, values equalized, biases corrected": made("int8", INT8, True),
    "int8, rounding learned": made("int8", INT8._replace(learning=Learning())),
    "int8, values equalized, rounding learned": made("int8", INT8._replace(learning=Learning()), True),
    "int16x8, biases corrected": made("int16x8", INT16),
    "w4a8, biases corrected": made("w4a8", W4A8),
    "w4a8, values equalized, rounding learned": made("w4a8", W4A8._replace(learning=Learning()), True),
}


def crops(folder: str, n: int, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Crops of pictures, in [0, 1], in equal numbers for each picture as far as possible."""
    rng = np.random.default_rng(seed)
    pictures = [Image.open(path).convert("RGB") for path in sorted(pathlib.Path(folder).iterdir())]
    cut = []
    for i in range(n):
        picture = pictures[i % len(pictures)]
        side = min(picture.size) * rng.uniform(0.3, 1.0)
        left, top = (rng.uniform(0, length - side) for length in picture.size)
        box = (left, top, left + side, top + side)
        crop = picture.resize(shape[::-1], Image.Resampling.BICUBIC, box=box, reducing_gap=3)
        flipped = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else crop
        cut.append(np.asarray(flipped, "float32") / 255)
    return np.stack(cut)


def measure(rows: list[dict]) -> None:
    """Adds a row for each way that does not have one yet."""
    name = os.path.splitext(os.path.basename(FLAGS.teacher))[0]
    known = {row["way"] for row in rows if row["teacher"] == name}
    ways = [way for way in FLAGS.ways or WAYS if way not in known]
    if not ways:
        return
    low, high = map(float, FLAGS.input_range)
    model = tfkd.load_teacher(FLAGS.teacher, input_range=(low, high))
    shape = model.input_shape[1:]
    seen = crops(FLAGS.pictures, FLAGS.crops, shape[:2], FLAGS.seed)
    inputs = np.asarray(generators.Pictures(shape).sample(FLAGS.calibration, seed=FLAGS.seed))
    expected = answers(model, seen)
    for way in ways:
        start = time.perf_counter()
        content = WAYS[way](model, inputs)
        seconds = time.perf_counter() - start
        off = tfkd.export.run_tflite(content, seen) - expected
        row = {
            "teacher": name,
            "way": way,
            "crops": len(seen),
            "agreement": float(np.mean((off + expected).argmax(-1) == expected.argmax(-1))),
            "rms": float(np.sqrt(np.mean(off**2))),
            "largest": float(np.abs(off).max()),
            "spread": float(expected.std()),
            "size_bytes": len(content),
            "seconds": seconds,
            "load": os.getloadavg()[0],
        }
        print(row, flush=True)
        rows.append(row)
        files.write_text(FLAGS.rows, json.dumps(rows, indent=1) + "\n")


def table(rows: list[dict]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| file | agreement | distance of logits | largest | bytes | seconds to make |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['way']} | {row['agreement']:.1%} | {row['rms']:.2f} | {row['largest']:.1f} | "
        f"{row['size_bytes']:,} | {row['seconds']:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    """Measures and writes rows and table."""
    del argv
    keras.utils.set_random_seed(FLAGS.seed)
    rows = []
    if os.path.exists(FLAGS.rows):
        with open(FLAGS.rows, encoding="utf-8") as file:
            rows = json.load(file)
    measure(rows)
    write_marked(FLAGS.table, "phone_rounding", table(rows))


if __name__ == "__main__":
    app.run(main)
