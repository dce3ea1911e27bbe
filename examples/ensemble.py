"""Several teachers: their mean, and a loss for each of them.

    python examples/ensemble.py

Two more networks, each trained quickly on some images of the shipped test file, join the shipped teacher. A
student of half their width is trained on other images: on labels alone, on the shipped teacher, on the
ensemble's mean, and on each teacher with a separate loss. The rest of the images is used for evaluation.
The two networks are much weaker than the shipped teacher, so the results show how much each weighting
trusts them.
"""

import keras
import numpy as np
from absl import app, flags

import tfkd
from tfkd import losses
from tfkd.schemes import EnsembleTeacher

FLAGS = flags.FLAGS
flags.DEFINE_string("teacher", "examples/assets/lenet5_mnist.keras", "trained Keras model")
flags.DEFINE_string("data", "examples/assets/mnist_test.npz", "npz with x_test and y_test")
flags.DEFINE_integer("examples", 2000, "images that each network learns from", lower_bound=1)
flags.DEFINE_integer("epochs", 8, "epochs of every network", lower_bound=1)
flags.DEFINE_integer("seed", 1, "random seed")

LABELS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def load(path: str, examples: int) -> list[tuple]:
    """Three sets of training images, and all other images."""
    with np.load(path) as arrays:
        x, y = arrays["x_test"][..., None].astype("float32") / 255, arrays["y_test"].astype("int64")
    ends = [examples * i for i in (1, 2, 3)]
    return list(zip(np.split(x, ends), np.split(y, ends), strict=True))


def fitted(model: keras.Model, data: tuple) -> keras.Model:
    """The model, or distiller, trained on the images and their labels."""
    model.compile(keras.optimizers.Adam(2e-3), LABELS)
    model.fit(*data, batch_size=64, epochs=FLAGS.epochs, verbose=0)
    return model


def main(argv: list[str]) -> None:
    """Trains two more teachers and students of one architecture, and prints their accuracies."""
    *of_teachers, data, others = load(FLAGS.data, FLAGS.examples)

    def show(name: str, model: keras.Model) -> None:
        right = model.predict(others[0], batch_size=500, verbose=0).argmax(-1) == others[1]
        print(f"{name:44} {np.mean(right):.2%}", flush=True)

    keras.utils.set_random_seed(FLAGS.seed)
    quick = [fitted(tfkd.students.lenet5(), images) for images in of_teachers]
    ensemble = EnsembleTeacher([FLAGS.teacher, *quick], of="probabilities")
    for teacher in (*ensemble.teachers, ensemble):
        show(f"teacher {teacher.name}", teacher)

    def student(name: str, teacher: keras.Model | None, loss) -> None:
        keras.utils.set_random_seed(FLAGS.seed)
        share = 1.0 if teacher is None else 0.1
        distiller = tfkd.Distiller(teacher, tfkd.students.lenet5_half(), loss, student_loss_weight=share)
        show(f"student of {name}", fitted(distiller, data))

    soft = losses.SoftTargets(4.0)
    student("labels alone", None, [])
    student("the shipped teacher", tfkd.load_teacher(FLAGS.teacher), soft)
    student("the ensemble's mean", ensemble, soft)
    student("each teacher", ensemble, ensemble.per_teacher(soft))
    student("each teacher, by confidence", ensemble, ensemble.per_teacher(soft, "confidence"))
    learned = ensemble.per_teacher(soft, "learned")
    student("each teacher, by learned weights", ensemble, learned)
    print("learned weights:", ", ".join(f"{weight:.2f}" for weight in learned.teacher_weights))


if __name__ == "__main__":
    app.run(main)
