"""Cost of self-distillation: CPU time of a training step with exits compared with plain training.

    python benchmarks/self_distillation_step.py
    python benchmarks/self_distillation_step.py --network=resnet20 --methods=byot,multi_exit

Epochs alternate, so that noise on the machine affects all of them equally; the ratio is the median of the
ratios of all rounds. CPU seconds do not include the time of other programs.
"""

import time

import keras
import numpy as np
from absl import app, flags

import tfkd
from tfkd.schemes import SelfDistiller

FLAGS = flags.FLAGS
flags.DEFINE_enum("network", "resnet8", ["resnet8", "resnet20"], "the network to train")
flags.DEFINE_list("methods", ["multi_exit", "byot", "ensemble", "imta"], "methods to time")
flags.DEFINE_integer("rounds", 8, "timed epochs of each")
flags.DEFINE_integer("steps", 10, "steps in an epoch")
flags.DEFINE_integer("batch_size", 128, "examples in a step")

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SHAPE = (28, 28, 1)


def network() -> tuple[keras.Model, list[str]]:
    """A new network, and the layers of its two exits: after the first two of three stages."""
    depth = int(FLAGS.network.removeprefix("resnet"))
    last = (depth - 2) // 6
    return tfkd.students.resnet(depth, SHAPE), [f"stage{stage}_block{last}_relu2" for stage in (1, 2)]


def contenders() -> dict[str, keras.Model]:
    """The compiled models to compare, by name."""
    made: dict[str, keras.Model] = {"plain": network()[0]}
    for method in FLAGS.methods:
        made[method] = SelfDistiller(*network(), method)
    for model in made.values():
        model.compile("adam", LOSS, metrics=["accuracy"], jit_compile=False)
    return made


def main(argv: list[str]) -> None:
    """Prints CPU milliseconds per step, and the ratio to plain training."""
    made = contenders()
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(FLAGS.steps * FLAGS.batch_size, *SHAPE)).astype("float32")
    y = rng.integers(0, 10, len(x))
    seconds = {name: [] for name in made}
    for round_ in range(FLAGS.rounds + 1):
        first = round_ % len(made)
        for name in [*made][first:] + [*made][:first]:
            start = time.process_time()
            made[name].fit(x, y, batch_size=FLAGS.batch_size, verbose=0)
            # The first epoch includes tracing.
            if round_:
                seconds[name].append((time.process_time() - start) / FLAGS.steps)
    for name, values in seconds.items():
        ratio = np.median(np.divide(values, seconds["plain"]))
        print(f"{FLAGS.network} {name:12} {np.median(values) * 1000:8.1f} ms   x {ratio:.2f}", flush=True)


if __name__ == "__main__":
    app.run(main)
