"""Segmentation without data: the mean IoU of a half-width student of an encoder-decoder.

    python benchmarks/segmentation.py

The teacher is trained here, on disks, squares and triangles in random tones on textured backgrounds, with
known masks. Students have half its width and are not trained on such images; all are evaluated on the same
500 test images, which are used for nothing else. The rows are written to docs/rows/segmentation.json.
"""

import json
import os
import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from keras import layers

import tfkd
from tfkd import datafree, students, tasks
from tfkd._core import files

FLAGS = flags.FLAGS
flags.DEFINE_list("ways", [], "rows to measure; empty for all")
flags.DEFINE_list("seeds", ["0"], "seeds of the students")
flags.DEFINE_integer("updates", 2000, "updates of a student")
flags.DEFINE_string(
    "teacher", None, ".keras file to keep the teacher in; without it, it is trained and not kept"
)
flags.DEFINE_string("rows", "docs/rows", "where the rows are kept")

SIDE, CLASSES, BATCH = 32, 4, 64
TAUGHT_ON, TEACHER_EPOCHS = 8000, 20


def shapes(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 `(n, 32, 32, 3)` in [0, 1] and masks: 0 background, 1 disk, 2 square, 3 triangle."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE].astype("float32")
    coarse = rng.uniform(size=(n, 4, 4, 3)).astype("float32")
    ground = np.asarray(tf.image.resize(coarse, (SIDE, SIDE), "bicubic"))
    images = 0.5 * rng.uniform(size=(n, 1, 1, 3)) + 0.5 * ground
    masks = np.zeros((n, SIDE, SIDE), "int64")
    for i in range(n):
        for _ in range(rng.integers(1, 4)):
            kind, size, turn = rng.integers(1, CLASSES), rng.uniform(4, 9), rng.uniform(0, 2 * np.pi)
            row, column = rng.uniform(4, SIDE - 4, 2)
            u = (np.cos(turn) * (x - column) + np.sin(turn) * (y - row)) / size
            v = (np.cos(turn) * (y - row) - np.sin(turn) * (x - column)) / size
            inside = [
                u**2 + v**2 < 1,
                np.maximum(abs(u), abs(v)) < 0.85,
                (v > -0.5) & (abs(u) < 0.58 * (1 - v)),
            ]
            inside = inside[kind - 1]
            images[i][inside] = rng.uniform(size=3)
            masks[i][inside] = kind
    images += rng.normal(0, 0.03, images.shape)
    return np.clip(images, 0, 1).astype("float32"), masks


def encoder_decoder(width: int = 8) -> keras.Model:
    """A U-Net: feature maps of three sizes, with skip connections."""

    def block(x, filters, name):
        for part in "ab":
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}{part}")(x)
            x = layers.BatchNormalization(name=f"{name}{part}_bn")(x)
            x = layers.ReLU(name=f"{name}{part}_relu")(x)
        return x

    x = inputs = keras.Input((SIDE, SIDE, 3))
    across = []
    for depth in range(3):
        x = block(x, width * 2**depth, f"down{depth}")
        across.append(x)
        x = layers.MaxPooling2D(name=f"pool{depth}")(x) if depth < 2 else x
    for depth in (1, 0):
        x = layers.UpSampling2D(interpolation="bilinear", name=f"grow{depth}")(x)
        x = block(
            layers.Concatenate(name=f"join{depth}")([x, across[depth]]), width * 2**depth, f"up{depth}"
        )
    return keras.Model(
        inputs, layers.Conv2D(CLASSES, 1, activation="softmax", name="classes")(x), name="u_net"
    )


def trained_teacher() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = encoder_decoder()
    rate = keras.optimizers.schedules.CosineDecay(3e-3, TEACHER_EPOCHS * TAUGHT_ON // BATCH)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    model.fit(*shapes(TAUGHT_ON, seed=1), batch_size=BATCH, epochs=TEACHER_EPOCHS, verbose=0)
    return model


class Way(NamedTuple):
    """A way to train a student, and whether it inherits the teacher's weights."""

    recipe: datafree.Recipe
    inherit: bool = True


def ways() -> dict[str, Way]:
    updates = {"epochs": 10, "batch_size": BATCH}
    crops = datafree.Procedural(prior="pictures", refine_share=0.0, **updates)
    mixed = ("pictures", "silhouettes", "dead_leaves")
    typical = datafree.PicturePrior(features=5.0, **updates)
    # The authors' settings for segmentation, with a smaller generator and a lower learning rate.
    dfad = datafree.DFAD(
        batch_size=BATCH, epochs=10, latent_size=256, filters=32, student_learning_rate=0.02
    )
    return {
        "pictures": Way(crops),
        "three priors": Way(crops.with_options(prior=mixed)),
        "typical pictures": Way(typical),
        "three typical priors": Way(typical.with_options(prior=mixed)),
        "three priors from random weights": Way(crops.with_options(prior=mixed), inherit=False),
        "three priors refined": Way(datafree.Procedural(prior=mixed, **updates)),
        "DFAD": Way(dfad),
        "DFAD with three priors": Way(dfad.with_options(prior_share=0.34, prior=mixed)),
    }


def student_of(teacher: keras.Model, way: Way, seed: int) -> keras.Model:
    student = students.scale_width(teacher, 0.5, inherit=way.inherit)
    distiller = tfkd.DataFreeDistiller(teacher, student, way.recipe, seed=seed)
    distiller.compile()
    steps = max(1, FLAGS.updates // (10 * distiller.recipe.updates_per_step()))
    distiller.fit(epochs=10, steps_per_epoch=steps, verbose=0)
    return student


def measured(model: keras.Model, teacher: keras.Model, images, masks) -> dict[str, float]:
    task = tasks.task_of(teacher)
    answers, theirs = (each.predict(images, verbose=0) for each in (model, teacher))
    return {**task.score(answers, masks), "agreement": float(np.mean(task.agreement(theirs, answers)))}


def main(argv: list[str]) -> None:
    path = FLAGS.teacher
    if path and os.path.exists(path):
        teacher = tfkd.load_teacher(path)
    else:
        model = trained_teacher()
        if path:
            model.save(path)
        teacher = tfkd.load_teacher(model)
    test = shapes(500, seed=2)
    rows = {"teacher": measured(teacher, teacher, *test)}
    begun = students.scale_width(teacher, 0.5, inherit=True)
    rows["inherited, untrained"] = measured(begun, teacher, *test)
    print(json.dumps(rows), flush=True)
    for name, way in ways().items():
        for seed in map(int, FLAGS.seeds if not FLAGS.ways or name in FLAGS.ways else []):
            keras.utils.set_random_seed(seed)
            start = time.process_time()
            student = student_of(teacher, way, seed)
            seconds = round(time.process_time() - start)
            rows[f"{name}, seed {seed}"] = {**measured(student, teacher, *test), "cpu_seconds": seconds}
            print(name, seed, json.dumps(rows[f"{name}, seed {seed}"]), flush=True)
            files.write_text(
                os.path.join(FLAGS.rows, "segmentation.json"), json.dumps(rows, indent=1) + "\n"
            )


if __name__ == "__main__":
    app.run(main)
