"""A vision transformer without data: inputs to train a shallower student and to calibrate an int8 file.

    python benchmarks/vit.py --part=teacher --data=../shared/data/fashion_mnist.npz --teacher=vit.keras
    python benchmarks/vit.py --part=students --data=../shared/data/fashion_mnist.npz --teacher=vit.keras
    python benchmarks/vit.py --part=int8 --data=../shared/data/fashion_mnist.npz --teacher=vit.keras

The teacher (49 patches of 4x4 pixels and a class token, four blocks of 48 channels) is trained here.
Students have two of its blocks and start with their weights; `--share` shortens all rows to a fraction of
the updates. Ways are compared by agreement with the teacher on training images; test images are used for
evaluation only. Seconds are on one core, for training and for making its inputs. A row is written when it
is done, and is not run again.
"""

import json
import os
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from keras import layers, ops

import generators
import tfkd
from tfkd import datafree, export
from tfkd._core import files
from tfkd.students import scale_depth

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "Fashion-MNIST or MNIST as .npz", required=True)
flags.DEFINE_string("teacher", None, ".keras file of the teacher", required=True)
flags.DEFINE_enum("part", "students", ["teacher", "students", "int8"], "what is made or compared")
flags.DEFINE_integer("teacher_updates", 1000, "of the teacher on batches of 128")
flags.DEFINE_list("ways", [], "ways to compare, by their names in the table; empty for all")
flags.DEFINE_float("share", 1.0, "share of the student's updates")
flags.DEFINE_integer("inversion_steps", 60, "gradient steps on a batch of images")
flags.DEFINE_integer("images", 64, "images that calibrate a file")
flags.DEFINE_integer("seed", 0, "of students and images")
flags.DEFINE_string("rows", "docs/rows/vit.json", "the table of rows")

SHAPE, PATCH, WIDTH, BLOCKS = (28, 28, 1), 4, 48, 4
_JUDGED, _BATCH = 2000, 128
# Steps of `fit` that take two to three minutes each.
_PRIOR_STEPS, _INVERSIONS = 100, 16


def vision_transformer() -> keras.Model:
    inputs = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(WIDTH, PATCH, PATCH, name="patches")(inputs)
    x = layers.Reshape((-1, WIDTH), name="tokens")(x)
    x = layers.ZeroPadding1D((1, 0), name="with_class")(x)
    x = layers.Add(name="placed")([x, layers.Embedding(50, WIDTH, name="places")(ops.arange(50))[None]])
    for i in range(BLOCKS):
        entering = layers.LayerNormalization(name=f"norm{i}")(x)
        attended = layers.MultiHeadAttention(4, WIDTH // 4, name=f"attention{i}")(entering, entering)
        x = layers.Add(name=f"attended{i}")([x, attended])
        wide = layers.Dense(2 * WIDTH, "gelu", name=f"wide{i}")(
            layers.LayerNormalization(name=f"mlp{i}")(x)
        )
        x = layers.Add(name=f"block{i}")([x, layers.Dense(WIDTH, name=f"narrow{i}")(wide)])
    x = layers.LayerNormalization(name="norm")(x)[:, 0]
    return keras.Model(inputs, layers.Dense(10, name="logits")(x), name="vit")


def images(name: str) -> np.ndarray:
    with np.load(FLAGS.data) as arrays:
        return arrays[name][..., None].astype("float32") / 255


def labels(name: str) -> np.ndarray:
    with np.load(FLAGS.data) as arrays:
        return arrays[name]


def classes_of(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return model.predict(x, batch_size=500, verbose=0).argmax(-1)


def train() -> None:
    """Trains and saves the teacher."""
    keras.utils.set_random_seed(0)
    model = vision_transformer()
    rate = keras.optimizers.schedules.CosineDecay(2e-3, FLAGS.teacher_updates)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
    data = tf.data.Dataset.from_tensor_slices((images("x_train"), labels("y_train")))
    batches = data.shuffle(10000, seed=0).repeat().batch(_BATCH).take(FLAGS.teacher_updates)
    start = time.process_time()
    model.fit(batches, verbose=0)
    seconds = round(time.process_time() - start)
    model.save(FLAGS.teacher)
    # Rows of another teacher are not comparable.
    if os.path.exists(FLAGS.rows):
        os.remove(FLAGS.rows)
    row = {"parameters": model.count_params(), "updates": FLAGS.teacher_updates, "seconds": seconds}
    keep("teacher", {**row, "accuracy": accuracy(model)})


def inverted(batch: int) -> datafree.Recipe:
    """Pixels optimized in batches, for classes and a natural roughness alone."""
    return datafree.PSAQViT(
        patch_similarity=0.0,
        generator_steps=FLAGS.inversion_steps,
        view_shift=2,
        view_flip=False,
        inversion_batch=batch,
        batch_size=batch,
        memory=16 * batch,
    )


def objectives_of_pixels() -> dict[str, dict[str, float]]:
    """The weights of objectives to compare, by name."""
    return {
        "classes alone": {},
        "patch similarity": {"patch_similarity": 1.0},
        "token statistics": {"token_statistics": 0.1},
        "both": {"patch_similarity": 1.0, "token_statistics": 0.1},
    }


def students(teacher: keras.Model) -> None:
    """Measures a row for each way to train a student."""
    # A student close to its teacher is trained at a low rate.
    near = datafree.choose_recipe(teacher, inherits=True, shallower=True).recipe
    drawn = near.with_options(batch_size=_BATCH)
    ways = {"strokes": drawn, "pictures": drawn.with_options(prior=["pictures"])}
    for name, weights in objectives_of_pixels().items():
        ways[name] = inverted(_BATCH // 2).with_options(**weights)
    keep_new("student, untaught", lambda: judged(teacher, shallower(teacher)))
    for name, recipe in ways.items():
        keep_new(f"student, {name}", lambda recipe=recipe: taught(teacher, recipe))


def shallower(teacher: keras.Model) -> keras.Model:
    return scale_depth(teacher, 0.5, inherit=True)


def taught(teacher: keras.Model, recipe: datafree.Recipe) -> dict[str, float]:
    keras.utils.set_random_seed(FLAGS.seed)
    student, start = shallower(teacher), time.process_time()
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=FLAGS.seed)
    distiller.compile()
    steps = _INVERSIONS if isinstance(recipe, datafree.PSAQViT) else _PRIOR_STEPS
    distiller.fit(epochs=1, steps_per_epoch=max(1, round(FLAGS.share * steps)), verbose=0)
    seconds = round(time.process_time() - start)
    return {"updates": int(distiller.optimizer.iterations), "seconds": seconds, **judged(teacher, student)}


def judged(teacher: keras.Model, student: keras.Model) -> dict[str, float]:
    """Agreement on training images, and accuracy on test images."""
    agreement = np.mean(np.equal(*(classes_of(model, judging_images()) for model in (teacher, student))))
    return {"agreement": float(agreement), "accuracy": accuracy(student)}


def judging_images() -> np.ndarray:
    return images("x_train")[-_JUDGED:]


def accuracy(model: keras.Model) -> float:
    return float(np.mean(classes_of(model, images("x_test")) == labels("y_test")))


def int8(teacher: keras.Model) -> None:
    """Measures a row for each kind of calibration images."""
    rng, n = np.random.default_rng(FLAGS.seed), FLAGS.images
    ways = {
        "training images": lambda: images("x_train")[:n],
        "noise": lambda: np.clip(rng.normal(0.5, 0.25, (n, *SHAPE)), 0, 1),
        "strokes": lambda: generators.Strokes(SHAPE).sample(n, seed=FLAGS.seed),
        "pictures": lambda: generators.Pictures(SHAPE).sample(n, seed=FLAGS.seed),
    }
    for name, weights in objectives_of_pixels().items():
        ways[name] = lambda weights=weights: synthesized(teacher, inverted(n).with_options(**weights))
    for name, make in ways.items():
        keep_new(f"int8, {name}", lambda make=make: calibrated(teacher, make))


def synthesized(teacher: keras.Model, recipe: datafree.Recipe) -> np.ndarray:
    keras.utils.set_random_seed(FLAGS.seed)
    distiller = tfkd.DataFreeDistiller(teacher, shallower(teacher), recipe, seed=FLAGS.seed)
    distiller.compile()
    distiller.fit(epochs=1, steps_per_epoch=1, verbose=0)
    return distiller.synthesize(FLAGS.images)


def calibrated(teacher: keras.Model, make) -> dict[str, float]:
    start = time.process_time()
    found = np.asarray(make(), "float32")
    seconds = round(time.process_time() - start)
    check = export.export_tflite(
        teacher,
        None,
        "int8",
        representative_data=found,
        verification_data=judging_images(),
        evaluation_data=(images("x_test")[:_JUDGED], labels("y_test")[:_JUDGED]),
    )
    return {"seconds": seconds, "agreement": check.agreement, "accuracy": check.accuracy}


def kept() -> dict[str, dict]:
    if not os.path.exists(FLAGS.rows):
        return {}
    with open(FLAGS.rows, encoding="utf-8") as file:
        return json.load(file)


def keep(name: str, row: dict) -> None:
    print(name, json.dumps(row), flush=True)
    files.write_text(FLAGS.rows, json.dumps({**kept(), name: row}, indent=1) + "\n")


def keep_new(name: str, make) -> None:
    """Makes and writes a row, if it was requested and does not exist yet."""
    wanted = not FLAGS.ways or name.partition(", ")[2] in FLAGS.ways
    if wanted and name not in kept():
        keep(name, make())


def main(argv: list[str]) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if FLAGS.part == "teacher":
        return train()
    compare = students if FLAGS.part == "students" else int8
    compare(tfkd.load_teacher(FLAGS.teacher))


if __name__ == "__main__":
    app.run(main)
