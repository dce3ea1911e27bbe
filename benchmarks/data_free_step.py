"""Time of a data-free step as a graph, under XLA and eagerly, relative to the machine's convolution rate.

    python benchmarks/data_free_step.py --recipe=dfad --batch_size=128

The rate is measured in the same run, on the generator's largest convolution. The share is the step's
counted floating-point operations per second divided by that rate; the rest is lost to everything except
convolutions.
"""

import functools

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tfkd
from tfkd.datafree.watching import median_seconds
from tfkd.pipelines import recipe_named

FLAGS = flags.FLAGS
flags.DEFINE_string("recipe", "dfad", "dfad, dafl or procedural")
flags.DEFINE_integer("batch_size", 128, "images in each update")
flags.DEFINE_integer("repeats", 7, "timed steps of each kind; the median is shown")
flags.DEFINE_list("kinds", ["graph", "xla", "eager"], "which kinds of step to time")


def flops(model: keras.Model) -> float:
    """Floating-point operations of the convolutions and dense layers in one image's forward pass."""
    total = 0
    for layer in tfkd.taps.named_layers(model).values():
        if hasattr(layer, "kernel"):
            places = np.prod(layer.output.shape[1:-1], dtype=float)
            total += 2 * places * np.prod(layer.kernel.shape, dtype=float)
    return total


def step_flops(distiller: tfkd.DataFreeDistiller) -> float:
    """Operations of one step; a backward pass costs two forward passes, or one for gradients of inputs
    only."""
    recipe, options = distiller.recipe, distiller.recipe.describe()
    teacher, student = flops(distiller.teacher), flops(distiller.student)
    total = generator = 0.0
    for network, updates in distiller.source.trained.values():
        generator = flops(network)
        needs_student = any(objective.needs_student for objective in recipe.build_objectives())
        total += updates * (3 * generator + 2 * teacher + 2 * needs_student * student)
    from_prior = options["prior_share"] if generator else 1.0
    looked_at = options["candidates_per_image"] + (options["refine_share"] > 0)
    new = teacher * (from_prior * looked_at + 1 - from_prior)
    if options.get("generator_order") != "same_images":
        new += generator * (1 - from_prior)
    follows_student = options["refine_adversarial"] > 0
    refined = options["refine_share"] * options["refine_steps"]
    new += refined * 2 * (teacher + follows_student * student)
    total += recipe.student_steps * new + recipe.updates_per_step() * 3 * student
    return total * recipe.batch_size


def convolution_rate(batch_size: int, repeats: int) -> float:
    """Operations per second of a 3x3 convolution from 128 to 64 channels on 28x28 maps, forward pass
    only."""
    x = tf.random.normal((batch_size, 28, 28, 128))
    kernel = tf.random.normal((3, 3, 128, 64))
    convolve = tf.function(lambda: tf.nn.conv2d(x, kernel, 1, "SAME"))
    operations = 2.0 * batch_size * 28 * 28 * 9 * 128 * 64
    return operations / median_seconds(lambda: convolve()[0, 0, 0, 0].numpy(), (), repeats)


def main(argv: list[str]) -> None:
    """Prints one row for each kind of step."""
    rate = convolution_rate(FLAGS.batch_size, 3 * FLAGS.repeats)
    print(f"convolution rate {rate / 1e9:.0f} GFLOP/s, batch {FLAGS.batch_size}, recipe {FLAGS.recipe}")
    options = {
        "graph": {"jit_compile": False},
        "xla": {"jit_compile": True},
        "eager": {"jit_compile": False, "run_eagerly": True},
    }
    times = {}
    for kind in FLAGS.kinds:
        keras.utils.set_random_seed(0)
        distiller = tfkd.DataFreeDistiller(
            tfkd.students.lenet5(),
            tfkd.students.lenet5_half(),
            recipe_named(FLAGS.recipe, batch_size=FLAGS.batch_size),
            seed=0,
        )
        distiller.compile(**options[kind])
        step = functools.partial(distiller.train_on_batch, np.zeros((1,), "int32"))
        times[kind] = median_seconds(step, (), FLAGS.repeats)
        speed = step_flops(distiller) / times[kind]
        first = times[FLAGS.kinds[0]]
        print(
            f"{kind:6} {times[kind] * 1000:8.0f} ms  {times[kind] / first:5.2f} x {FLAGS.kinds[0]}  "
            f"{speed / 1e9:6.1f} GFLOP/s  {speed / rate:5.0%} of the convolution rate",
            flush=True,
        )


if __name__ == "__main__":
    app.run(main)
