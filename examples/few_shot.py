"""Ten images of each class: what synthesized images add to them.

    python examples/few_shot.py

The first ten images of each digit in the shipped test file are used for training, the rest for evaluation.
Students are trained on labels alone, with the teacher, with additional synthesized images, and without any
real image.
"""

import keras
import numpy as np
from absl import app, flags

import tfkd

FLAGS = flags.FLAGS
flags.DEFINE_string("teacher", "examples/assets/lenet5_mnist.keras", "trained Keras model")
flags.DEFINE_string("data", "examples/assets/mnist_test.npz", "npz with x_test and y_test")
flags.DEFINE_integer("images", 10, "real images of each class", lower_bound=1)
flags.DEFINE_integer("steps", 400, "steps of every run; each is one update on the real images, or more")
flags.DEFINE_integer("seed", 1, "random seed")


def load(path: str, images: int) -> tuple[tuple, tuple]:
    """The few training examples of each class, and all others."""
    with np.load(path) as arrays:
        x, y = arrays["x_test"][..., None].astype("float32") / 255, arrays["y_test"].astype("int64")
    few = np.concatenate([np.flatnonzero(y == label)[:images] for label in np.unique(y)])
    others = np.setdiff1d(np.arange(len(y)), few)
    return (x[few], y[few]), (x[others], y[others])


def accuracy(student: keras.Model, data: tuple) -> float:
    """Accuracy of the student on images with labels."""
    return float(np.mean(student.predict(data[0], batch_size=500, verbose=0).argmax(-1) == data[1]))


def main(argv: list[str]) -> None:
    """Trains four students of one architecture and prints their accuracies."""
    few, others = load(FLAGS.data, FLAGS.images)
    teacher = tfkd.load_teacher(FLAGS.teacher)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    epochs = max(1, FLAGS.steps // -(-len(few[0]) // 100))

    def student():
        keras.utils.set_random_seed(FLAGS.seed)
        return tfkd.students.lenet5_half()

    alone = student()
    alone.compile(keras.optimizers.Adam(2e-3), loss)
    alone.fit(*few, batch_size=100, epochs=epochs, verbose=0)
    print(f"labels alone                {accuracy(alone, others):.2%}", flush=True)

    taught = tfkd.Distiller(teacher, student(), tfkd.losses.SoftTargets(4.0))
    taught.compile(keras.optimizers.Adam(2e-3), loss)
    taught.fit(*few, batch_size=100, epochs=epochs, verbose=0)
    print(f"and the teacher's answers   {accuracy(taught.student, others):.2%}", flush=True)

    recipe = tfkd.datafree.Procedural(real_share=0.25)
    both = tfkd.DataFreeDistiller(teacher, student(), recipe, seed=FLAGS.seed, student_loss_weight=0.1)
    both.compile(loss=loss)
    both.fit(*few, batch_size=100, epochs=epochs, verbose=0)
    print(f"and synthesized images      {accuracy(both.student, others):.2%}", flush=True)

    without = tfkd.DataFreeDistiller(teacher, student(), recipe, seed=FLAGS.seed)
    without.compile()
    without.fit(epochs=1, steps_per_epoch=FLAGS.steps, verbose=0)
    print(f"synthesized images only     {accuracy(without.student, others):.2%}")


if __name__ == "__main__":
    app.run(main)
