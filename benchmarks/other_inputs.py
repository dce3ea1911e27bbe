"""Untrained priors for series and vectors: how well students trained on them agree with small teachers.

    python benchmarks/other_inputs.py --series=DIR

Teachers are trained here on real data: series from the UCR and UEA archives (files `NAME_TRAIN.ts` and
`NAME_TEST.ts`, some of which ship with the package sktime) and tables from scikit-learn. A half-width
student starts from random weights and is trained on one prior with `Procedural`; the figure is its
agreement with its teacher on the real inputs of the test set, on which neither was trained. Without
`--series`, series are skipped. The rows are written to docs/rows/other_inputs.json.
"""

import json
import os
import time

import keras
import numpy as np
import sklearn.datasets
from absl import app, flags
from keras import layers

import generators
import tfkd
from tfkd import datafree, tasks
from tfkd._core import files

FLAGS = flags.FLAGS
flags.DEFINE_string("series", None, "folder of .ts files; without it, there are no rows of series")
flags.DEFINE_list("cases", [], "cases to measure; empty for all")
flags.DEFINE_list("seeds", ["0", "1"], "seeds of the students")
flags.DEFINE_integer("steps", 60, "steps of a run, of one update on new inputs and five on remembered ones")
flags.DEFINE_string("rows", "docs/rows", "where the rows are kept")

SERIES = ("BasicMotions", "JapaneseVowels", "OSULeaf")
TABLES = ("breast_cancer", "wine")


def read_series(path: str) -> tuple[list, list[str]]:
    """The series, each `(time, channels)`, and the labels from a `.ts` file."""
    with open(path) as file:
        lines = [line.strip() for line in file]
    series, labels = [], []
    for line in lines[lines.index("@data") + 1 :]:
        *channels, label = line.split(":")
        series.append(np.array([channel.split(",") for channel in channels], "float32").T)
        labels.append(label)
    return series, labels


def series_case(name: str):
    """Series scaled to [0, 1] by the training set's minimum and maximum; shorter ones are padded."""
    parts = [read_series(os.path.join(FLAGS.series, f"{name}_{part}.ts")) for part in ("TRAIN", "TEST")]
    low, high = (f([f(each) for each in parts[0][0]]) for f in (np.min, np.max))
    length = max(len(each) for series, _ in parts for each in series)
    known = sorted(set(parts[0][1]))
    arrays = []
    for series, labels in parts:
        scaled = [np.clip((each - low) / (high - low), 0, 1) for each in series]
        x = np.stack([np.pad(each, ((0, length - len(each)), (0, 0))) for each in scaled])
        arrays += [x.astype("float32"), np.array([known.index(label) for label in labels])]
    return arrays


def table_case(name: str):
    """Unscaled features; every third row is a test example."""
    x, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order].astype("float32"), y[order]
    test = np.arange(len(x)) % 3 == 0
    return x[~test], y[~test], x[test], y[test]


def series_network(shape, classes, width):
    inputs = x = keras.Input(shape)
    for filters in (width, 2 * width):
        x = layers.Conv1D(filters, 5, strides=2, padding="same", activation="relu")(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)])
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))


def table_network(shape, classes, width, normalization):
    inputs = keras.Input(shape)
    x = normalization(inputs)
    for _ in range(2):
        x = layers.Dense(width, "relu")(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))


def trained(network, x, y):
    network.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    updates = 400
    network.fit(x, y, batch_size=32, epochs=max(1, updates * 32 // len(x)), verbose=0)
    return network


def cases():
    for name in (*SERIES, *TABLES):
        if FLAGS.cases and name not in FLAGS.cases:
            continue
        if name in SERIES and not FLAGS.series:
            print(f"{name}: left out, since --series is not given", flush=True)
            continue
        keras.utils.set_random_seed(0)
        if name in SERIES:
            x, y, *test = series_case(name)
            build, width = series_network, 32
        else:
            x, y, *test = table_case(name)
            normalization = layers.Normalization()
            normalization.adapt(x)
            build, width = (lambda *args, n=normalization: table_network(*args, clone_of(n))), 64
        shape, classes = x.shape[1:], int(y.max()) + 1
        teacher = tfkd.load_teacher(trained(build(shape, classes, width), x, y))
        yield name, teacher, lambda b=build, s=shape, c=classes, w=width: b(s, c, w // 2), test


def clone_of(normalization):
    """A new layer with the same statistics."""
    statistics = {"mean": normalization.mean[0], "variance": normalization.variance[0]}
    return layers.Normalization(**{name: np.asarray(value) for name, value in statistics.items()})


def priors(teacher):
    """Recipes by name: the default, the earlier default, and normally distributed features."""
    shape = teacher.input_shape[1:]
    recipe = datafree.Procedural(batch_size=128, epochs=6)
    yield "automatic", recipe
    yield "smooth noise", recipe.with_options(prior="smooth_noise")
    if len(shape) == 1:
        low, high = generators.feature_ranges(teacher)
        gaussian = generators.Gaussian(shape, (low + high) / 2, (high - low) / 6)
        yield "gaussian", recipe.with_options(prior=gaussian, refine_steps=0)


def main(argv: list[str]) -> None:
    rows = {}
    for name, teacher, student, (x, y) in cases():
        task = tasks.task_of(teacher)
        answers = teacher.predict(x, verbose=0)
        rows[name] = {"teacher": task.score(answers, y)["accuracy"], "constant": task.guess(answers)}
        print(name, json.dumps(rows[name]), flush=True)
        for prior, recipe in priors(teacher):
            for seed in map(int, FLAGS.seeds):
                keras.utils.set_random_seed(seed)
                start = time.process_time()
                taught = tfkd.load_teacher(student())
                distiller = tfkd.DataFreeDistiller(teacher, taught, recipe, seed=seed)
                distiller.compile()
                distiller.fit(epochs=6, steps_per_epoch=FLAGS.steps // 6, verbose=0)
                agreement = float(np.mean(task.agreement(answers, taught.predict(x, verbose=0))))
                seconds = round(time.process_time() - start)
                rows[name].setdefault(prior, []).append(agreement)
                print(name, prior, seed, f"{agreement:.4f}", f"{seconds} s", flush=True)
        write(rows)


def write(rows):
    """Writes the rows measured so far."""
    files.write_text(os.path.join(FLAGS.rows, "other_inputs.json"), json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
