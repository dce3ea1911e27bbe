"""Networks without batch normalization distilled to half their width, without data, in several ways.

    python benchmarks/plain_networks.py --train --data=../shared/data/fashion_mnist.npz --teachers=runs
    python benchmarks/plain_networks.py --data=../shared/data/fashion_mnist.npz --teachers=runs \
        --recipe=procedural --options=features=5 --label=features --minutes=4

The teachers are trained here on the training images: "convnet", two convolutions and one dense layer, and
"vgg", four convolutions and two dense layers. Students are half as wide and inherit part of the teacher's
weights. Ways are compared by agreement with the teacher on training images, so that nothing is chosen on
test images; `--final` evaluates the chosen way on test images, and `--ceiling` trains a student on 5,000 of
the training images instead. A row runs on one core and its budget is CPU time.
"""

import json
import os
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from keras import layers

import tfkd
from tfkd._core import files
from tfkd.pipelines import recipe_named
from tfkd.students import scale_width

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "npz with x_train, y_train, x_test and y_test", required=True)
flags.DEFINE_string("teachers", None, "folder of the teachers", required=True)
flags.DEFINE_bool("train", False, "train the teachers that are missing, instead of a student")
flags.DEFINE_integer("teacher_epochs", 8, "epochs of a teacher")
flags.DEFINE_enum("network", "convnet", ["convnet", "vgg"], "the teacher")
flags.DEFINE_string("recipe", "procedural", "name of a recipe")
flags.DEFINE_multi_string("options", [], "key=value for the recipe")
flags.DEFINE_string("label", None, "what to call the row; default: the recipe")
flags.DEFINE_float("minutes", 4.0, "time of one core that a row takes, teacher and warm-up included")
flags.DEFINE_integer("seed", 1, "of the student")
flags.DEFINE_bool("final", False, "measure on test images")
flags.DEFINE_bool("ceiling", False, "teach on 5,000 training images instead of synthesized ones")
flags.DEFINE_string("rows", "docs/rows/plain_networks.json", "the table of rows")

_JUDGED, _REAL = 5000, 5000
_EPOCHS, _TIMED = 30, 12


def convnet(classes):
    """Two convolutions and one dense layer."""
    return [
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(classes, activation="softmax"),
    ]


def vgg(classes):
    """Four convolutions and two dense layers."""
    blocks = []
    for filters in (32, 64):
        blocks += [
            layers.Conv2D(filters, 3, padding="same", activation="relu"),
            layers.Conv2D(filters, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Dropout(0.25),
        ]
    dense = layers.Dense(256, activation="relu")
    return [
        *blocks,
        layers.Flatten(),
        dense,
        layers.Dropout(0.5),
        layers.Dense(classes, activation="softmax"),
    ]


def images(name: str) -> np.ndarray:
    """Images of the data in [0, 1], with a channel axis."""
    with np.load(FLAGS.data) as arrays:
        x = arrays[name]
    return (x if x.ndim == 4 else x[..., None]).astype("float32") / 255


def labels(name: str) -> np.ndarray:
    with np.load(FLAGS.data) as arrays:
        return arrays[name].ravel()


def case() -> str:
    """The name of the data set."""
    return os.path.splitext(os.path.basename(FLAGS.data))[0]


def path_of(network: str) -> str:
    return os.path.join(FLAGS.teachers, f"{case()}-{network}.keras")


def train(network: str, layers_of) -> None:
    """Trains and saves a teacher."""
    keras.utils.set_random_seed(0)
    x, y = images("x_train"), labels("y_train")
    model = keras.Sequential([keras.Input(x.shape[1:]), *layers_of(int(y.max()) + 1)])
    updates = FLAGS.teacher_epochs * -(-len(x) // 128)
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, updates)
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=128, epochs=FLAGS.teacher_epochs, verbose=0)
    accuracy = model.evaluate(images("x_test"), labels("y_test"), batch_size=500, verbose=0)[1]
    print(f"{case()}, {network}: {model.count_params():,} parameters, {accuracy:.2%}", flush=True)
    model.save(path_of(network))


def made(teacher, recipe):
    """A compiled distiller with a new student."""
    keras.utils.set_random_seed(FLAGS.seed)
    student = scale_width(teacher, 0.5, inherit=True)
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=FLAGS.seed)
    distiller.compile()
    return distiller


def seconds_of_step(teacher, recipe) -> float:
    """The median time of a step, measured with a temporary student."""
    ends = []
    log = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(time.process_time())
    )
    made(teacher, recipe).fit(epochs=1, steps_per_epoch=_TIMED, callbacks=[log], verbose=0)
    return float(np.median(np.diff(ends[3:])))


def without_data(teacher) -> tuple[keras.Model, dict]:
    """A student trained with the recipe within the time limit."""
    recipe = recipe_named(FLAGS.recipe, FLAGS.options, epochs=1, steps_per_epoch=1)
    warmup = recipe.warmup_steps
    before = warmup and warmup * seconds_of_step(teacher, recipe.with_options(warmup_steps=_TIMED))
    each = seconds_of_step(teacher, recipe.with_options(warmup_steps=0) if warmup else recipe)
    steps = warmup + max(_EPOCHS, int((60 * FLAGS.minutes - before) / each))
    recipe = recipe.with_options(epochs=_EPOCHS, steps_per_epoch=steps // _EPOCHS)
    distiller = made(teacher, recipe)
    distiller.fit(verbose=0)
    return distiller.student, {"updates": int(distiller.optimizer.iterations.numpy())}


def on_real_images(teacher) -> tuple[keras.Model, dict]:
    """A student trained on real images without labels, for as many epochs as the time limit allows."""
    keras.utils.set_random_seed(FLAGS.seed)
    student = scale_width(teacher, 0.5, inherit=True)
    x = images("x_train")[_JUDGED : _JUDGED + _REAL]
    distiller = tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets(4.0), student_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(1e-3))
    distiller.fit(x, batch_size=128, verbose=0)
    start = time.process_time()
    distiller.fit(x, batch_size=128, verbose=0)
    epochs = int(60 * FLAGS.minutes / (time.process_time() - start))
    updates = epochs * -(-len(x) // 128)
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, updates)
    distiller.compile(keras.optimizers.Adam(schedule))
    distiller.fit(x, batch_size=128, epochs=epochs, verbose=0)
    return student, {"updates": updates}


def agreement(teacher, student, x) -> float:
    """The fraction of images for which both predict the same class."""
    answers = [model.predict(x, batch_size=500, verbose=0).argmax(-1) for model in (teacher, student)]
    return float(np.mean(answers[0] == answers[1]))


def run_row() -> dict:
    """Trains one student; returns the row."""
    teacher = tfkd.load_teacher(path_of(FLAGS.network))
    judged = images("x_train")[:_JUDGED]
    untaught = scale_width(teacher, 0.5, inherit=True)
    start = time.process_time()
    student, counts = on_real_images(teacher) if FLAGS.ceiling else without_data(teacher)
    row = {
        "case": case(),
        "network": FLAGS.network,
        "label": FLAGS.label or ("5,000 real images" if FLAGS.ceiling else FLAGS.recipe),
        "options": FLAGS.options,
        "seed": FLAGS.seed,
        "seconds": time.process_time() - start,
        **counts,
        "untaught": agreement(teacher, untaught, judged),
        "agreement": agreement(teacher, student, judged),
    }
    if FLAGS.final:
        x, y = images("x_test"), labels("y_test")
        right = student.predict(x, batch_size=500, verbose=0).argmax(-1) == y
        row |= {"test_agreement": agreement(teacher, student, x), "test_accuracy": float(np.mean(right))}
    return row


def main(argv: list[str]) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if FLAGS.train:
        for network, layers_of in (("convnet", convnet), ("vgg", vgg)):
            if not os.path.exists(path_of(network)):
                train(network, layers_of)
        return
    row = run_row()
    print(row, flush=True)
    rows = []
    if os.path.exists(FLAGS.rows):
        with open(FLAGS.rows, encoding="utf-8") as file:
            rows = json.load(file)
    files.write_text(FLAGS.rows, json.dumps([*rows, row], indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
