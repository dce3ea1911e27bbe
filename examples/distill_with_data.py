"""Distillation with data: soft targets and labels, compared with the same student on labels alone.

    python examples/distill_with_data.py --data=mnist.npz

The npz file has the format described in examples/train_teacher.py.
"""

import keras
from absl import app, flags
from train_teacher import load

import tfkd

FLAGS = flags.FLAGS
flags.DEFINE_string("teacher", "examples/assets/lenet5_mnist.keras", "trained Keras model")
flags.DEFINE_float("temperature", 4.0, "softening of both networks' probabilities")
flags.DEFINE_float("student_loss_weight", 0.5, "weight of the labels, the rest is the teacher's")
flags.DEFINE_integer("examples", 10_000, "training examples used; the fewer, the more a teacher helps")
# Shared with train_teacher: --data, --epochs, --batch_size, --seed.


def train(model: keras.Model, data: dict, loss) -> float:
    """Trains a student or a distiller and returns the test accuracy of the last epoch."""
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    n = FLAGS.examples
    model.fit(
        data["x_train"][:n],
        data["y_train"][:n],
        batch_size=FLAGS.batch_size,
        epochs=FLAGS.epochs,
        verbose=2,
    )
    return model.evaluate(data["x_test"], data["y_test"], batch_size=500, verbose=0, return_dict=True)[
        "accuracy"
    ]


def main(argv: list[str]) -> None:
    """Trains the student twice and prints both accuracies."""
    data = load(FLAGS.data)
    teacher = tfkd.load_teacher(FLAGS.teacher)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    keras.utils.set_random_seed(FLAGS.seed)
    alone = train(tfkd.students.lenet5_half(), data, loss)

    keras.utils.set_random_seed(FLAGS.seed)
    soft_targets = tfkd.losses.SoftTargets(temperature=FLAGS.temperature)
    distiller = tfkd.Distiller(
        teacher,
        tfkd.students.lenet5_half(),
        soft_targets,
        student_loss_weight=FLAGS.student_loss_weight,
    )
    taught = train(distiller, data, loss)
    print(f"labels alone {alone:.2%}, with the teacher {taught:.2%}")


if __name__ == "__main__":
    app.run(main)
