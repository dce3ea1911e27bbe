"""Training step of tfkd.Distiller against keras.distillation.Distiller: same models, same data, one run.

    python benchmarks/distiller_step.py

Both distil logits only, without XLA and with it. Epochs alternate and every round starts with another
distiller, so that a noisy machine disturbs all alike; the ratio is the median of each round's own ratios.
"""

import time

import keras
import numpy as np
from absl import app, flags

import tfkd

FLAGS = flags.FLAGS
flags.DEFINE_integer("rounds", 12, "timed epochs of each distiller")
flags.DEFINE_integer("steps", 30, "steps in an epoch")
flags.DEFINE_integer("batch_size", 128, "examples in a step")
flags.DEFINE_list("networks", ["lenet5", "resnet"], "pairs to time: lenet5, resnet")

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
PAIRS = {
    "lenet5": (tfkd.students.lenet5, tfkd.students.lenet5_half),
    "resnet": (lambda: tfkd.students.resnet(20), lambda: tfkd.students.resnet(8)),
}


def distillers(pair: str) -> dict:
    """The distillers to compare, by name, each with networks of its own."""
    teacher, student = PAIRS[pair]
    soft = tfkd.losses.SoftTargets
    # As an instance: the default string computes something else (no softmax, no squared temperature).
    theirs = keras.distillation.LogitsDistillation(4.0, loss=keras.losses.KLDivergence())
    made = {
        "tfkd": (tfkd.Distiller(teacher(), student(), soft(4.0)), False),
        "keras": (keras.distillation.Distiller(teacher(), student(), theirs), False),
        "tfkd, XLA": (tfkd.Distiller(teacher(), student(), soft(4.0)), True),
        "keras, XLA": (keras.distillation.Distiller(teacher(), student(), theirs), True),
    }
    for distiller, jit_compile in made.values():
        distiller.compile("adam", LOSS, ["accuracy"], jit_compile=jit_compile)
    return {name: distiller for name, (distiller, _) in made.items()}


def main(argv: list[str]) -> None:
    """Prints milliseconds a step and the ratio to tfkd."""
    rng = np.random.default_rng(0)
    for pair in FLAGS.networks:
        made = distillers(pair)
        shape = made["tfkd"].student.input_shape[1:]
        n = FLAGS.steps * FLAGS.batch_size
        x, y = rng.uniform(size=(n, *shape)).astype("float32"), rng.integers(0, 10, n)
        seconds = {name: [] for name in made}
        for round_ in range(FLAGS.rounds + 1):
            first = round_ % len(made)
            for name in [*made][first:] + [*made][:first]:
                start = time.perf_counter()
                made[name].fit(x, y, batch_size=FLAGS.batch_size, verbose=0)
                # The first epoch is for tracing and compilation.
                if round_:
                    seconds[name].append((time.perf_counter() - start) / FLAGS.steps)
        for name, values in seconds.items():
            against = np.median(np.divide(seconds["tfkd"], values))
            print(f"{pair:8} {name:12} {np.median(values) * 1000:7.2f} ms   tfkd / this {against:5.2f}")


if __name__ == "__main__":
    app.run(main)
