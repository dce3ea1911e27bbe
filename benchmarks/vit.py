"""A vision transformer without data: how its patches differ, and what calibrates its int8 file.

    python benchmarks/vit.py --data=../shared/data/mnist.npz

A small transformer (49 patches of 4x4 pixels and a token of the class, two blocks of 32 channels) is
trained here on 10,000 digits. Pictures are compared by the entropy of the similarities of their patches,
summed over both attention layers, and by the int8 file that they calibrate: how often it agrees with the
float network on 2,000 test digits. The rows go to docs/rows/vit.json.
"""

import json
import os
import time

import keras
import numpy as np
from absl import app, flags
from keras import layers, ops

import generators
import tfkd
from tfkd import datafree, export, taps, tasks
from tfkd._core import files
from tfkd.datafree import objectives

FLAGS = flags.FLAGS
flags.DEFINE_string("data", "../shared/data/mnist.npz", "MNIST as .npz")
flags.DEFINE_string("teacher", None, ".keras file to keep the teacher in; without it, it is not kept")
flags.DEFINE_integer("steps", 200, "gradient steps on a batch of 32 images")
flags.DEFINE_integer("images", 32, "images of each kind")
flags.DEFINE_list("seeds", ["0", "1"], "seeds of what is synthesized")
flags.DEFINE_list("kinds", [], "kinds of pictures to measure; empty for all")
flags.DEFINE_bool("int8", True, "whether int8 files are calibrated, too")
flags.DEFINE_string("rows", "docs/rows", "where the rows are kept")

SHAPE, PATCH, WIDTH, BLOCKS = (28, 28, 1), 4, 32, 2


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


def trained_teacher(x, y) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = vision_transformer()
    rate = keras.optimizers.schedules.CosineDecay(3e-3, 5 * (len(x) // 128))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    model.fit(x, y, batch_size=128, epochs=5, verbose=0)
    return model


def loaded_teacher(x, y) -> keras.Model:
    if FLAGS.teacher and os.path.exists(FLAGS.teacher):
        return tfkd.load_teacher(FLAGS.teacher)
    model = trained_teacher(x, y)
    if FLAGS.teacher:
        model.save(FLAGS.teacher)
    return tfkd.load_teacher(model)


def synthesized(teacher: keras.Model, recipe: datafree.Recipe, seed: int) -> np.ndarray:
    keras.utils.set_random_seed(seed)
    student = keras.models.clone_model(teacher)
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=seed)
    distiller.compile()
    distiller.fit(epochs=1, steps_per_epoch=FLAGS.images // recipe.inversion_batch, verbose=0)
    return distiller.synthesize(FLAGS.images)


def pictures(teacher: keras.Model, real: np.ndarray):
    """What is compared: a name, and a function of the seed that makes the pictures."""
    n = FLAGS.images
    recipe = datafree.PSAQViT(
        generator_steps=FLAGS.steps, view_shift=2, view_flip=False, replay_steps=1, memory=n
    )
    strokes = generators.Strokes(SHAPE).sample(256, seed=0)
    given = datafree.measure(teacher, strokes, taps.transformer(teacher).hidden)
    tokens = objectives.BatchStatistics(0.1, given=given)
    noise = 0.5 + 0.25 * np.random.default_rng(0).normal(size=(n, *SHAPE))
    yield "test digits", lambda seed: real[seed * n : (seed + 1) * n]
    yield "noise", lambda seed: np.clip(np.random.default_rng(seed).permutation(noise), 0, 1)
    yield "strokes", lambda seed: np.asarray(generators.Strokes(SHAPE).sample(n, seed=seed))
    yield "PSAQ-ViT", lambda seed: synthesized(teacher, recipe, seed)
    without = recipe.with_options(patch_similarity=0.0)
    yield "the same without patch similarity", lambda seed: synthesized(teacher, without, seed)
    held = recipe.with_options(objectives=(tokens,))
    yield "PSAQ-ViT and statistics of the tokens of strokes", lambda seed: synthesized(teacher, held, seed)


def entropy_of(teacher: keras.Model, images) -> float:
    layers_read = list(taps.attention_layers(teacher))
    with taps.record(teacher, layers_read) as seen:
        teacher(ops.convert_to_tensor(images, "float32"), training=False)
    entropies = [objectives.patch_similarity_entropy(seen[layer]) for layer in layers_read]
    return float(ops.mean(sum(entropies)))


def int8_agreement(teacher: keras.Model, images, evaluation) -> dict[str, float]:
    check = export.export_tflite(
        teacher,
        None,
        "int8",
        representative_data=images,
        evaluation_data=evaluation,
        verification_data=evaluation[0],
    )
    return {"agreement": check.agreement, "accuracy": check.accuracy}


def main(argv: list[str]) -> None:
    with np.load(FLAGS.data) as data:
        x, y, *test = (data[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    x, x_test = (each[..., None].astype("float32") / 255 for each in (x[:10000], test[0]))
    teacher = loaded_teacher(x, y[:10000])
    evaluation = x_test[-2000:], test[1][-2000:]
    accuracy = tasks.task_of(teacher).score(teacher.predict(evaluation[0], verbose=0), evaluation[1])[
        "accuracy"
    ]
    rows: dict = {"float network": {"accuracy": accuracy}}
    print(json.dumps(rows), flush=True)
    for name, make in pictures(teacher, x_test):
        for seed in map(int, FLAGS.seeds if not FLAGS.kinds or name in FLAGS.kinds else []):
            start = time.process_time()
            images = make(seed).astype("float32")
            seconds = round(time.process_time() - start)
            row = {"entropy": entropy_of(teacher, images), "cpu_seconds": seconds}
            if FLAGS.int8:
                row |= int8_agreement(teacher, images, evaluation)
            rows[f"{name}, seed {seed}"] = row
            print(name, seed, json.dumps(row), flush=True)
            files.write_text(os.path.join(FLAGS.rows, "vit.json"), json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
