"""Is a pruned teacher better? The experiments of "Prune Your Model Before Distill It", at small scale.

    python examples/prune_then_distill.py --data=fashion_mnist.npz --seeds=1,2,3 --rows=rows
    python examples/prune_then_distill.py --table=rows

Each student is trained three times from scratch, with the same seed: with a trained teacher, with the same
teacher after pruning in rounds (each removes a fifth of the weights, over all kernels together), and with a
teacher that was trained for as many epochs as these rounds take, without pruning. A round is half as long
as the teacher's training, and its learning rate decays from 0.05 to 0.0005; if it were rewound to the
teacher's own rates, as published, such a short round would start at 0.01. A row is a JSON file for one
seed; existing rows are not run again. Training images are the first ones in the file; accuracies are after
the last epoch.
"""

import json
import os

import keras
import numpy as np
from absl import app, flags
from keras import layers

import tfkd
from tfkd._core import files
from tfkd.compression import iterative_pruning, sparsity
from tfkd.compression._iterative import step_decay

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "npz with x_train, y_train, x_test, y_test")
flags.DEFINE_list("seeds", ["1"], "one row for each")
flags.DEFINE_string("rows", "rows", "where rows are kept")
flags.DEFINE_string("table", None, "print the table of the rows in this folder instead of running")
flags.DEFINE_integer("images", 5000, "training images", lower_bound=1)
flags.DEFINE_integer("epochs", 12, "of teachers and students; a pruning round has half of them")
flags.DEFINE_integer("rounds", 4, "of pruning; 4 leave 41 % of the weights", lower_bound=1)

_BATCH = 64
# Fractions of the remaining weights pruned in each round; the second is too small to prune any.
_A_FIFTH, _ALMOST_NOTHING = 0.2, 1e-9
# Published: weight of the labels 1 - 0.95, temperature 10, SGD with Nesterov momentum.
_TEMPERATURE, _LABELS, _DECAY = 10.0, 0.05, 5e-3
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def vgg(convolutions: tuple[int, ...], name: str) -> keras.Model:
    """A VGG-like network with these numbers of convolutions of 16, 32 and 64 channels before each
    pooling."""
    x = inputs = keras.Input((28, 28, 1), name="image")
    for stage, (count, width) in enumerate(zip(convolutions, (16, 32, 64), strict=True)):
        for i in range(count):
            x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"conv{stage}_{i}")(x)
            x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling2D(2)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, name="logits")(x), name=name)


def mobilenet(name: str = "mobilenet_v2_like") -> keras.Model:
    """Inverted residual blocks after a convolution with stride 2."""
    x = inputs = keras.Input((28, 28, 1), name="image")
    x = _normalized(layers.Conv2D(16, 3, 2, padding="same", use_bias=False)(x), active=True)
    for width, stride in ((16, 1), (24, 2), (24, 1), (32, 2), (32, 1)):
        shortcut = x
        x = _normalized(layers.Conv2D(4 * x.shape[-1], 1, use_bias=False)(x), active=True)
        depthwise = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)
        x = _normalized(depthwise(x), active=True)
        x = _normalized(layers.Conv2D(width, 1, use_bias=False)(x), active=False)
        x = layers.Add()([x, shortcut]) if shortcut.shape == x.shape else x
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, name="logits")(x), name=name)


def _normalized(x, active):
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU(6.0)(x) if active else x


def deep_vgg() -> keras.Model:
    """The teacher of the first two experiments."""
    return vgg((2, 2, 3), "vgg19_like")


def shallow_vgg() -> keras.Model:
    """A student."""
    return vgg((1, 1, 1), "vgg11_like")


TEACHERS = {"vgg19_like": deep_vgg, "resnet8": lambda: tfkd.students.resnet(8, (28, 28, 1))}
# Experiment, teacher, student; None for a dense network with as many parameters as the pruned teacher.
EXPERIMENTS = (
    ("VGG-19-like to VGG-11-like", "vgg19_like", shallow_vgg),
    ("VGG-19-like to its sparsity's widths", "vgg19_like", None),
    ("self-distillation of VGG-19-like", "vgg19_like", deep_vgg),
    ("ResNet-8 to VGG-11-like", "resnet8", shallow_vgg),
    ("ResNet-8 to MobileNetV2-like", "resnet8", mobilenet),
)


def load(path: str, images: int) -> tuple[tuple, tuple]:
    """Training and test images in [0, 1] with labels."""
    with np.load(path) as arrays:
        parts = [(arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test")]
    (x, y), test = [(x[..., None].astype("float32") / 255, y.astype("int64")) for x, y in parts]
    return (x[:images], y[:images]), test


def accuracy(model: keras.Model, data: tuple) -> float:
    """Accuracy of a network on images with labels."""
    return float(np.mean(model.predict(data[0], batch_size=500, verbose=0).argmax(-1) == data[1]))


def _sgd(rate):
    return keras.optimizers.SGD(rate, 0.9, nesterov=True, weight_decay=_DECAY)


def _scheduled():
    return keras.callbacks.LearningRateScheduler(lambda epoch, _: step_decay(epoch, FLAGS.epochs))


def trained(make, train: tuple, seed: int) -> keras.Model:
    """A trained teacher."""
    keras.utils.set_random_seed(seed)
    model = make()
    model.compile(_sgd(0.1), LOSS)
    model.fit(*train, batch_size=_BATCH, epochs=FLAGS.epochs, callbacks=[_scheduled()], verbose=0)
    return model


def trained_on(teacher: keras.Model, train: tuple, per_round: float) -> keras.Model:
    """The teacher after rounds of pruning, each with half of its epochs and its own schedule."""
    half = FLAGS.epochs // 2
    return iterative_pruning(
        *(teacher, *train, FLAGS.rounds, per_round),
        epochs=FLAGS.epochs,
        rewind_epoch=half,
        learning_rate=lambda epoch: step_decay(epoch - half, half, 0.05),
        batch_size=_BATCH,
        verbose=0,
    )


def distilled(teacher: keras.Model, make, train: tuple, test: tuple, seed: int) -> float:
    """The test accuracy of a student trained with a teacher."""
    keras.utils.set_random_seed(seed)
    soft = tfkd.losses.SoftTargets(_TEMPERATURE)
    distiller = tfkd.Distiller(teacher, make(), soft, student_loss_weight=_LABELS)
    distiller.compile(_sgd(0.1), LOSS)
    distiller.fit(*train, batch_size=_BATCH, epochs=FLAGS.epochs, callbacks=[_scheduled()], verbose=0)
    return accuracy(distiller.student, test)


def run_row(seed: int, train: tuple, test: tuple) -> dict:
    """All experiments with one seed."""
    row = {"teachers": {}, "students": {}}
    teachers = {}
    for name, make in TEACHERS.items():
        dense = trained(make, train, seed)
        teachers[name] = {
            "dense": dense,
            "dense, as long": trained_on(dense, train, _ALMOST_NOTHING),
            "pruned": trained_on(dense, train, _A_FIFTH),
        }
        figures = {kind: accuracy(teacher, test) for kind, teacher in teachers[name].items()}
        row["teachers"][name] = {**figures, "sparsity": sparsity(teachers[name]["pruned"])}
        print(f"seed {seed}, {name}: {row['teachers'][name]}", flush=True)
    for experiment, name, make in EXPERIMENTS:
        student = make or (lambda name=name: tfkd.students.from_sparsity(teachers[name]["pruned"]))
        figures = {
            kind: distilled(teacher, student, train, test, seed) for kind, teacher in teachers[name].items()
        }
        row["students"][experiment] = {"parameters": student().count_params(), **figures}
        print(f"seed {seed}, {experiment}: {row['students'][experiment]}", flush=True)
    return row


def table(folder: str) -> str:
    """Mean and standard deviation over seeds, and how often the pruned teacher is as good."""
    rows = []
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            rows.append(json.load(file))
    kinds = ("dense", "dense, as long", "pruned")
    lines = [
        f"| student | parameters | {' | '.join(kinds)} | pruned at least as good as dense, as long |",
        "|---|---|---|---|---|---|",
    ]
    for experiment in rows[0]["students"]:
        figures = [row["students"][experiment] for row in rows]
        accuracies = {kind: 100 * np.array([each[kind] for each in figures]) for kind in kinds}
        cells = [f"{values.mean():.2f} ± {values.std():.2f}" for values in accuracies.values()]
        wins = [np.sum(accuracies["pruned"] >= accuracies[kind]) for kind in kinds[:2]]
        cells += [f"{wins[0]}, {wins[1]} of {len(rows)}"]
        parameters = np.mean([each["parameters"] for each in figures])
        lines.append(f"| {experiment} | {parameters:,.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    """Runs the rows that are missing, or prints the table."""
    if FLAGS.table:
        print(table(FLAGS.table))
        return
    if not FLAGS.data:
        raise app.UsageError("--data is needed: an npz file such as Fashion-MNIST's.")
    train, test = load(FLAGS.data, FLAGS.images)
    os.makedirs(FLAGS.rows, exist_ok=True)
    for seed in map(int, FLAGS.seeds):
        path = os.path.join(FLAGS.rows, f"{seed}.json")
        if not os.path.exists(path):
            files.write_text(path, json.dumps(run_row(seed, train, test), indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
