"""The quickstart in Python: like `make quickstart`, in fewer than twenty lines of code.

python examples/quickstart.py
"""

import keras
import numpy as np
from absl import app, flags

import tfkd

FLAGS = flags.FLAGS
flags.DEFINE_string("teacher", "examples/assets/lenet5_mnist.keras", "trained Keras model")
flags.DEFINE_string("eval_data", "examples/assets/mnist_test.npz", "npz, only to measure")
flags.DEFINE_string("tflite", "student.tflite", "the phone's file")
flags.DEFINE_integer("epochs", 18, "epochs of 50 steps")


def main(argv: list[str]) -> None:
    """Distils, exports and prints a comparison with the file."""
    with np.load(FLAGS.eval_data) as arrays:
        test = arrays["x_test"][..., None] / np.float32(255), arrays["y_test"]

    keras.utils.set_random_seed(1)
    teacher = tfkd.load_teacher(FLAGS.teacher, input_range=(0, 1))
    student = tfkd.students.lenet5_half()
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe=tfkd.datafree.Procedural(), seed=1)
    distiller.compile(metrics=["accuracy"])
    distiller.fit(epochs=FLAGS.epochs, steps_per_epoch=50, validation_data=test, validation_freq=4)

    check = tfkd.export.export_tflite(
        distiller.student,
        FLAGS.tflite,
        quantization="int8",
        representative_data=distiller.synthesize(256),
        evaluation_data=test,
    )
    print(
        f"student {check.model_accuracy:.2%}, {FLAGS.tflite} {check.accuracy:.2%}, {check.size_bytes} bytes"
    )


if __name__ == "__main__":
    app.run(main)
