"""Trains the shipped LeNet-5 teacher, or another network of `tfkd.students`, on images in an npz file.

    python examples/train_teacher.py --data=mnist.npz --output=examples/assets/lenet5_mnist.keras
    python examples/train_teacher.py --data=fashion_mnist.npz --network=resnet8 --flip --epochs=20

The npz file has x_train, y_train, x_test and y_test, with uint8 images (n, 28, 28) or (n, 28, 28, c).
The student's tests never see it; the printed accuracy is from the last epoch.
"""

import keras
import numpy as np
from absl import app, flags

from tfkd._core import files
from tfkd.students import network_named

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "npz with x_train, y_train, x_test, y_test", required=True)
flags.DEFINE_string("output", "teacher.keras", "where the teacher goes")
flags.DEFINE_string("network", "lenet5", "a network of tfkd.students with its numbers, such as resnet8")
flags.DEFINE_boolean("flip", False, "mirror half of the images left to right")
flags.DEFINE_string("test_output", None, "also save x_test and y_test, compressed, as this npz")
flags.DEFINE_integer("epochs", 10, "epochs", lower_bound=1)
flags.DEFINE_integer("batch_size", 256, "images in each update", lower_bound=1)
flags.DEFINE_float("learning_rate", 2e-3, "peak learning rate of AdamW")
flags.DEFINE_integer("seed", 0, "seed of initialization and shuffling")


def load(path: str) -> dict[str, np.ndarray]:
    """Images as float32 (n, height, width, channels) in [0, 1], labels as integers."""
    with np.load(path) as arrays:
        data = {name: arrays[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    for name in ("x_train", "x_test"):
        images = data[name].astype("float32") / 255.0
        data[name] = images[..., None] if images.ndim == 3 else images
    return {name: v.ravel() if name.startswith("y") else v for name, v in data.items()}


def main(argv: list[str]) -> None:
    """Trains, prints the test accuracy of the last epoch, and saves."""
    data = load(FLAGS.data)
    keras.utils.set_random_seed(FLAGS.seed)
    classes = int(data["y_train"].max()) + 1
    teacher = network_named(FLAGS.network, data["x_train"].shape[1:], classes)
    trained = keras.Sequential([keras.layers.RandomFlip("horizontal"), teacher]) if FLAGS.flip else teacher
    updates = FLAGS.epochs * -(-len(data["x_train"]) // FLAGS.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(FLAGS.learning_rate, updates)
    trained.compile(
        keras.optimizers.AdamW(schedule, weight_decay=0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    trained.fit(
        data["x_train"],
        data["y_train"],
        batch_size=FLAGS.batch_size,
        epochs=FLAGS.epochs,
        verbose=2,
    )
    _, accuracy = trained.evaluate(data["x_test"], data["y_test"], batch_size=500, verbose=0)
    print(f"test accuracy: {accuracy:.2%}")
    # The file of an uncompiled copy does not contain the optimizer's state.
    plain = network_named(FLAGS.network, data["x_train"].shape[1:], classes)
    plain.set_weights(teacher.get_weights())
    with files.replacing(FLAGS.output) as temporary:
        plain.save(temporary)
    if FLAGS.test_output:
        with files.replacing(FLAGS.test_output) as temporary:
            pixels = np.round(data["x_test"] * 255).astype("uint8")
            np.savez_compressed(temporary, x_test=pixels, y_test=data["y_test"])


if __name__ == "__main__":
    app.run(main)
