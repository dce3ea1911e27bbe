"""Chains of teachers and students: assistants, generations, and a teacher that stopped early.

    python examples/chains.py

The first images of the shipped test file are used for training, the rest for evaluation. A student with a
quarter of the teacher's width is trained directly and through an assistant of half the width. Then two
generations follow a tolerant teacher of the student's size. Finally, the epoch of a network that makes the
best teacher is chosen.
"""

import tempfile

import keras
import numpy as np
from absl import app, flags

import tfkd

FLAGS = flags.FLAGS
flags.DEFINE_string("teacher", "examples/assets/lenet5_mnist.keras", "trained Keras model")
flags.DEFINE_string("data", "examples/assets/mnist_test.npz", "npz with x_test and y_test")
flags.DEFINE_integer(
    "images", 1000, "images to learn from; half as many more choose a teacher", lower_bound=1
)
flags.DEFINE_integer("epochs", 10, "of every network", lower_bound=1)
flags.DEFINE_integer("seed", 1, "random seed")

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def load(path: str, images: int) -> tuple[tuple, tuple, tuple]:
    """Images and labels for training, for choosing, and for evaluation."""
    with np.load(path) as arrays:
        x, y = arrays["x_test"][..., None].astype("float32") / 255, arrays["y_test"].astype("int64")
    learned, chosen = images, images + images // 2
    return (x[:learned], y[:learned]), (x[learned:chosen], y[learned:chosen]), (x[chosen:], y[chosen:])


def accuracy(model: keras.Model, data: tuple) -> float:
    """Accuracy of a network on images with labels."""
    return float(np.mean(model.predict(data[0], batch_size=500, verbose=0).argmax(-1) == data[1]))


def main(argv: list[str]) -> None:
    """Trains the chains and prints the accuracies of their students."""
    train, held_out, test = load(FLAGS.data, FLAGS.images)
    teacher = tfkd.load_teacher(FLAGS.teacher)
    print(f"teacher, {teacher.count_params():,} parameters: {accuracy(teacher, test):.2%}", flush=True)
    options = {"epochs": FLAGS.epochs, "optimizer": keras.optimizers.Adam(2e-3), "loss": LOSS}
    options |= {"batch_size": 50, "verbose": 0}

    def student():
        keras.utils.set_random_seed(FLAGS.seed)
        return tfkd.students.scale_width(teacher, 0.25, name="student")

    direct = tfkd.schemes.Chain(teacher, [student()])
    direct.fit(*train, **options)
    print(f"student, {direct.student.count_params():,} parameters: {accuracy(direct.student, test):.2%}")

    chain = tfkd.schemes.assistants(teacher, student(), sizes=[0.5])
    chain.fit(*train, **options)
    assistant, taught = (accuracy(network, test) for network in chain.students)
    print(f"assistant of half the width: {assistant:.2%}; the student it taught: {taught:.2%}", flush=True)

    chain = tfkd.schemes.generations(None, student, n=2, tolerance=0.3)
    chain.fit(*train, **options)
    figures = ", ".join(f"{accuracy(network, test):.2%}" for network in chain.students)
    print(f"a tolerant network and two generations: {figures}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        kept = tfkd.callbacks.KeepEpochs(folder, every=max(1, FLAGS.epochs // 2))
        network = tfkd.students.scale_width(teacher, 0.5)
        network.compile(keras.optimizers.Adam(2e-3), LOSS)
        network.fit(*train, batch_size=50, epochs=FLAGS.epochs, callbacks=[kept], verbose=0)
        choice = tfkd.schemes.choose_teacher(
            kept.files, student, *train, validation_data=held_out, seed=FLAGS.seed, **options
        )
    print(f"teachers and the students they taught, on other images:\n{choice}")


if __name__ == "__main__":
    app.run(main)
