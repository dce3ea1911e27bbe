"""Training steps on TensorFlow's device, compared with its speed on convolutions alone.

    python benchmarks/accelerator.py
    python benchmarks/accelerator.py --recipes=dfad,recovery --policies=float32 --rows=rows.json

First come the device's rates for a matrix product and a chain of 3x3 convolutions with 128 channels,
compiled by XLA; TF32 counts as float32 if the device has it. Then there is a row for each step: soft
targets with labels, and data-free recipes after their warm-up. The teacher is a ResNet-20; the student is a
ResNet-8 or, for `recovery`, a version of the teacher with fewer blocks. Inputs have shape 32x32x3 and are
already on the device.

Milliseconds are for a warm step, as medians over rounds in which no metric is read. Images per second are
batches per second times the batch size; a step with several updates counts once. Operations are the
convolutions and matrix products that a step runs, including repetitions in loops; the share is relative to
the convolution rate in the same precision. The first step includes tracing and compiling. If PyTorch is
installed, an eager loop of the step with soft targets, channels last, is timed for comparison.
"""

import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from absl import app, flags
from step_operations import count_operations

import tfkd
from tfkd import datafree
from tfkd._core import files
from tfkd.pipelines import recipe_named
from tfkd.pipelines._machine import device, versions

DTYPES = {"float32": "float32", "mixed_bfloat16": "bfloat16"}
JIT_COMPILE = {"true": True, "false": False}

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "recipes", ["procedural", "dfad", "recovery", "picture_prior", "dfq"], "data-free recipes to time"
)
flags.DEFINE_list("policies", list(DTYPES), "precisions of Keras to time")
flags.DEFINE_list("compiled", None, "true with XLA, false without; by default both, on a CPU false")
flags.DEFINE_integer(
    "batch_size", None, "images of an update; by default the recipe's, 128 with soft targets, on a CPU 16"
)
flags.DEFINE_integer("steps", None, "steps of a round; by default 20, on a CPU 1")
flags.DEFINE_integer("rounds", 5, "timed rounds")
flags.DEFINE_bool("torch", True, "whether to time PyTorch, where it is installed")
flags.DEFINE_string("rows", None, "a JSON file for rates and rows")
flags.register_validator("policies", lambda given: set(given) <= set(DTYPES), f"must be of {list(DTYPES)}")
flags.register_validator(
    "compiled", lambda given: set(given or ()) <= set(JIT_COMPILE), f"must be of {list(JIT_COMPILE)}"
)

COLUMNS = {
    "step": "step",
    "batch_size": "batch",
    "updates": "student updates",
    "policy": "precision",
    "compiled": "XLA",
    "ms": "ms, warm",
    "images_a_second": "images/s",
    "gflop": "GFLOP",
    "share": "share of convolutions",
    "first_s": "first step, s",
    "torch_ms": "PyTorch, ms",
}


class Step(NamedTuple):
    """A step to time.

    Args:
        run: the untraced training step.
        batch_size: images per update.
        updates: student updates per step.
    """

    run: Callable[[], Any]
    batch_size: int
    updates: int


def main(_: list[str]) -> None:
    """Prints and saves the rates and a row for each step."""
    for gpu in tf.config.list_physical_devices("GPU"):
        # Otherwise TensorFlow takes all its memory, and PyTorch gets none.
        tf.config.experimental.set_memory_growth(gpu, True)
    cpu = on_cpu()
    batch_size = FLAGS.batch_size or (16 if cpu else None)
    makers = {"soft": lambda compiled: with_labels(batch_size or 128, compiled)}
    for name in FLAGS.recipes:
        recipe = recipe_named(name, batch_size=batch_size)
        makers[name] = lambda compiled, recipe=recipe: data_free(recipe, compiled)
    kinds = FLAGS.compiled or (["false"] if cpu else ["true", "false"])
    print(f"{device()}, TensorFlow {tf.__version__}, Keras {keras.__version__}\n")
    found = {"device": device(), "versions": versions(), "rates": rates(), "rows": []}
    print_rates(found["rates"])
    print(f"\n| {' | '.join(COLUMNS.values())} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for name, make in makers.items():
        for row in rows(make, [JIT_COMPILE[kind] for kind in kinds], found["rates"]):
            torch_ms = torch_milliseconds(row) if name == "soft" and FLAGS.torch else None
            found["rows"].append({"step": name, **row, "torch_ms": torch_ms})
            print(shown(found["rows"][-1]), flush=True)
            if FLAGS.rows:
                files.write_text(FLAGS.rows, json.dumps(found, indent=1))


def on_cpu() -> bool:
    """Whether TensorFlow has only a CPU."""
    return not tf.config.get_visible_devices("GPU")


def rows(make: Callable[[bool], Step], kinds: list[bool], reached: dict[str, float]) -> Iterator[dict]:
    """Measurements of a step in each precision, with and without XLA.

    Args:
        make: creates the step, with or without XLA.
        kinds: the arguments of `make`, True for XLA.
        reached: the device's rates, in operations per second.
    """
    operations = count_operations(make(False).run)
    for policy in FLAGS.policies:
        for compiled in kinds:
            # This resets the policy as well, so each step sets its own.
            keras.backend.clear_session()
            with precision(policy):
                step = make(compiled)
            function = tf.function(step.run, jit_compile=compiled, autograph=False)
            first, seconds = timed(function, tf.test.experimental.sync_devices)
            yield {
                "batch_size": step.batch_size,
                "updates": step.updates,
                "policy": policy,
                "compiled": compiled,
                "ms": 1000 * seconds,
                "images_a_second": step.batch_size / seconds,
                "gflop": operations / 1e9,
                "share": operations / seconds / reached[f"convolution {DTYPES[policy]}"],
                "first_s": first,
            }


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Applies a dtype policy to layers created inside the block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def with_labels(batch_size: int, compiled: bool) -> Step:
    """A step with soft targets and labels."""
    distiller = tfkd.Distiller(
        tfkd.students.resnet(20), tfkd.students.resnet(8), tfkd.losses.SoftTargets(4.0)
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile("adam", loss, ["accuracy"], jit_compile=compiled)
    distiller.optimizer.build(distiller.trainable_variables)
    data = tf.random.uniform((batch_size, 32, 32, 3)), tf.zeros((batch_size,), "int64")
    return Step(lambda: distiller.train_step(data), batch_size, updates=1)


def data_free(recipe: datafree.Recipe, compiled: bool) -> Step:
    """A step of a recipe after its warm-up."""
    teacher = tfkd.students.resnet(20)
    inherits = isinstance(recipe, datafree.Recovery)
    student = tfkd.students.scale_depth(teacher, 0.6) if inherits else tfkd.students.resnet(8)
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=0)
    distiller.compile(jit_compile=compiled)
    distiller.steps_done.assign(recipe.warmup_steps)
    return Step(lambda: distiller.train_step(None), recipe.batch_size, recipe.updates_per_step())


def timed(function: Callable[[], Any], wait: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the first call, and of a later call.

    Args:
        function: what to call.
        wait: waits for the device.
    """
    first = seconds_of(function, wait, 1)
    seconds_of(function, wait, 1)
    steps = FLAGS.steps or (1 if on_cpu() else 20)
    return first, statistics.median(seconds_of(function, wait, steps) for _ in range(FLAGS.rounds))


def seconds_of(function: Callable[[], Any], wait: Callable[[], None], times: int) -> float:
    """Seconds per call, averaged over several calls in a row."""
    start = time.perf_counter()
    for _ in range(times):
        function()
    wait()
    return (time.perf_counter() - start) / times


def rates() -> dict[str, float]:
    """Operations per second of a matrix product and of convolutions, in each precision."""
    side, batch_size, layers = (1024, 8, 2) if on_cpu() else (8192, 256, 20)
    channels, measured = 128, {}

    def convolutions(images, kernel):
        for _ in range(layers):
            images = tf.nn.conv2d(images, kernel, 1, "SAME")
        return images

    for dtype in DTYPES.values():
        shapes = [(side, side)] * 2
        measured[f"matrix product {dtype}"] = rate(tf.matmul, shapes, dtype, 2 * side**3)
        shapes = [(batch_size, 32, 32, channels), (3, 3, channels, channels)]
        operations = layers * 2 * batch_size * 32 * 32 * 9 * channels**2
        measured[f"convolution {dtype}"] = rate(convolutions, shapes, dtype, operations)
    return measured


def rate(function: Callable, shapes: list[tuple], dtype: str, operations: int) -> float:
    """Operations per second of a function of random tensors, compiled by XLA."""
    # With these kernels, many convolutions in a row neither overflow nor vanish.
    given = [tf.cast(tf.random.normal(shape, stddev=0.03), dtype) for shape in shapes]
    compiled = tf.function(function, jit_compile=True, autograph=False)
    return operations / timed(lambda: compiled(*given), tf.test.experimental.sync_devices)[1]


def torch_milliseconds(row: dict[str, Any]) -> float | None:
    """Milliseconds of the step with soft targets in eager PyTorch; None if it is not installed."""
    try:
        from torch_soft_step import soft_step
    except ModuleNotFoundError:
        return None
    return 1000 * timed(*soft_step(row["batch_size"], half=row["policy"] != "float32"))[1]


def print_rates(reached: dict[str, float]) -> None:
    """A table of the device's rates."""
    print(f"| TFLOP/s, XLA | {' | '.join(DTYPES.values())} |\n|---|{'---|' * len(DTYPES)}")
    for kind in ("matrix product", "convolution"):
        cells = [f"{reached[f'{kind} {dtype}'] / 1e12:.3g}" for dtype in DTYPES.values()]
        print(f"| {kind} | {' | '.join(cells)} |")


def shown(row: dict[str, Any]) -> str:
    """A row of the table."""
    formats = {"ms": ".2f", "images_a_second": ",.0f", "gflop": ".1f", "share": ".1%", "first_s": ".1f"}
    formats["torch_ms"] = ".2f"
    cells = ("-" if row[name] is None else format(row[name], formats.get(name, "")) for name in COLUMNS)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    app.run(main)
