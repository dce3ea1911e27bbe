"""Early exits on Fashion-MNIST: accuracy against floating-point operations, three seeds.

    python benchmarks/early_exit.py --data=fashion_mnist.npz

A ResNet-8 with exits after its first two stages is trained by multi-exit distillation. Thresholds are
chosen on 5,000 held-out training images, for a loss of at most 0.1 points there; test images are used once,
at the end. Rows are written to docs/schemes.md, the curve of the first seed to docs/early_exit.png.
"""

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from marked import write_marked

import tfkd
from tfkd import schemes

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "npz file with x_train, y_train, x_test, y_test", required=True)
flags.DEFINE_list("seeds", ["1", "2", "3"], "seeds of the network")
flags.DEFINE_integer("epochs", 5, "of training")

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
EXITS = ["stage1_block1_relu2", "stage2_block1_relu2"]
BATCH, HELD_OUT, DROP = 128, 5000, 0.001


def images():
    """Training, validation and test examples."""
    with np.load(FLAGS.data) as arrays:
        x, y = arrays["x_train"][..., None] / np.float32(255), arrays["y_train"].astype("int32")
        test = arrays["x_test"][..., None] / np.float32(255), arrays["y_test"].astype("int32")
    order = np.random.default_rng(0).permutation(len(x))
    held_out, rest = np.split(order, [HELD_OUT])
    return (x[rest], y[rest]), (x[held_out], y[held_out]), test


def trained(seed, x, y):
    """A network with exits."""
    keras.utils.set_random_seed(seed)
    distiller = schemes.SelfDistiller(tfkd.students.resnet(8, (28, 28, 1)), EXITS, "multi_exit")
    rate = keras.optimizers.schedules.CosineDecay(2e-3, len(x) // BATCH * FLAGS.epochs)
    distiller.compile(keras.optimizers.Adam(rate), LOSS)
    distiller.fit(x, y, batch_size=BATCH, epochs=FLAGS.epochs, verbose=2)
    return distiller.network


def main(argv):
    tf.config.threading.set_intra_op_parallelism_threads(1)
    train, held_out, test = images()
    lines = [
        "| seed | full network, % | first, second exit alone, % | early exit, % | lost, points "
        "| FLOPs saved, % |",
        "|---|---|---|---|---|---|",
    ]
    for seed in map(int, FLAGS.seeds):
        network = trained(seed, *train)
        thresholds = schemes.choose_thresholds(network, *held_out, accuracy_drop=DROP)
        curve = schemes.exit_curve(network, *test, [thresholds])
        *alone, full = 100 * curve.exit_accuracy
        reached, saved = 100 * curve.accuracy[0], 100 * (1 - curve.flops[0] / curve.full_flops)
        exits = ", ".join(f"{each:.2f}" for each in alone)
        lines.append(
            f"| {seed} | {full:.2f} | {exits} | {reached:.2f} | {full - reached:.2f} | {saved:.1f} |"
        )
        print(lines[-1], flush=True)
        if seed == int(FLAGS.seeds[0]):
            schemes.exit_curve(network, *test).plot("docs/early_exit.png")
    write_marked("docs/schemes.md", "early exit", "\n".join(lines))


if __name__ == "__main__":
    app.run(main)
