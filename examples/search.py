"""The best student within 60 % of the teacher's latency: widths, kernel sizes and numbers of layers.

    python examples/search.py

Students start with the teacher's weights. The first half of the shipped test images is used for training
and for choosing, the other half for evaluating the chosen student. Trials are short; train the student
longer before you use it.
"""

import numpy as np
from absl import app, flags

import tfkd

FLAGS = flags.FLAGS
flags.DEFINE_string("teacher", "examples/assets/lenet5_mnist.keras", "trained Keras model")
flags.DEFINE_string("data", "examples/assets/mnist_test.npz", "npz with x_test and y_test")
flags.DEFINE_integer("trials", 6, "students to try", lower_bound=1)
flags.DEFINE_integer("epochs", 4, "of each trial", lower_bound=1)
flags.DEFINE_float("share", 0.6, "of the teacher's milliseconds that a student may take", lower_bound=0.0)
flags.DEFINE_string("folder", None, "of the search, which goes on where it was; None for a temporary one")
flags.DEFINE_string("plot", None, "a PNG to draw accuracies over milliseconds to")


def main(argv: list[str]) -> None:
    """Searches, and prints all trials and the test accuracy of the best student."""
    with np.load(FLAGS.data) as arrays:
        x, y = arrays["x_test"][..., None].astype("float32") / 255, arrays["y_test"].astype("int64")
    half = len(x) // 2
    teacher = tfkd.load_teacher(FLAGS.teacher)
    (milliseconds,) = tfkd.searching.measure_milliseconds([teacher])
    found = tfkd.search(
        teacher,
        {"width": [0.25, 0.5, 0.75], "kernel": [None, 3], "exit": [None, "conv2"]},
        tfkd.searching.Budget(milliseconds=FLAGS.share * milliseconds),
        trials=FLAGS.trials,
        training_data=(x[:half], y[:half]),
        inherit=True,
        epochs=FLAGS.epochs,
        batch_size=64,
        folder=FLAGS.folder,
    )
    print(found.table())
    if FLAGS.plot:
        found.pareto_plot(FLAGS.plot)
    right = found.student().predict(x[half:], batch_size=500, verbose=0).argmax(-1) == y[half:]
    print(f"best: {found.best.point}, {right.mean():.2%} of {half:,} other images")


if __name__ == "__main__":
    app.run(main)
