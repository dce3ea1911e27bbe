"""Comparison of all kinds of TFLite files of two networks, calibrated without data.

    python benchmarks/tflite_kinds.py --fashion_mnist=fashion_mnist.npz

Files are calibrated, and biases corrected, with 256 synthesized inputs; agreement is on 1000 others,
accuracy on the test images, which are used for evaluation only. Low-bit kinds need the extra `aeq`. The
rows are written to --rows, the table to --table; existing rows are not measured again.
"""

import dataclasses
import json
import os

import keras
from absl import app, flags
from marked import write_marked

import tfkd
from tfkd._core import files
from tfkd.pipelines import load_examples
from tfkd.pipelines._compression_variants import synthetic_inputs

FLAGS = flags.FLAGS
ASSETS = os.path.join(os.path.dirname(__file__), "..", "examples", "assets")
flags.DEFINE_string("mnist", os.path.join(ASSETS, "mnist_test.npz"), "npz file with x_test and y_test")
flags.DEFINE_string("fashion_mnist", None, "likewise; None leaves the ResNet-8 without accuracy")
flags.DEFINE_integer("images", 10_000, "test images to measure on")
flags.DEFINE_integer("seed", 0, "what calibration follows from")
flags.DEFINE_string("rows", "docs/rows/tflite_kinds.json", "where the rows are kept")
flags.DEFINE_string("table", "docs/compression.md", "Markdown file that the table goes to")

NETWORKS = {"LeNet-5": ("lenet5_mnist", "mnist"), "ResNet-8": ("resnet8_fashion_mnist", "fashion_mnist")}


def measure(rows: list[dict], name: str, file: str, data: str | None) -> None:
    """Adds a row for each kind of file of a network that does not have one yet."""
    known = {row["quantization"] for row in rows if row["network"] == name}
    if not (kinds := [kind for kind in tfkd.export.QUANTIZATIONS if kind not in known]):
        return
    model = tfkd.load_teacher(os.path.join(ASSETS, f"{file}.keras"))
    examples = None
    if data is not None:
        x, y = load_examples(data, model)
        examples = x[: FLAGS.images], y[: FLAGS.images]
    keras.utils.set_random_seed(FLAGS.seed)
    calibration, judging = synthetic_inputs(model, model, FLAGS.seed)
    for kind in kinds:
        row = {"network": name, "quantization": kind}
        try:
            check = tfkd.export.export_tflite(
                model,
                None,
                kind,
                representative_data=calibration,
                verification_data=judging,
                evaluation_data=examples,
            )
            row |= dataclasses.asdict(check)
        except RuntimeError as error:
            row["problem"] = str(error)
        rows.append(row)
        files.write_text(FLAGS.rows, json.dumps(rows, indent=1) + "\n")


def table(rows: list[dict]) -> str:
    """The rows as a Markdown table; kinds that could not be made have no figures."""
    lines = [
        "| file | bytes | agreement | without correction | accuracy | ms, 1 thread | CompiledModel |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [f"{row['network']}, {row['quantization']}"]
        if "problem" in row:
            cells += ["not written", *["-"] * 5]
        else:
            compiled, accuracy = row["compiled_difference"], row["accuracy"]
            cells += [
                f"{row['size_bytes']:,}",
                f"{row['agreement']:.1%}",
                f"{row['uncorrected_agreement']:.1%}" if row["bias_corrected"] else "-",
                "-" if accuracy is None else f"{accuracy:.2%}",
                f"{row['latency_ms']:.3f}",
                "refuses it" if compiled is None else f"{compiled:.1%}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    """Measures and writes rows and table."""
    del argv
    rows = []
    if os.path.exists(FLAGS.rows):
        with open(FLAGS.rows, encoding="utf-8") as file:
            rows = json.load(file)
    for name, (network, data) in NETWORKS.items():
        measure(rows, name, network, FLAGS[data].value)
    write_marked(FLAGS.table, "tflite_kinds", table(rows))


if __name__ == "__main__":
    app.run(main)
