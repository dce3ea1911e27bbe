"""Compresses MLPerf Tiny's models with the programs, without data; measures accuracy or agreement.

    python benchmarks/mlperf_tiny.py --shared=../shared --photographs=FOLDER
    python benchmarks/mlperf_tiny.py --report=docs/mlperf_tiny.md

A row has the measurements of one run of a program: "int8" (`tfkd-compress`), "sparse" (the same with
--prune=0.8 --quantize) or "half" (`tfkd-data-free --student=0.5x --inherit`). Existing rows are not run
again. Real inputs are used for evaluation only. Without a test set, the float model's own predictions serve
as labels, so agreement with it is measured: on crops of --photographs, which no prior of the library
contains, or on features of synthetic speech. `--report` writes the table.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import tiny_inputs
from absl import app, flags
from marked import write_marked

import tfkd
from tfkd._core import files

FLAGS = flags.FLAGS
flags.DEFINE_list("cases", None, "some of the cases below; all without")
flags.DEFINE_list("runs", None, "some of int8, sparse and half; all without")
flags.DEFINE_list("seeds", ["1"], "one row for each")
flags.DEFINE_integer("epochs", None, "of sparse (each stage) and half; the programs' own without")
flags.DEFINE_string("rows", "docs/mlperf_tiny_rows", "where rows are kept")
flags.DEFINE_string(
    "shared", "../shared", "folder of data sets and teachers that are not part of this project"
)
flags.DEFINE_string("photographs", None, "folder of photographs that do not ship with the library")
flags.DEFINE_string("report", None, "a Markdown file to write the table to, instead of running rows")

_NUMBER = 1200
# The exit status of a program whose files are complete, but whose result should not be trusted.
_NOT_TRUSTWORTHY = 3
TEST_SET, PHOTOGRAPHS, MFCCS, LOG_MELS = (
    "CIFAR-10, 10,000",
    "photographs",
    "MFCCs of made-up speech",
    "log-mels of it",
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, flags for its scaling, its evaluation data, and the organisers' int8 file."""

    model: str
    scaling: tuple[str, ...]
    measured_on: str
    of_organisers: str | None = None


_SPEECH = f"--input_range={','.join(f'{end:g}' for end in tiny_inputs.MFCC_RANGE)}"
CASES = {
    "resnet8": Case(
        "resnet8_cifar10.h5", ("--input_range=0,255",), TEST_SET, "resnet8_cifar10_int8.tflite"
    ),
    "vww": Case("vww_96.h5", ("--input_range=0,1",), PHOTOGRAPHS),
    "keywords": Case("keyword_spotting", (_SPEECH,), MFCCS),
    "wakeword": Case("streaming_wakeword.h5", ("--input_range=0,1",), LOG_MELS),
}
RUNS = {
    "int8": ("compress", ()),
    "sparse": ("compress", ("--prune=0.8", "--quantize")),
    "half": ("data_free", ("--student=0.5x", "--inherit")),
}
_KEPT = ("name", "model", "quantization", "sparsity", "accuracy", "agreement", "bias_corrected")
_KEPT += ("size_bytes", "gzip_bytes", "latency_ms")


def path_of(case: Case) -> str:
    """The path of a case's model."""
    return os.path.join(FLAGS.shared, "teachers/mlperf_tiny", case.model)


def inputs_of(case: Case) -> np.ndarray:
    """Evaluation inputs for a model without a test set."""
    if case.measured_on == PHOTOGRAPHS:
        return tiny_inputs.photographs(FLAGS.photographs, _NUMBER)
    features = tiny_inputs.mfccs if case.measured_on == MFCCS else tiny_inputs.log_mels
    return features(tiny_inputs.speech(_NUMBER))


def measuring_file(case: Case, folder: str) -> str:
    """An npz file for --eval_data: the test set, or inputs with the float model's predictions as labels."""
    if case.measured_on == TEST_SET:
        return os.path.join(FLAGS.shared, "data/cifar10_test.npz")
    x, path = inputs_of(case), os.path.join(folder, "measured.npz")
    teacher = tfkd.load_teacher(path_of(case))
    (ends,) = case.scaling
    low, high = map(float, ends.removeprefix("--input_range=").split(","))
    floats = x / np.float32(255) if x.dtype == np.uint8 else x
    answers = teacher.predict(low + (high - low) * floats, verbose=0).argmax(axis=-1)
    np.savez(path, x_test=x, y_test=answers.astype("int64"))
    return path


def run_row(case: Case, run: str, seed: int) -> dict:
    """Runs a program; returns its measurements."""
    program, asked = RUNS[run]
    if run != "int8" and FLAGS.epochs is not None:
        asked += (f"--epochs={FLAGS.epochs}",)
    with tempfile.TemporaryDirectory() as folder:
        named = "--model" if program == "compress" else "--teacher"
        command = [
            *(sys.executable, "-m", f"tfkd.cli.{program}"),
            f"{named}={path_of(case)}",
            *case.scaling,
        ]
        command += [f"--eval_data={measuring_file(case, folder)}", f"--seed={seed}", *asked]
        ran = subprocess.run([*command, f"--output_dir={folder}/out"], stdout=subprocess.DEVNULL)
        # Results that the program does not trust, such as a sparsity that was not reached, are kept, too.
        if ran.returncode not in (0, _NOT_TRUSTWORTHY):
            raise SystemExit(f"{' '.join(command)} ended with {ran.returncode}")
        with open(f"{folder}/out/metrics.json", encoding="utf-8") as file:
            metrics = json.load(file)
    variants = [{key: each[key] for key in _KEPT if key in each} for each in metrics["variants"]]
    row = {"flags": [*case.scaling, *asked], "wall_seconds": metrics["wall_seconds"], "variants": variants}
    if run == "int8" and case.of_organisers is not None:
        row["organisers"] = accuracy_of_organisers(case.of_organisers)
    return row | {"problem": metrics["problem"]}


def accuracy_of_organisers(file: str) -> float:
    """Test accuracy of an int8 file that the organisers calibrated with real images."""
    path = os.path.join(FLAGS.shared, "teachers/mlperf_tiny", file)
    with np.load(os.path.join(FLAGS.shared, "data/cifar10_test.npz")) as arrays:
        x, y = arrays["x_test"].astype("float32") / 255, arrays["y_test"].ravel()
    teacher = tfkd.load_teacher(path, input_range="auto")
    return float(np.mean(teacher.predict(x, verbose=0).argmax(axis=-1) == y))


# The name of each table row, and the location of its figures: run, name or model, kind of file.
LINES = {
    "float32": ("int8", "original", "float32"),
    "int8, calibrated by synthesized inputs": ("int8", "original", "int8"),
    "int8, calibrated by noise": ("int8", "original, calibrated by noise", "int8"),
    "80 % sparse, quantization-aware int8": ("sparse", "written file", "int8"),
    "0.5x student, int8": ("half", "student", "int8"),
}


def table(rows: dict[str, list[dict]], measured_on: str) -> str:
    """A row for each variant of a case, with means over seeds.

    Args:
        rows: measured rows, by run.
        measured_on: a description of the evaluation data.
    """
    score = "accuracy" if measured_on == TEST_SET else "agreement with float32"
    lines = [f"| file | flags | seeds | {score} | bytes | gzip, bytes |", "|---|---|---|---|---|---|"]
    for name, (run, *where) in LINES.items():
        found = [
            variant for row in rows.get(run, []) for variant in row["variants"] if _is(variant, *where)
        ]
        if not found:
            continue
        scores = 100 * np.array([each["accuracy"] for each in found])
        spread = f" ± {scores.std(ddof=1):.2f}" if len(scores) > 1 else ""
        size, zipped = (np.mean([each[key] for each in found]) for key in ("size_bytes", "gzip_bytes"))
        asked = " ".join(flag for flag in rows[run][0]["flags"] if not flag.startswith("--input_range"))
        cells = (name, asked or "-", len(found), f"{scores.mean():.2f}{spread}", f"{size:,.0f}")
        lines.append(f"| {' | '.join(map(str, cells))} | {zipped:,.0f} |")
    own = {row["organisers"] for row in rows.get("int8", []) if "organisers" in row}
    lines += [
        f"| int8 by the organisers, calibrated by real images | - | - | {100 * each:.2f} | - | - |"
        for each in own
    ]
    return "\n".join(lines)


def _is(variant, name, quantization):
    return variant["quantization"] == quantization and name == variant.get("name", variant.get("model"))


def report(path: str) -> None:
    """Writes the tables of all cases with rows into a Markdown file, between marks or at the end."""
    for name, case in CASES.items():
        rows = {}
        for run in RUNS:
            found = sorted(each for each in os.listdir(FLAGS.rows) if each.startswith(f"{name}-{run}-"))
            rows[run] = []
            for each in found:
                with open(os.path.join(FLAGS.rows, each), encoding="utf-8") as file:
                    rows[run].append(json.load(file))
        if any(rows.values()):
            write_marked(path, name, f"Measured on {case.measured_on}.\n\n{table(rows, case.measured_on)}")


def missing(case: Case) -> str | None:
    """A description of the files that a case lacks; None if it has all."""
    needed = [path_of(case)]
    if case.measured_on == TEST_SET:
        needed.append(os.path.join(FLAGS.shared, "data/cifar10_test.npz"))
    if case.measured_on == PHOTOGRAPHS:
        needed.append(FLAGS.photographs or "the folder --photographs")
    absent = [path for path in needed if not os.path.exists(path)]
    return f"{', '.join(absent)} is not there; see --shared and --photographs" if absent else None


def main(argv: list[str]) -> None:
    """Runs the missing rows, or writes the report."""
    del argv
    if FLAGS.report:
        report(FLAGS.report)
        return
    os.makedirs(FLAGS.rows, exist_ok=True)
    for name in FLAGS.cases or CASES:
        if (reason := missing(CASES[name])) is not None:
            print(f"{name} skipped: {reason}")
            continue
        for run in FLAGS.runs or RUNS:
            for seed in map(int, FLAGS.seeds):
                path = os.path.join(FLAGS.rows, f"{name}-{run}-{seed}.json")
                if not os.path.exists(path):
                    files.write_text(path, json.dumps(run_row(CASES[name], run, seed), indent=1) + "\n")
                    print(f"{name}, {run}, seed {seed}", flush=True)


if __name__ == "__main__":
    app.run(main)
