"""The cost of compression in training, and the speed-up of compressed files, each in one run.

    python benchmarks/compressed_speed.py --compare=steps      # training steps of wrapped students
    python benchmarks/compressed_speed.py --compare=latency    # TFLite files of a MobileNetV2 at 96x96

Epochs of all students alternate, so that noise on the machine affects all of them equally; a ratio is the
median of the ratios of all rounds.
"""

import time

import keras
import numpy as np
from absl import app, flags, logging

import tfkd
from tfkd import compression

FLAGS = flags.FLAGS
flags.DEFINE_enum("compare", "steps", ["steps", "latency"], "what to measure")
flags.DEFINE_integer("rounds", 8, "timed epochs of each student")
flags.DEFINE_integer("steps", 10, "steps in an epoch")
flags.DEFINE_integer("batch_size", 64, "examples in a step")

NETWORKS = {"lenet5": tfkd.students.lenet5, "resnet8": lambda: tfkd.students.resnet(8, (28, 28, 1))}
STUDENTS = {
    "float": lambda model: model,
    "quantization-aware": compression.quantize_aware,
    "pruned": compression.prune,
    "clustered": compression.cluster,
}


def epoch_seconds(students: dict[str, keras.Model], data: tuple) -> dict[str, list[float]]:
    """Seconds of each timed epoch, by student."""
    for student in students.values():
        student.fit(*data, batch_size=FLAGS.batch_size, verbose=0)
    seconds = {name: [] for name in students}
    for _ in range(FLAGS.rounds):
        for name, student in students.items():
            start = time.perf_counter()
            student.fit(*data, batch_size=FLAGS.batch_size, verbose=0)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def compare_steps() -> None:
    """Prints milliseconds per step, and the ratio to the float student."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    n = FLAGS.steps * FLAGS.batch_size
    for network, make in NETWORKS.items():
        data = np.random.default_rng(0).uniform(size=(n, 28, 28, 1)).astype("float32"), np.arange(n) % 10
        for jit_compile in (False, True):
            students = {}
            for name, wrap in STUDENTS.items():
                students[name] = wrap(make())
                students[name].compile("adam", loss, jit_compile=jit_compile)
            seconds = epoch_seconds(students, data)
            for name, each in seconds.items():
                ratio = np.median(np.divide(each, seconds["float"]))
                step = 1000 * np.median(each) / FLAGS.steps
                kind = "XLA" if jit_compile else "graph"
                print(f"{network:8} {kind:6} {name:20} {step:8.1f} ms {ratio:6.2f}", flush=True)


def compare_latency() -> None:
    """Prints latencies of float32 and int8 files, measured three times."""
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(
        input_shape=(96, 96, 3), alpha=0.5, weights=None, classes=10, classifier_activation=None
    )
    aware = compression.quantize_aware(model)
    if left := compression.float_layers(aware):
        print(f"in float: {', '.join(left)}")
    for _ in range(3):
        for name, each, kind in (
            ("float32", model, "float32"),
            ("int8, after training", model, "int8"),
            ("int8, quantization-aware", aware, "int8"),
        ):
            check = tfkd.export.export_tflite(each, None, kind)
            print(
                f"{name:26} {check.latency_ms:7.3f} ms at 1 thread {check.latency_2_threads_ms:7.3f} at 2 "
                f"{check.size_bytes:>10,} bytes, largest difference {check.max_difference:.2g}",
                flush=True,
            )


def main(argv: list[str]) -> None:
    """Runs the requested comparison."""
    logging.set_verbosity(logging.WARNING)
    {"steps": compare_steps, "latency": compare_latency}[FLAGS.compare]()


if __name__ == "__main__":
    app.run(main)
