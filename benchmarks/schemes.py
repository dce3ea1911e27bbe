"""Accuracy of a student trained with each scheme, three seeds each.

    python benchmarks/schemes.py --data=fashion_mnist.npz            # all rows, an hour of one core
    python benchmarks/schemes.py --data=... --rows=alone,soft_targets --seeds=0,1
    python benchmarks/schemes.py --data=... --labelled=1000 --epochs=60 --folder=docs/scheme_rows_1000

The student is a half-width ResNet-8, and every row trains it with the same number of updates on 128 images;
the cost of its teachers, peers and predecessors is additional and is listed separately. Teachers have the
full width and are trained on 6,000 labelled images of Fashion-MNIST; students get all or some of these.
Nothing is chosen on test data: options are the papers' or the library's defaults; the epoch of the
early-stopped teacher and the noise of the noisy student are chosen on 1,000 held-out training images;
accuracies are from the last epoch. Each run writes a file to --folder; the table of all files there is
written to docs/schemes.md.
"""

import json
import os
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from marked import write_marked

import tfkd
from tfkd import callbacks, losses, schemes, students
from tfkd._core import files

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "npz file with x_train, y_train, x_test, y_test", required=True)
flags.DEFINE_list("rows", None, "which rows; all by default")
flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds of the student")
flags.DEFINE_string("folder", "docs/scheme_rows", "where the runs are kept")
flags.DEFINE_integer("labelled", 6000, "images that students learn from with labels", upper_bound=6000)
flags.DEFINE_integer("epochs", 15, "of the student")
flags.DEFINE_string("teachers", None, "folder that keeps trained teachers; a temporary one by default")

# Training images of the teachers; students have all or some of them.
LABELLED, HELD_OUT, BATCH, TEACHER_EPOCHS = 6000, 1000, 128, 15
LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
EXITS = ["stage1_block1_relu2", "stage2_block1_relu2"]


def steps():
    """The number of a student's updates."""
    return -(-FLAGS.labelled // BATCH) * FLAGS.epochs


def optimizer(updates=None):
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, updates or steps()))


def network(widths=(8, 16, 32)):
    return students.resnet(8, (28, 28, 1), 10, widths)


class Data:
    """The labelled images, the unlabelled ones, a few held-out images for choices, and the test images."""

    def __init__(self, path):
        with np.load(path) as arrays:
            x, y = arrays["x_train"][..., None] / np.float32(255), arrays["y_train"].astype("int32")
            self.test = arrays["x_test"][..., None] / np.float32(255), arrays["y_test"].astype("int32")
        order = np.random.default_rng(0).permutation(len(x))
        labelled, held_out, rest = np.split(order, [LABELLED, LABELLED + HELD_OUT])
        self.of_teachers, self.held_out = (x[labelled], y[labelled]), (x[held_out], y[held_out])
        self.train = tuple(each[: FLAGS.labelled] for each in self.of_teachers)
        self.unlabelled = x[rest]

    def accuracy(self, model):
        answers = model.predict(self.test[0], batch_size=500, verbose=0)
        return float(np.mean(answers.argmax(-1) == self.test[1]))


class Teachers:
    """Full-width teachers, trained once on the labelled images."""

    def __init__(self, data, folder):
        self.data, self.folder = data, folder

    def path(self, seed):
        return os.path.join(self.folder, f"teacher_{seed}", f"epoch_{TEACHER_EPOCHS:04d}.keras")

    def train(self, seed):
        """Trains a teacher if necessary; returns its files after one third, two thirds and all epochs."""
        kept = callbacks.KeepEpochs(os.path.dirname(self.path(seed)), every=TEACHER_EPOCHS // 3)
        if not os.path.exists(self.path(seed)):
            keras.utils.set_random_seed(100 + seed)
            model = network((16, 32, 64))
            model.compile(optimizer(-(-LABELLED // BATCH) * TEACHER_EPOCHS), LABELS_LOSS)
            images, labels = self.data.of_teachers
            fit = {"batch_size": BATCH, "epochs": TEACHER_EPOCHS, "verbose": 0, "callbacks": [kept]}
            model.fit(images, labels, **fit)
        return kept.files

    def get(self, seed=0):
        self.train(seed)
        return tfkd.load_teacher(self.path(seed), input_range=(0, 1))


def fit_options():
    return {"batch_size": BATCH, "epochs": FLAGS.epochs, "verbose": 0}


def alone(data, teachers):
    model = network()
    model.compile(optimizer(), LABELS_LOSS)
    model.fit(*data.train, **fit_options())
    return model


def distilled(data, teacher, loss=None, kept=()):
    student = network()
    distiller = tfkd.Distiller(teacher, student, loss or losses.SoftTargets(4.0))
    distiller.compile(optimizer(), LABELS_LOSS)
    distiller.fit(*data.train, callbacks=list(kept), **fit_options())
    return student


def soft_targets(data, teachers):
    return distilled(data, teachers.get())


def mutual(n):
    def run(data, teachers):
        distiller = schemes.MutualDistiller([network() for _ in range(n)])
        distiller.compile(optimizer(), LABELS_LOSS)
        distiller.fit(*data.train, **fit_options())
        return distiller.student

    return run


def self_distilled(method):
    def run(data, teachers):
        distiller = schemes.SelfDistiller(network(), EXITS, method)
        distiller.compile(optimizer(), LABELS_LOSS)
        distiller.fit(*data.train, **fit_options())
        return distiller.student

    return run


def three_teachers(data, teachers):
    return distilled(data, schemes.EnsembleTeacher([teachers.get(seed) for seed in range(3)]))


def assistant(data, teachers):
    chain = schemes.assistants(teachers.get(), network(), [0.75])
    chain.fit(*data.train, optimizer=optimizer(), loss=LABELS_LOSS, **fit_options())
    return chain.student


def tolerant_generations(data, teachers):
    chain = schemes.generations(None, network, n=2, tolerance=1.0)
    chain.fit(*data.train, optimizer=optimizer(), loss=LABELS_LOSS, **fit_options())
    return chain.student


def early_stopped(data, teachers):
    """A teacher from an epoch chosen by its student, then labels alone in the last third."""
    choice = schemes.choose_teacher(
        teachers.train(0),
        network,
        *data.train,
        validation_data=data.held_out,
        loss=LABELS_LOSS,
        epochs=max(1, FLAGS.epochs // 3),
        optimizer=keras.optimizers.Adam(3e-3),
        batch_size=BATCH,
        verbose=0,
    )
    print(choice, flush=True)
    stop = callbacks.StudentLossWeightSchedule(lambda epoch: 0.5 if epoch < 2 * FLAGS.epochs // 3 else 1.0)
    return distilled(data, choice.teacher, kept=[stop])


def noisy_student(data, teachers):
    """Pseudo-labels, with the same numbers of updates and images, half of them unlabelled.

    On held-out images, no noise was best for such a small student and so few updates (see docs/schemes.md).
    """
    scheme = schemes.NoisyStudent(
        teachers.get(),
        lambda iteration: network(),
        iterations=1,
        augment=None,
        seed=int(keras.random.randint((), 0, 2**30)),
    )
    scheme.fit(
        data.train,
        data.unlabelled[: steps() * BATCH // 2],
        batch_size=BATCH // 2,
        epochs=1,
        optimizer=optimizer(),
        verbose=0,
    )
    return scheme.student


ROWS = {
    "alone": alone,
    "soft_targets": soft_targets,
    "mutual_2": mutual(2),
    "mutual_4": mutual(4),
    "self_last_exit": self_distilled("multi_exit"),
    "self_ensemble": self_distilled("ensemble"),
    "self_be_your_own_teacher": self_distilled("byot"),
    "three_teachers": three_teachers,
    "assistant": assistant,
    "tolerant_generations": tolerant_generations,
    "early_stopped": early_stopped,
    "noisy_student": noisy_student,
}


def measure(row, seed, data, teachers, path):
    """Runs a row with a seed, and writes its file."""
    for each in range(3):
        teachers.train(each)
    keras.utils.set_random_seed(seed)
    start = time.process_time()
    student = ROWS[row](data, teachers)
    seconds = time.process_time() - start
    result = {
        "row": row,
        "seed": seed,
        "accuracy": data.accuracy(student),
        "cpu_seconds": round(seconds, 1),
    }
    files.write_text(path, json.dumps({**result, "params": student.count_params()}))
    print(result, flush=True)


def table(folder):
    """A table with a line for each row: mean and standard deviation over seeds."""
    found = []
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            found.append(json.load(file))
    plain = [each["accuracy"] for each in found if each["row"] == "alone"]
    cost = np.mean([each["cpu_seconds"] for each in found if each["row"] == "alone"])
    lines = [
        "| scheme | test accuracy, % | over training alone | in its standard deviations | CPU seconds, "
        "alone = 1 | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        same = [each for each in found if each["row"] == row]
        if same:
            accuracies = [each["accuracy"] for each in same]
            gain = np.mean(accuracies) - np.mean(plain)
            cells = (
                row.replace("_", " "),
                f"{100 * np.mean(accuracies):.2f} ± {100 * np.std(accuracies, ddof=1):.2f}",
                f"{100 * gain:+.2f}",
                f"{gain / np.std(plain, ddof=1):+.1f}",
                f"{np.mean([each['cpu_seconds'] for each in same]) / cost:.1f}",
                len(same),
            )
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main(argv):
    # So that several such processes can run side by side.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    data = Data(FLAGS.data)
    os.makedirs(FLAGS.folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        teachers = Teachers(data, FLAGS.teachers or temporary)
        for seed in FLAGS.seeds:
            for row in FLAGS.rows or ROWS:
                path = os.path.join(FLAGS.folder, f"{row}_{seed}.json")
                if not os.path.exists(path):
                    measure(row, int(seed), data, teachers, path)
    text = table(FLAGS.folder)
    print(text)
    write_marked("docs/schemes.md", f"schemes, {FLAGS.labelled} labels", text)


if __name__ == "__main__":
    app.run(main)
