"""Two networks that teach each other on 2,000 MNIST images, compared with one trained alone.

python examples/mutual.py
"""

import pathlib

import keras
import numpy as np

import tfkd

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
FIT = {"batch_size": 64, "epochs": 12, "verbose": 0}


def network(seed):
    keras.utils.set_random_seed(seed)
    return tfkd.students.lenet5_half()


def main():
    with np.load(pathlib.Path(__file__).parent / "assets/mnist_test.npz") as arrays:
        x, y = arrays["x_test"][..., None] / np.float32(255), arrays["y_test"].astype("int32")
    train, test = (x[:2000], y[:2000]), (x[5000:], y[5000:])

    alone = network(1)
    alone.compile(keras.optimizers.Adam(2e-3), LABELS_LOSS, metrics=["accuracy"])
    alone.fit(*train, **FIT)

    distiller = tfkd.schemes.MutualDistiller([network(1), network(2)])
    distiller.compile(keras.optimizers.Adam(2e-3), LABELS_LOSS, metrics=["accuracy"])
    distiller.fit(*train, **FIT)

    measured = distiller.evaluate(*test, return_dict=True, verbose=0)
    print(f"alone: {alone.evaluate(*test, return_dict=True, verbose=0)['accuracy']:.2%}")
    print(f"taught by a peer: {measured['student_0_accuracy']:.2%}, {measured['student_1_accuracy']:.2%}")
    print(f"both together: {measured['accuracy']:.2%}")


if __name__ == "__main__":
    main()
