"""Operations of a training step before and after XLA's optimization, and the compilation time.

    python benchmarks/compiled_operations.py --steps=dfad,recovery --compiled=dfad

Counts every operation in the program, including bodies of loops and the inside of fusions. Seconds are CPU
time of the process; compilation includes lowering the traced step.
"""

import re
import time

import keras
import tensorflow as tf
from absl import app, flags

import tfkd
from tfkd import datafree

FLAGS = flags.FLAGS
flags.DEFINE_list("steps", ["soft", "dfad", "procedural", "warm-up", "recovery"], "which steps to lower")
flags.DEFINE_list("compiled", ["soft", "dfad", "procedural", "warm-up"], "which of them to compile, too")


def soft() -> tuple:
    """A distiller with labels, and a batch."""
    distiller = tfkd.Distiller(
        tfkd.students.resnet(20), tfkd.students.resnet(8), tfkd.losses.SoftTargets(4.0)
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile("adam", loss, ["accuracy"], jit_compile=True)
    distiller.optimizer.build(distiller.trainable_variables)
    return distiller, (tf.zeros((128, 32, 32, 3)), tf.zeros((128,), "int64"))


def data_free(recipe: datafree.Recipe, steps_done: int = 0) -> tuple:
    """A distiller with the sizes in docs/gpu.md after `steps_done` steps, and its step's arguments."""
    teacher = tfkd.students.resnet(20)
    grown = isinstance(recipe, datafree.Recovery)
    student = tfkd.students.scale_depth(teacher, 0.6) if grown else tfkd.students.resnet(8)
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=3)
    distiller.compile(jit_compile=True)
    distiller.steps_done.assign(steps_done)
    return distiller, tf.zeros((1,), "bool")


STEPS = {
    "soft": soft,
    "dfad": lambda: data_free(datafree.DFAD(latent_size=256)),
    "procedural": lambda: data_free(datafree.Procedural()),
    "warm-up": lambda: data_free(datafree.Recovery()),
    "recovery": lambda: data_free(datafree.Recovery(), datafree.Recovery().warmup_steps),
}


def counts(program: str) -> str:
    """Operations, matrix products and conditionals of a program in HLO."""
    kinds = re.findall(r"^\s+(?:ROOT )?\S+ = .*?\s([a-z][\w-]*)\(", program, re.MULTILINE)
    return f"{len(kinds):,} | {kinds.count('dot'):,} | {kinds.count('conditional')}"


def main(_: list[str]) -> None:
    print("| step | operations | dots | conditionals | compiled | dots | conditionals | compiling, s |")
    print("|---|---|---|---|---|---|---|---|")
    for name in FLAGS.steps:
        keras.utils.set_random_seed(0)
        distiller, data = STEPS[name]()
        step = tf.function(distiller.train_step, jit_compile=True, autograph=False)
        program = step.experimental_get_compiler_ir(data)
        row = f"| {name} | {counts(program(stage='hlo'))} |"
        if name in FLAGS.compiled:
            start = time.process_time()
            optimized = counts(program(stage="optimized_hlo"))
            row += f" {optimized} | {time.process_time() - start:.0f} |"
        else:
            row += " - | - | - | - |"
        print(row, flush=True)
        keras.backend.clear_session()


if __name__ == "__main__":
    app.run(main)
