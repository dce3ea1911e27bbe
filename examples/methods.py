"""Every method of distilling with data, compared with training on labels and with keras.distillation.

    python examples/methods.py --data=fashion_mnist.npz --output_dir=runs/methods

The teacher is trained on the first --teacher_examples training images, and LeNet-5-half, with each method
and seed, on the last --examples: the situation of a user with few labels and a teacher trained on more.
Writes a table (methods.md), all numbers (methods.json) and a bar chart (methods.png). An interrupted run
continues where it stopped. The npz file has the format described in examples/train_teacher.py.
"""

import json
import os
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from keras import layers
from train_teacher import load

import tfkd
from tfkd import losses
from tfkd._core import files
from tfkd.schemes import Stage, Stages

FLAGS = flags.FLAGS
flags.DEFINE_string("output_dir", "runs/methods", "where the teacher, the table and the chart go")
flags.DEFINE_list("methods", None, "some of the methods; all by default")
flags.DEFINE_list("seeds", ["1", "2", "3"], "seeds of the student's initialization and of shuffling")
flags.DEFINE_integer("teacher_examples", 50_000, "first training images, for the teacher")
flags.DEFINE_integer("examples", 2000, "last training images, for the students")
flags.DEFINE_integer("first_stage", 3, "epochs of the first of two stages, out of --epochs")
# Shared with train_teacher: --data, --epochs, --batch_size, --learning_rate.
FLAGS.set_default("batch_size", 16)
FLAGS.set_default("learning_rate", 5e-3)

LABELS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
# Layers to compare: feature maps at half depth, feature maps at two depths, and the last layer's input.
MIDDLE, DEPTHS, LAST = ("relu2", "conv2"), (["relu1", "relu2"], ["conv1", "conv2"]), ("logits:input",) * 2


def build_teacher(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Three convolutions with batch normalization, and the mean over positions."""
    x = inputs = keras.Input(shape)
    for i, width in enumerate((32, 64, 128), 1):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        x = layers.MaxPooling2D(name=f"pool{i}")(x) if i < 3 else x
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="teacher")


def single(loss, weight: float = 1.0, labels: float = 0.5) -> list[Stage]:
    """Labels and one loss in all epochs."""
    return [stage(loss, FLAGS.epochs, loss_weights=[weight], student_loss_weight=labels)]


def two_stages(first, weight: float = 1.0, second=None, trainable=None) -> list[Stage]:
    """First the loss without labels, then labels alone or with another loss."""
    options = {"loss_weights": [weight], "student_loss_weight": 0.0, "trainable": trainable}
    hints = stage(first, FLAGS.first_stage, **options)
    return [hints, stage(second, FLAGS.epochs - FLAGS.first_stage)]


def stage(loss, epochs: int, **kwargs) -> Stage:
    """A stage with Adam and a learning rate that decays over the stage."""
    updates = epochs * -(-FLAGS.examples // FLAGS.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(FLAGS.learning_rate, updates)
    return Stage(loss, epochs, optimizer=keras.optimizers.Adam(schedule, clipnorm=1.0), **kwargs)


def factor_transfer() -> list[Stage]:
    """First the paraphraser, without training the student, then the transfer in all epochs."""
    transfer = losses.FactorTransfer(*MIDDLE)
    paraphrase = stage(transfer.paraphrasing(), 1, student_loss_weight=0.0, trainable=[])
    return [paraphrase, *single(transfer, 2.0)]


# Each loss has its published weight, a tenth or a hundredth of it, whichever was best with one seed on
# training images that no student saw. The temperature of SoftTargets and the learning rate were chosen in
# the same way.
METHODS = {
    "training alone": lambda: [stage(None, FLAGS.epochs)],
    "keras.distillation (default)": "kl_divergence",
    "keras.distillation (KLDivergence)": keras.losses.KLDivergence(),
    "SoftTargets": lambda: single(losses.SoftTargets(temperature=1.0), labels=0.1),
    "DecoupledKnowledge": lambda: single(losses.DecoupledKnowledge(temperature=1.0), 0.1),
    "DIST": lambda: single(losses.DIST(), 2.0),
    "LogitStandardization": lambda: single(losses.LogitStandardization(), 10.0, labels=0.1),
    "MultiLevelLogits": lambda: single(losses.MultiLevelLogits(), labels=0.1),
    "TeacherFree": lambda: single(losses.TeacherFree(), 100.0, labels=0.9),
    "Hint": lambda: two_stages(
        losses.Hint(*MIDDLE, projector=True), 10.0, losses.SoftTargets(), ["conv1", "conv2"]
    ),
    "AttentionTransfer": lambda: single(losses.AttentionTransfer(*DEPTHS), 10.0),
    "GradientAttention": lambda: single(losses.GradientAttention(), 0.1),
    "FSP": lambda: two_stages(losses.FSP(*DEPTHS, projector=True)),
    "SimilarityPreserving": lambda: single(losses.SimilarityPreserving(*LAST), 30.0),
    "Relational": lambda: single(losses.Relational(*LAST), 0.1),
    "ProbabilisticTransfer": lambda: single(losses.ProbabilisticTransfer(*LAST), 30000.0),
    "CorrelationCongruence": lambda: single(losses.CorrelationCongruence(*LAST, projector=True), 0.02),
    "NeuronSelectivity": lambda: single(losses.NeuronSelectivity(*MIDDLE), 0.5),
    "FactorTransfer": factor_transfer,
    # Not projector=True: its batch normalization lets features grow so that the next layers cannot use
    # them.
    "ActivationBoundary": lambda: two_stages(
        losses.ActivationBoundary("relu2:input", "conv2", projector=layers.Conv2D(64, 1))
    ),
    "VariationalInformation": lambda: single(losses.VariationalInformation(*MIDDLE), 0.01),
    "Overhaul": lambda: single(losses.Overhaul("norm2", "conv2"), 0.01),
    "Review": lambda: single(losses.ReviewKD([*DEPTHS[0], "relu3"], [*DEPTHS[1], "conv3"]), 5.0),
    "Contrastive": lambda: single(
        losses.Contrastive(*LAST, examples=FLAGS.examples, negatives=1024, seed=0), 0.008
    ),
    "SingularValues": lambda: single(losses.SingularValues(*DEPTHS, projector=True)),
    "CosineEmbedding": lambda: single(losses.CosineEmbedding(*LAST, projector=True), 0.1),
}


def trained_teacher(data: dict) -> keras.Model:
    """The teacher from an earlier run, or a new one."""
    path = os.path.join(FLAGS.output_dir, "teacher.keras")
    if os.path.exists(path):
        return keras.models.load_model(path)
    keras.utils.set_random_seed(0)
    teacher = build_teacher(data["x_train"].shape[1:], int(data["y_train"].max()) + 1)
    x, y = (data[name][: FLAGS.teacher_examples] for name in ("x_train", "y_train"))
    updates = FLAGS.epochs * -(-len(x) // 128)
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, updates)
    teacher.compile(keras.optimizers.AdamW(schedule, weight_decay=0.01), LABELS, metrics=["accuracy"])
    teacher.fit(x, y, batch_size=128, epochs=FLAGS.epochs, verbose=2)
    with files.replacing(path) as temporary:
        teacher.save(temporary)
    return teacher


def run(method: str, seed: int, teacher: keras.Model, dataset: tf.data.Dataset, data: dict) -> dict:
    """Trains one student; returns its test accuracy after the last epoch, and the seconds it took."""
    keras.utils.set_random_seed(seed)
    student = tfkd.students.lenet5_half(data["x_train"].shape[1:])
    dataset = dataset.shuffle(FLAGS.examples, seed=seed).batch(FLAGS.batch_size).prefetch(2)
    start = time.perf_counter()
    if method.startswith("keras"):
        theirs = keras.distillation.LogitsDistillation(1.0, loss=METHODS[method])
        distiller = keras.distillation.Distiller(teacher, student, theirs, student_loss_weight=0.1)
        distiller.compile(stage(None, FLAGS.epochs).fresh_optimizer(), LABELS)
        dataset = dataset.map(lambda x, y: (tfkd.distilling.unpack(x).inputs, y))
        distiller.fit(dataset, epochs=FLAGS.epochs, verbose=0)
    else:
        Stages(METHODS[method]()).fit(teacher, student, dataset, loss=LABELS, verbose=0)
    seconds = time.perf_counter() - start
    predicted = student.predict(data["x_test"], batch_size=500, verbose=0).argmax(-1)
    return {"accuracy": 100 * float(np.mean(predicted == data["y_test"])), "seconds": seconds}


def write(results: dict, teacher_accuracy: float) -> None:
    """Writes the table and the chart of the results so far."""
    rows, bars = [], {}
    for method, runs in results.items():
        accuracies = [run["accuracy"] for run in runs.values()]
        seconds = np.median([run["seconds"] for run in runs.values()])
        bars[method] = np.mean(accuracies), np.std(accuracies, ddof=1) if len(accuracies) > 1 else 0.0
        rows.append((method, *bars[method], len(accuracies), seconds))
    alone, spread = bars.get("training alone", (float("nan"),) * 2)
    lines = ["| method | accuracy | over training alone | seeds | seconds |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {mean:.2f} ± {deviation:.2f} | {mean - alone:+.2f} | {n} | {seconds:.0f} |"
        for name, mean, deviation, n, seconds in rows
    ]
    caption = f"Teacher {teacher_accuracy:.2f}; training alone varies by {spread:.2f}.\n"
    files.write_text(os.path.join(FLAGS.output_dir, "methods.md"), "\n".join([*lines, "", caption]))
    draw(bars, teacher_accuracy)


def draw(bars: dict, teacher_accuracy: float) -> None:
    """Draws bars from the best method to the worst, with standard deviations."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    order = sorted(bars, key=lambda name: bars[name][0])
    means, deviations = zip(*(bars[name] for name in order), strict=True)

    def color(name):
        return "#b0b0b0" if name == "training alone" else "#707070" if "keras" in name else "#3b7dd8"

    figure, axes = plt.subplots(figsize=(8, 0.28 * len(order) + 1.2), layout="constrained")
    axes.barh(order, means, xerr=deviations, color=[color(name) for name in order])
    axes.axvline(bars.get("training alone", (np.nan,))[0], color="#b0b0b0", linestyle="--", linewidth=1)
    low = min(np.subtract(means, deviations))
    axes.set_xlim(low - 0.3, max(np.add(means, deviations)) + 0.2)
    axes.set_xlabel(f"test accuracy of LeNet-5-half in % (teacher {teacher_accuracy:.2f})")
    axes.spines[["top", "right"]].set_visible(False)
    with files.replacing(os.path.join(FLAGS.output_dir, "methods.png")) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)


def main(argv: list[str]) -> None:
    """Runs the methods and seeds that are not yet in the results file."""
    data = load(FLAGS.data)
    teacher = trained_teacher(data)
    predicted = teacher.predict(data["x_test"], batch_size=500, verbose=0).argmax(-1)
    teacher_accuracy = 100 * float(np.mean(predicted == data["y_test"]))
    arrays = data["x_train"][-FLAGS.examples :], data["y_train"][-FLAGS.examples :]
    dataset = tfkd.with_index(tf.data.Dataset.from_tensor_slices(arrays), batched=False).cache()
    path = os.path.join(FLAGS.output_dir, "methods.json")
    results = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            results = json.load(file)
    for seed in FLAGS.seeds:
        for method in FLAGS.methods or METHODS:
            if seed in results.setdefault(method, {}):
                continue
            results[method][seed] = run(method, int(seed), teacher, dataset, data)
            print(method, seed, results[method][seed], flush=True)
            files.write_text(path, json.dumps(results, indent=1))
            write({name: runs for name, runs in results.items() if runs}, teacher_accuracy)


if __name__ == "__main__":
    app.run(main)
