"""The cost of an ensemble of three teachers compared with its members, in one run.

    python benchmarks/ensemble_step.py

Compares forward passes of the members, one after another, with one pass of `EnsembleTeacher`, for logits
and for probabilities; and steps of a distiller with the ensemble with steps of a distiller with a single
member plus the other members' passes. Rounds alternate, so that noise on the machine affects all of them
equally; times are CPU seconds of the process, and the ratio is the median of the ratios of all rounds.
"""

import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tfkd
from tfkd.schemes import EnsembleTeacher

FLAGS = flags.FLAGS
flags.DEFINE_integer("rounds", 15, "timed rounds")
flags.DEFINE_integer("passes", 10, "passes, or steps, in a round")
flags.DEFINE_integer("batch_size", 128, "examples in a pass")

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def teachers() -> dict[str, list[keras.Model]]:
    """Three networks for MNIST and three for CIFAR-10, by description."""
    return {
        "lenet5": [tfkd.students.lenet5() for _ in range(3)],
        "resnet": [tfkd.students.resnet(depth) for depth in (8, 14, 20)],
    }


def passes(model: Callable, x: tf.Tensor) -> Callable[[], None]:
    """Returns a function that runs a compiled forward pass several times."""
    compiled = tf.function(lambda inputs: model(inputs, training=False))

    def run():
        for _ in range(FLAGS.passes):
            compiled(x).numpy()

    return run


def steps(teacher: keras.Model, loss: tfkd.losses.KnowledgeLoss, x: tf.Tensor) -> Callable[[], None]:
    """Returns a function that runs training steps of a distiller."""
    first = teacher.teachers[0] if isinstance(teacher, EnsembleTeacher) else teacher
    student = keras.models.clone_model(first)
    distiller = tfkd.Distiller(teacher, student, loss)
    distiller.compile("adam", LOSS, jit_compile=False)
    data = tf.data.Dataset.from_tensors((x, np.arange(len(x)) % 10)).repeat(FLAGS.passes).cache()
    return lambda: distiller.fit(data, verbose=0)


def timed(made: dict[str, Callable[[], None]]) -> dict[str, np.ndarray]:
    """CPU seconds of each function in every round."""
    seconds = {name: [] for name in made}
    for round_ in range(FLAGS.rounds + 1):
        first = round_ % len(made)
        for name in [*made][first:] + [*made][:first]:
            start = time.process_time()
            made[name]()
            # The first round includes tracing.
            if round_:
                seconds[name].append((time.process_time() - start) / FLAGS.passes)
    return {name: np.array(values) for name, values in seconds.items()}


def show(name: str, values: np.ndarray, against: np.ndarray) -> None:
    """Prints milliseconds, and the ratio to the reference."""
    ratio = np.median(values / against)
    print(f"{name:34} {np.median(values) * 1000:8.2f} ms of CPU   ratio {ratio:5.3f}", flush=True)


def compare(kind: str, members: list[keras.Model]) -> None:
    """Prints the cost of an ensemble of these members relative to their own passes."""
    rng = np.random.default_rng(0)
    x = tf.constant(rng.uniform(size=(FLAGS.batch_size, *members[0].input_shape[1:])), "float32")
    ensembles = {of: EnsembleTeacher(members, of=of) for of in ("logits", "probabilities")}
    alone = {f"member {i}": passes(member, x) for i, member in enumerate(members)}
    together = {f"ensemble of {of}": passes(ensemble, x) for of, ensemble in ensembles.items()}
    seconds = timed({**alone, **together})
    forwards = sum(seconds[name] for name in alone)
    show(f"{kind}: three members", forwards, forwards)
    for name in together:
        show(f"{kind}: {name}", seconds[name], forwards)

    soft = tfkd.losses.SoftTargets(4.0)
    logits = ensembles["logits"]
    made = {
        "distiller of one member": steps(members[0], tfkd.losses.SoftTargets(4.0), x),
        "distiller of the ensemble": steps(logits, soft, x),
        "a loss for each teacher": steps(logits, logits.per_teacher(soft), x),
        "by confidence": steps(logits, logits.per_teacher(soft, "confidence"), x),
        "learned weights": steps(logits, logits.per_teacher(soft, "learned"), x),
    }
    others = {name: run for name, run in alone.items() if name != "member 0"}
    seconds = timed({**others, **made})
    expected = seconds["distiller of one member"] + sum(seconds[name] for name in others)
    show(f"{kind}: step of one + two forwards", expected, expected)
    for name in [*made][1:]:
        show(f"{kind}: {name}", seconds[name], expected)


def main(argv: list[str]) -> None:
    """Measures ensembles of each kind of member."""
    for kind, members in teachers().items():
        compare(kind, members)


if __name__ == "__main__":
    app.run(main)
