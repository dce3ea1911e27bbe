"""A search on Fashion-MNIST: is a student as good as the half-width teacher at 70 % of its latency?

    python benchmarks/search.py --data=fashion_mnist.npz

The half-width teacher is trained like each trial, on the same examples for as many epochs. The budget of
the search is 70 % of its TFLite latency, and students are chosen only by examples held out from the
training data. Test images are used once, at the end, for the chosen student and the half-width teacher, and
for both trained again with other seeds. The row is written to docs/rows/search_fashion_mnist.json.
"""

import json
import os

import keras
import numpy as np
from absl import app, flags

import tfkd
from tfkd._core import files
from tfkd._core.asking import answers
from tfkd._core.copies import remade
from tfkd.searching import Budget, measure_milliseconds

FLAGS = flags.FLAGS
flags.DEFINE_string("data", "fashion_mnist.npz", "npz file with x_train, y_train, x_test and y_test")
flags.DEFINE_string("teacher", "examples/assets/resnet8_fashion_mnist.keras", "trained Keras model")
flags.DEFINE_integer("examples", 10_000, "training examples, a fifth of which is held out to choose by")
flags.DEFINE_integer("epochs", 4, "of each trial")
flags.DEFINE_integer("trials", 20, "students to try")
flags.DEFINE_float("share", 0.7, "of the milliseconds of the teacher's half that a student may take")
flags.DEFINE_list("seeds", ["1", "2"], "seeds that both networks are trained with again at the end")
flags.DEFINE_string("folder", "runs/search_fashion_mnist", "of the search, which goes on where it was")
flags.DEFINE_string("rows", "docs/rows", "where the row is kept")
flags.DEFINE_string("plot", "docs/search_pareto.png", "where the picture goes")

# Possible changes to the teacher, a ResNet-8 with widths 16, 32 and 64.
SPACE = {
    "stage1": [4, 8, 12, 16],
    "stage2": [8, 16, 24, 32],
    "stage3": [16, 32, 48, 64],
    "stem_stride": [1, 2],
}


def build(point: dict) -> keras.Model:
    """A ResNet-8 with other widths, which may first halve the image size."""
    widths = (point["stage1"], point["stage2"], point["stage3"])
    network = tfkd.students.resnet(8, (28, 28, 1), classes=10, widths=widths)

    def cloned(layer):
        strides = {"strides": (point["stem_stride"],) * 2} if layer.name == "stem" else {}
        return remade(layer, layer.get_config() | strides)

    return keras.models.clone_model(network, clone_function=cloned)


def main(argv: list[str]) -> None:
    """Searches, evaluates, and writes the row and the plot."""
    with np.load(FLAGS.data) as arrays:
        x, y, x_test, y_test = (arrays[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    x, x_test = (images[..., None].astype("float32") / 255 for images in (x, x_test))
    teacher = tfkd.load_teacher(FLAGS.teacher)
    options = {
        "training_data": (x[: FLAGS.examples], y[: FLAGS.examples]),
        "epochs": FLAGS.epochs,
        "batch_size": 64,
    }

    def half(folder, seed, budget=None):
        return tfkd.search(teacher, {"width": [0.5]}, budget, folder=folder, seed=seed, **options)

    def test_accuracy(student):
        return float(np.mean(answers(student, x_test).argmax(-1) == y_test))

    baseline = half(os.path.join(FLAGS.folder, "half"), 0, Budget(milliseconds=np.inf))
    student = baseline.student()
    # The search measures latency in its own way, so its limit is a share of the half-width teacher's
    # latency measured in that way.
    place = os.path.join(FLAGS.folder, "search")
    first = tfkd.search(
        teacher,
        {"stage1": [8], "stage2": [16], "stage3": [32], "stem_stride": [1]},
        Budget(milliseconds=np.inf),
        build=build,
        trials=1,
        folder=place,
        **options,
    )
    limit = FLAGS.share * first.best.milliseconds
    found = tfkd.search(
        teacher,
        SPACE,
        Budget(milliseconds=limit),
        build=build,
        trials=FLAGS.trials,
        folder=place,
        **options,
    )
    print(found.table())
    chosen = found.student()
    half_ms, chosen_ms = measure_milliseconds([student, chosen])
    accuracies = {"half": [test_accuracy(student)], "chosen": [test_accuracy(chosen)]}
    for seed in map(int, FLAGS.seeds):
        again = os.path.join(FLAGS.folder, f"seed{seed}")
        accuracies["half"].append(test_accuracy(half(os.path.join(again, "half"), seed).student()))
        point = {name: [value] for name, value in found.best.point.items()}
        retrained = tfkd.search(
            teacher, point, build=build, seed=seed, folder=os.path.join(again, "chosen"), **options
        )
        accuracies["chosen"].append(test_accuracy(retrained.student()))
    row = {
        "teacher": os.path.basename(FLAGS.teacher),
        "teacher_test_accuracy": test_accuracy(teacher),
        "training_examples": FLAGS.examples,
        "epochs": FLAGS.epochs,
        "half": {
            "validation_accuracy": baseline.best.objective,
            "test_accuracies": accuracies["half"],
            "parameters": student.count_params(),
            "flops": baseline.best.flops,
            "milliseconds": half_ms,
        },
        "chosen": {
            "point": found.best.point,
            "validation_accuracy": found.best.objective,
            "test_accuracies": accuracies["chosen"],
            "parameters": chosen.count_params(),
            "flops": found.best.flops,
            "milliseconds": chosen_ms,
        },
        "share_of_milliseconds": chosen_ms / half_ms,
        "mean_test_difference": float(np.mean(accuracies["chosen"]) - np.mean(accuracies["half"])),
        "search": found.describe(),
    }
    files.write_text(
        os.path.join(FLAGS.rows, "search_fashion_mnist.json"), json.dumps(row, indent=1) + "\n"
    )
    found.pareto_plot(FLAGS.plot)
    print(json.dumps({name: value for name, value in row.items() if name != "search"}, indent=1))


if __name__ == "__main__":
    app.run(main)
