"""Compression without data: accuracy, bytes and milliseconds of every variant, one row at a time.

    python benchmarks/compression.py --case=lenet5 --seeds=1,2,3
    python benchmarks/compression.py --report=docs/compression.md

A row (case, seed) has the measurements of `tfkd-compress`, once only quantized and once pruned to 80 % and
then quantized; existing rows are not run again. Real images are used for evaluation only. `--report` writes
the table.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from absl import app, flags
from marked import write_marked

from tfkd._core import files

FLAGS = flags.FLAGS
flags.DEFINE_string("case", "lenet5", "one of the cases below")
flags.DEFINE_list("seeds", ["1"], "one row for each")
flags.DEFINE_string("rows", "docs/compression_rows", "where rows are kept")
flags.DEFINE_string(
    "shared", "../shared", "folder of data sets and teachers that are not part of this project"
)
flags.DEFINE_string("report", None, "a Markdown file to write the table to, instead of running rows")


@dataclasses.dataclass(frozen=True)
class Case:
    """A model to compress, evaluation data, flags, and additional flags for quantization alone.

    "shared/" stands for --shared.
    """

    model: str
    data: str
    flags: tuple[str, ...] = ()
    only_quantized: tuple[str, ...] = ()


# Half generated images and half images of chains, half of which are refined.
_CHAINS_AND_GENERATED = (
    "--recipe=recovery",
    "--epochs=16",
    "--recipe_options=filters=32",
    "--recipe_options=prior_share=0.5",
    "--recipe_options=prior=strokes,silhouettes",
    "--recipe_options=chains=4096",
    "--recipe_options=chain_moves=8",
    "--recipe_options=typicality=40",
    "--recipe_options=refine_share=0.5",
    "--recipe_options=refine_steps=10",
    "--recipe_options=refine_size=0.02",
    "--recipe_options=refine_statistics=0.05",
    "--recipe_options=replay_steps=9",
    "--recipe_options=features=3",
    "--recipe_options=features_at=convolutions",
    "--learning_rate=3e-3",
)
_FEW = ("--epochs=11",)
CASES = {
    "lenet5": Case("examples/assets/lenet5_mnist.keras", "examples/assets/mnist_test.npz"),
    "cnn_mnist": Case("shared/teachers/cnn_mnist.keras", "shared/data/mnist.npz", ("--epochs=5",)),
    "resnet8": Case(
        "examples/assets/resnet8_fashion_mnist.keras",
        "shared/data/fashion_mnist.npz",
        _CHAINS_AND_GENERATED,
        _FEW,
    ),
    "wide_resnet10_2": Case(
        "examples/assets/wide_resnet10_2_fashion_mnist.keras",
        "shared/data/fashion_mnist.npz",
        _CHAINS_AND_GENERATED,
        _FEW,
    ),
}
RUNS = {"quantized": ("--quantize",), "pruned": ("--prune=0.8", "--quantize")}


def path_of(name: str) -> str:
    """The path of a case's file."""
    return os.path.join(FLAGS.shared, name.removeprefix("shared/")) if name.startswith("shared/") else name


def run_row(case: Case, seed: int) -> dict:
    """Compresses a case's model in both ways; returns the row."""
    row = {}
    for name, stages in RUNS.items():
        more = case.only_quantized if name == "quantized" else ()
        with tempfile.TemporaryDirectory() as folder:
            command = [
                *(sys.executable, "-m", "tfkd.cli.compress"),
                f"--model={path_of(case.model)}",
                f"--eval_data={path_of(case.data)}",
                f"--output_dir={folder}/out",
                f"--seed={seed}",
                *case.flags,
                *more,
                *stages,
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            with open(f"{folder}/out/metrics.json", encoding="utf-8") as file:
                metrics = json.load(file)
        row[name] = {key: metrics[key] for key in ("variants", "stages", "sparsity", "wall_seconds")}
        row["parameters"] = metrics["model"]["params"]
    return row


# The name of each table row, and the location of its figures: run, variant, kind of file.
LINES = {
    "float32": ("quantized", "original", "float32"),
    "int8, calibrated by synthetic images": ("quantized", "original", "int8"),
    "int8, calibrated by noise": ("quantized", "original, calibrated by noise", "int8"),
    "int8, quantization-aware": ("quantized", "written file", "int8"),
    "80 % sparse, float32": ("pruned", "pruned", "float32"),
    "80 % sparse, int8 after training": ("pruned", "pruned", "int8"),
    "80 % sparse, int8, quantization-aware": ("pruned", "written file", "int8"),
}


def table(rows: list[dict]) -> str:
    """A row for each variant of a case: mean and standard deviation over seeds."""
    lines = [
        "| variant | accuracy | against float32 | gzip, bytes | of the float32 file | ms, 1 thread |",
        "|---|---|---|---|---|---|",
    ]
    base = [_variant(row, *LINES["float32"]) for row in rows]
    for name, where in LINES.items():
        found = [_variant(row, *where) for row in rows]
        accuracy = 100 * np.array([each["accuracy"] for each in found])
        lost = accuracy.mean() - 100 * np.mean([each["accuracy"] for each in base])
        zipped = np.mean([each["gzip_bytes"] for each in found])
        lines.append(
            f"| {name} | {accuracy.mean():.2f} ± {accuracy.std():.2f} | {lost:+.2f} | {zipped:,.0f} | "
            f"{zipped / base[0]['size_bytes']:.1%} | {np.mean([f['latency_ms'] for f in found]):.3f} |"
        )
    return "\n".join(lines)


def _variant(row, run, name, quantization):
    found = (v for v in row[run]["variants"] if v["name"] == name and v["quantization"] == quantization)
    return next(found)


def report(path: str) -> None:
    """Writes the tables of all cases with rows into a Markdown file, between marks or at the end."""
    for case in CASES:
        names = [name for name in sorted(os.listdir(FLAGS.rows)) if name.startswith(f"{case}-")]
        rows = []
        for name in names:
            with open(os.path.join(FLAGS.rows, name), encoding="utf-8") as file:
                rows.append(json.load(file))
        if not rows:
            continue
        seeds = "1 seed" if len(rows) == 1 else f"{len(rows)} seeds"
        write_marked(path, case, f"{rows[0]['parameters']:,} parameters, {seeds}.\n\n{table(rows)}")


def main(argv: list[str]) -> None:
    """Runs the missing rows, or writes the report."""
    if FLAGS.report:
        report(FLAGS.report)
        return
    case = CASES[FLAGS.case]
    missing = [path_of(p) for p in (case.model, case.data) if not os.path.exists(path_of(p))]
    if missing:
        print(f"skipped: {', '.join(missing)} is not there; see --shared")
        return
    os.makedirs(FLAGS.rows, exist_ok=True)
    for seed in map(int, FLAGS.seeds):
        path = os.path.join(FLAGS.rows, f"{FLAGS.case}-{seed}.json")
        if not os.path.exists(path):
            files.write_text(path, json.dumps(run_row(case, seed), indent=1) + "\n")
            print(f"{FLAGS.case}, seed {seed}", flush=True)


if __name__ == "__main__":
    app.run(main)
