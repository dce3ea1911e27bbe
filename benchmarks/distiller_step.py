"""Training step of tfkd.Distiller and keras.distillation.Distiller, with equal models and data.

    python benchmarks/distiller_step.py                       # logits, and logits with two feature losses
    python benchmarks/distiller_step.py --compare=memory      # peak memory of the same, one process each
    python benchmarks/distiller_step.py --compare=losses      # what each loss adds to soft targets

Epochs alternate and every round starts with a different distiller, so that noise on the machine affects all
of them equally; the ratio is the median of the ratios of all rounds.
"""

import pathlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from keras import distillation

import tfkd
from tfkd import losses

# The registry of losses is in the tests.
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from tests.losses.methods import METHODS, Taps

FLAGS = flags.FLAGS
flags.DEFINE_enum("compare", "time", ["time", "memory", "losses"], "what to measure")
flags.DEFINE_integer("rounds", 12, "timed epochs of each distiller")
flags.DEFINE_integer("steps", 30, "steps in an epoch")
flags.DEFINE_integer("batch_size", 128, "examples in a step")
flags.DEFINE_list("networks", ["lenet5", "resnet"], "pairs to time: lenet5, resnet")
flags.DEFINE_string("only", None, "of --compare=memory: the one distiller this process measures")

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
# Teacher, student, and two layers of equal width in both, since Keras has no projector.
PAIRS = {
    "lenet5": (tfkd.students.lenet5, tfkd.students.lenet5, ("conv2", "dense")),
    "resnet": (
        lambda: tfkd.students.resnet(20),
        lambda: tfkd.students.resnet(8),
        (("stage1_block3_relu2", "stage1_block1_relu2"), ("stage2_block3_relu2", "stage2_block1_relu2")),
    ),
}


def contenders(pair: str) -> dict[str, Callable[[], keras.Model]]:
    """Functions that create the distillers to compare, by name."""
    teacher, student, features = PAIRS[pair]
    features = [(tap, tap) if isinstance(tap, str) else tap for tap in features]
    # An instance, since the default string computes something else (no softmax, no squared temperature).
    their_logits = distillation.LogitsDistillation(4.0, loss=keras.losses.KLDivergence())
    their_features = [distillation.FeatureDistillation("mse", *taps) for taps in features]

    def ours(*more):
        return tfkd.Distiller(teacher(), student(), [losses.SoftTargets(4.0), *more])

    def theirs(*more):
        return distillation.Distiller(teacher(), student(), [their_logits, *more])

    return {
        "tfkd": ours,
        "keras": theirs,
        "tfkd, features": lambda: ours(*(losses.Hint(*taps) for taps in features)),
        "keras, features": lambda: theirs(*their_features),
    }


def compiled(distiller: keras.Model, jit_compile: bool = False) -> keras.Model:
    """The distiller, ready to fit."""
    distiller.compile("adam", LOSS, ["accuracy"], jit_compile=jit_compile)
    return distiller


def examples(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Random inputs and labels for one epoch."""
    rng = np.random.default_rng(0)
    n = FLAGS.steps * FLAGS.batch_size
    x = rng.uniform(size=(n, *model.student.input_shape[1:])).astype("float32")
    return x, rng.integers(0, 10, n)


def timed(made: dict[str, keras.Model], fit: Callable[[keras.Model], None]) -> dict[str, list[float]]:
    """Seconds per step of each distiller in every round."""
    seconds = {name: [] for name in made}
    for round_ in range(FLAGS.rounds + 1):
        first = round_ % len(made)
        for name in [*made][first:] + [*made][:first]:
            start = time.perf_counter()
            fit(made[name])
            # The first epoch includes tracing and compilation.
            if round_:
                seconds[name].append((time.perf_counter() - start) / FLAGS.steps)
    return seconds


def compare_time(pair: str) -> None:
    """Prints milliseconds per step, without and with XLA, and the ratio of tfkd to Keras."""
    made = {}
    for jit_compile in (False, True):
        for name, make in contenders(pair).items():
            made[name + (", XLA" if jit_compile else "")] = compiled(make(), jit_compile)
    x, y = examples(made["tfkd"])
    seconds = timed(made, lambda d: d.fit(x, y, batch_size=FLAGS.batch_size, verbose=0))
    for name, values in seconds.items():
        against = seconds[name.replace("tfkd", "keras")]
        ratio = f"   tfkd / keras {np.median(np.divide(values, against)):5.2f}" if "tfkd" in name else ""
        print(f"{pair:8} {name:22} {np.median(values) * 1000:7.2f} ms{ratio}", flush=True)


def compare_memory(pair: str) -> None:
    """Prints how far each distiller raises its process's peak memory."""
    if FLAGS.only:
        distiller = compiled(contenders(pair)[FLAGS.only]())
        x, y = examples(distiller)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        distiller.fit(x, y, batch_size=FLAGS.batch_size, epochs=2, verbose=0)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
        return
    peaks = {}
    for name in contenders(pair):
        command = [sys.executable, __file__, "--compare=memory", f"--networks={pair}", f"--only={name}"]
        command += [f"--steps={FLAGS.steps}", f"--batch_size={FLAGS.batch_size}"]
        runs = [subprocess.run(command, capture_output=True, check=True, text=True) for _ in range(3)]
        peaks[name] = np.median([float(run.stdout.split()[-1]) for run in runs])
        ratio = (
            ""
            if "tfkd" in name
            else f"   tfkd / keras {peaks[name.replace('keras', 'tfkd')] / peaks[name]:5.2f}"
        )
        print(f"{pair:8} {name:22} {peaks[name]:7.0f} MiB{ratio}", flush=True)


RESNETS = Taps(
    middle=("stage2_block3_relu2", "stage2_block1_relu2"),
    several=(
        ["stage1_block3_relu2", "stage2_block3_relu2"],
        ["stage1_block1_relu2", "stage2_block1_relu2"],
    ),
    before_relu=("stage2_block3_conv2_norm", "stage2_block1_conv2_norm"),
    last=("logits:input", "logits:input"),
    members=(["logits", "logits"], "logits"),
    ending=(["logits:input", "logits"], ["logits:input", "logits"]),
)


def compare_losses() -> None:
    """Prints a table of what each loss adds to a step with soft targets, ResNet-20 to ResNet-8."""
    teacher, student = tfkd.students.resnet(20), tfkd.students.resnet(8)
    n = FLAGS.steps * FLAGS.batch_size
    of_data = {"contrastive": {"examples": n, "negatives": 1024, "dimension": 128, "seed": 0}}
    made = {"soft targets alone": []}
    for name, method in METHODS.items():
        if method.at == "attention":
            # Residual networks have none of these layers.
            continue
        loss = method.make(RESNETS, **of_data.get(name, {}))
        # The other lines of the registry only change options.
        made.setdefault(type(loss).__name__, [loss])
    made = {
        name: compiled(tfkd.Distiller(teacher, student, [losses.SoftTargets(4.0), *more]))
        for name, more in made.items()
    }
    x, y = examples(made["soft targets alone"])
    arrays = tf.data.Dataset.from_tensor_slices((x, y)).batch(FLAGS.batch_size)
    dataset = tfkd.with_index(arrays).cache().prefetch(2)
    seconds = timed(made, lambda d: d.fit(dataset, verbose=0))
    alone = seconds.pop("soft targets alone")
    print(f"| loss | over soft targets ({np.median(alone) * 1000:.0f} ms a step) |\n|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {100 * (np.median(np.divide(values, alone)) - 1):+.0f} % |", flush=True)


def main(argv: list[str]) -> None:
    """Runs the requested comparison."""
    if FLAGS.compare == "losses":
        compare_losses()
        return
    for pair in FLAGS.networks:
        (compare_time if FLAGS.compare == "time" else compare_memory)(pair)


if __name__ == "__main__":
    app.run(main)
