"""A network teaches its own early exits, so that most digits do not need the whole network.

    python examples/self_distillation.py

Trains a small ResNet with two early exits on half of the MNIST images that come with tfkd, chooses
thresholds on a quarter and evaluates on the last quarter. Takes less than a minute, and writes a TFLite
file for each exit to runs/self_distillation.
"""

import pathlib

import keras
import numpy as np

import tfkd
from tfkd.schemes import SelfDistiller, choose_thresholds, early_exit, exit_curve

DATA = pathlib.Path(__file__).parent / "assets" / "mnist_test.npz"
EXITS = ["stage1_block1_relu2", "stage2_block1_relu2"]


def main() -> None:
    """Trains, chooses thresholds, evaluates and exports."""
    keras.utils.set_random_seed(0)
    with np.load(DATA) as data:
        x, y = data["x_test"].reshape(-1, 28, 28, 1).astype("float32") / 255, data["y_test"]
    half, three = len(x) // 2, 3 * len(x) // 4
    network = tfkd.students.resnet(8, (28, 28, 1), widths=(8, 16, 32))

    distiller = SelfDistiller(network, EXITS, method="multi_exit")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, decay_steps=6 * -(-half // 64))
    distiller.compile(keras.optimizers.Adam(rate), loss, ["accuracy"])
    distiller.fit(x[:half], y[:half], batch_size=64, epochs=6, verbose=2)

    thresholds = choose_thresholds(distiller.network, x[half:three], y[half:three], accuracy_drop=0.003)
    # The second point never exits early: the whole network, including the cost of its exits.
    print(exit_curve(distiller.network, x[three:], y[three:], [thresholds, 1.1]))
    answers = early_exit(distiller.network, thresholds).predict(x[three:])
    print(f"images that take each exit: {np.bincount(answers.exits).tolist()}")

    for file in tfkd.export.export_exits(distiller.network, "runs/self_distillation"):
        print(
            f"{file.path}: {file.size_bytes / 1000:.0f} kB, as Keras on {file.agreement[0]:.0%} of images"
        )


if __name__ == "__main__":
    main()
