"""Noisy Student: 300 digits with labels, thousands without.

    python examples/noisy_student.py

Some images of the shipped test file are used for training with their labels, some without, and the rest for
evaluation. The teacher is trained on the labelled images alone, the students on its pseudo-labels, with
noise.
"""

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tfkd

FLAGS = flags.FLAGS
flags.DEFINE_string("data", "examples/assets/mnist_test.npz", "npz with x_test and y_test")
flags.DEFINE_integer("labelled", 300, "images whose labels are used", lower_bound=10)
flags.DEFINE_integer("unlabelled", 2700, "images whose labels are not", lower_bound=10)
flags.DEFINE_integer("iterations", 2, "students, each taught by the one before", lower_bound=1)
flags.DEFINE_integer("epochs", 12, "epochs of each network", lower_bound=1)
flags.DEFINE_integer("seed", 1, "random seed")


def moved(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """An image shifted by up to three pixels in each direction."""
    return tf.image.stateless_random_crop(tf.pad(image, ((3, 3), (3, 3), (0, 0))), image.shape, seed)


def accuracy(model: keras.Model, data: tuple) -> float:
    """Accuracy of a model on images with labels."""
    return float(np.mean(model.predict(data[0], batch_size=500, verbose=0).argmax(-1) == data[1]))


def main(argv: list[str]) -> None:
    """Trains a teacher and its students and prints their accuracies."""
    with np.load(FLAGS.data) as arrays:
        x, y = arrays["x_test"][..., None].astype("float32") / 255, arrays["y_test"].astype("int64")
    few, all_seen = FLAGS.labelled, FLAGS.labelled + FLAGS.unlabelled
    held_out = x[all_seen:], y[all_seen:]

    def network(iteration: int) -> keras.Model:
        return tfkd.students.with_noise(tfkd.students.lenet5(), dropout=0.3)

    scheme = tfkd.schemes.NoisyStudent(
        None, network, iterations=FLAGS.iterations, unlabelled_ratio=4, augment=moved, seed=FLAGS.seed
    )
    scheme.fit(
        (x[:few], y[:few]),
        x[few:all_seen],
        epochs=FLAGS.epochs,
        optimizer=keras.optimizers.Adam(2e-3),
        batch_size=32,
        verbose=0,
    )
    print(f"teacher, labels alone   {accuracy(scheme.teacher, held_out):.2%}")
    for number, student in enumerate(scheme.students, start=1):
        print(f"noisy student {number}         {accuracy(student, held_out):.2%}")


if __name__ == "__main__":
    app.run(main)
