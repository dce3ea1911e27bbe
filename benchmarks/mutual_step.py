"""Cost of mutual learning: CPU time of a step compared with training each network separately.

    python benchmarks/mutual_step.py
    python benchmarks/mutual_step.py --networks=4

Epochs alternate, so that noise on the machine affects all of them equally; the ratio is the median of the
ratios of all rounds.
"""

import time

import keras
import numpy as np
from absl import app, flags

import tfkd
from tfkd.schemes import MutualDistiller

FLAGS = flags.FLAGS
flags.DEFINE_integer("networks", 2, "how many networks learn from each other", lower_bound=2)
flags.DEFINE_integer("rounds", 8, "timed epochs of each")
flags.DEFINE_integer("steps", 10, "steps in an epoch")
flags.DEFINE_integer("batch_size", 128, "examples in a step")

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SHAPE = (28, 28, 1)


def networks() -> list[keras.Model]:
    return [tfkd.students.resnet(8, SHAPE) for _ in range(FLAGS.networks)]


def main(argv: list[str]) -> None:
    """Prints CPU milliseconds per step, and the ratio to separate training."""
    made = {
        "separate": networks(),
        "together": [MutualDistiller(networks())],
        "in turn": [MutualDistiller(networks(), together=False)],
    }
    for model in (model for models in made.values() for model in models):
        model.compile("adam", LOSS, metrics=["accuracy"], jit_compile=False)
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(FLAGS.steps * FLAGS.batch_size, *SHAPE)).astype("float32")
    y = rng.integers(0, 10, len(x))
    seconds = {name: [] for name in made}
    for round_ in range(FLAGS.rounds + 1):
        for name, models in made.items():
            start = time.process_time()
            for model in models:
                model.fit(x, y, batch_size=FLAGS.batch_size, verbose=0)
            # The first epoch includes tracing.
            if round_:
                seconds[name].append((time.process_time() - start) / FLAGS.steps)
    for name, values in seconds.items():
        ratio = np.median(np.divide(values, seconds["separate"]))
        milliseconds = np.median(values) * 1000
        print(f"{FLAGS.networks} networks {name:10} {milliseconds:8.1f} ms   x {ratio:.2f}", flush=True)


if __name__ == "__main__":
    app.run(main)
