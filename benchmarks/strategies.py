"""Which losses, schemes and recipes run under which strategies, and with how many examples.

    python benchmarks/strategies.py
    python benchmarks/strategies.py --only=dist,mutual

Each case runs two steps with tiny networks on the CPU, eagerly, or as graphs with --noeagerly, which takes
an hour. The losses are soft targets and all that compare the examples of a batch. Losses and schemes come
from the tests' registries, recipes from `known_recipes`. The table is written to docs/distribution.md, rows
to --rows; --only updates some of them.
"""

import contextlib
import functools
import gc
import json
import os
import pathlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from marked import write_marked

import tfkd
from tfkd import datafree
from tfkd._core import files

# The registries of losses and schemes, and the two logical devices, come from the tests.
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from tests.conftest import blobs, small_network, small_vit
from tests.datafree.recipes import TINY_META
from tests.datafree.test_text import classifier, words
from tests.losses.methods import METHODS
from tests.losses.networks import IMAGES, networks_of_images
from tests.schemes.cases import LABELS_LOSS, Setting
from tests.schemes.registry import CASES

FLAGS = flags.FLAGS
flags.DEFINE_bool("eagerly", True, "whether steps run without being traced")
flags.DEFINE_list("only", [], "parts of names of the cases to run, such as 'recipe dfq'; all without")
flags.DEFINE_string("rows", "docs/rows/strategies.json", "where the rows are kept")

STRATEGIES = {
    "no strategy": tf.distribute.get_strategy,
    "`OneDeviceStrategy`": lambda: tf.distribute.OneDeviceStrategy("CPU:0"),
    "`MirroredStrategy`, two devices": lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
}
# Options that make recipes small, for recipes that have them.
TINY = {
    **TINY_META,
    "batch_size": 8,
    "inversion_batch": 8,
    "generator_steps": 2,
    "student_steps": 1,
    "replay_steps": 1,
    "attack_steps": 2,
    "warmup_steps": 0,
}
X, Y = blobs(32)


class Subject(NamedTuple):
    """The networks and options for testing a recipe.

    Args:
        network: creates teacher and student.
        options: options that the recipe requires.
    """

    network: Callable[[], keras.Model] = small_network
    options: dict = {}


# For recipes that do not take small images.
SUBJECTS = {
    datafree.PSAQViT: Subject(small_vit),
    datafree.ProceduralText: Subject(classifier, {"prior": words(), "features": 0.0}),
}


class Examples:
    """Counts the examples that networks process, in training or not."""

    def __init__(self) -> None:
        self.batches = []

    def of(self, network: keras.Model) -> keras.Model:
        """The network, after making its last layer with weights count examples."""
        last = [layer for layer in network.layers if layer.weights][-1]
        kind = type(last)

        def call(layer, x, *args, **kwargs):
            tf.numpy_function(self.batches.append, [tf.shape(x)[0]], [])
            return kind.call(layer, x, *args, **kwargs)

        # Changed in its class, since taps replace the layer's `call` and then restore that of the class.
        last.__class__ = type(kind.__name__, (kind,), {"call": call})
        return network

    @property
    def total(self) -> int:
        """The number of examples."""
        return int(np.sum(self.batches))


class Case(NamedTuple):
    """A case to run.

    Args:
        group: the heading in the table.
        name: its name.
        run: creates and trains the model within a strategy's scope, and returns the history.
    """

    group: str
    name: str
    run: Callable[[Examples], keras.callbacks.History]


def with_loss(name: str, examples: Examples) -> keras.callbacks.History:
    """A distiller with one loss."""
    teacher, make_student = networks_of_images(name, small_network(8))
    distiller = tfkd.Distiller(teacher, examples.of(make_student(8)), METHODS[name].make(IMAGES))
    distiller.compile("sgd", LABELS_LOSS, jit_compile=False)
    return distiller.fit(tfkd.with_index(tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)), verbose=0)


def with_scheme(name: str, examples: Examples) -> keras.callbacks.History:
    """A scheme, run as in the tests' registry."""

    def student(name):
        return examples.of(small_network(4, name=name))

    setting = Setting(small_network(8), X, Y, student=student, epochs=1, jit_compile=False)
    return CASES[name].run(setting).history


def with_recipe(recipe: type[datafree.Recipe], examples: Examples) -> keras.callbacks.History:
    """Two steps of a recipe, with real examples if it needs them."""
    subject = SUBJECTS.get(recipe, Subject())
    options = {name: value for name, value in TINY.items() if name in recipe.options()}
    made = recipe(**{**options, **subject.options})
    distiller = tfkd.DataFreeDistiller(subject.network(), examples.of(subject.network()), made, seed=1)
    distiller.compile(jit_compile=False)
    # Discard the examples used to probe a new student.
    examples.batches.clear()
    data = {"x": X[:16], "batch_size": 8} if recipe.needs_examples else {}
    return distiller.fit(**data, epochs=1, steps_per_epoch=2, verbose=0)


def cases() -> Iterator[Case]:
    """All cases."""
    for name, method in METHODS.items():
        if name == "soft_targets" or method.make(IMAGES).over_batch:
            yield Case("loss", name, functools.partial(with_loss, name))
    for name in CASES:
        yield Case("scheme", name, functools.partial(with_scheme, name))
    for name, recipe in datafree.known_recipes().items():
        yield Case("recipe", name, functools.partial(with_recipe, recipe))


def outcome(case: Case, strategy: tf.distribute.Strategy) -> tuple[str, int]:
    """The outcome of a case, and the number of examples its students processed."""
    keras.utils.set_random_seed(1)
    examples = Examples()
    default = not tf.distribute.has_strategy() and strategy is tf.distribute.get_strategy()
    try:
        with contextlib.nullcontext() if default else strategy.scope():
            history = case.run(examples)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}", 0
    finite = np.isfinite(history.history["loss"]).all()
    return "ran" if finite else "the loss is not finite", examples.total


def cells(case: Case, strategies: dict[str, tf.distribute.Strategy]) -> list[str]:
    """The outcome of a case under each strategy."""
    found, alone = [], None
    for strategy in strategies.values():
        start = time.perf_counter()
        cell, examples = outcome(case, strategy)
        alone = examples if alone is None else alone
        if alone and examples and examples != alone:
            cell += f", {examples / alone:.2g} times the examples"
        found.append(cell)
        seconds = time.perf_counter() - start
        print(f"{case.group} {case.name}: {cell} ({examples} examples, {seconds:.0f} s)", file=sys.stderr)
    # Frees the graphs of models that are no longer used.
    keras.backend.clear_session()
    gc.collect()
    return found


def read_rows() -> dict[str, list[str]]:
    """The existing rows, by group and name."""
    if not os.path.exists(FLAGS.rows):
        return {}
    with open(FLAGS.rows, encoding="utf-8") as file:
        return json.load(file)


def write_row(of: str, found: list[str], order: list[str]) -> None:
    """Adds a row to the existing ones, and writes the table."""
    rows = {**read_rows(), of: found}
    rows = {name: rows[name] for name in order if name in rows}
    files.write_text(FLAGS.rows, json.dumps(rows, indent=1) + "\n")
    lines = [f"| | {' | '.join(STRATEGIES)} |", f"|{'---|' * (1 + len(STRATEGIES))}"]
    lines += [f"| {name} | {' | '.join(row)} |" for name, row in rows.items()]
    write_marked("docs/distribution.md", "strategies", "\n".join(lines))


def main(argv: list[str]) -> None:
    """Runs the cases under all strategies."""
    warnings.simplefilter("ignore")
    tf.config.run_functions_eagerly(FLAGS.eagerly)
    # One strategy of each kind for all cases, since collectives of a second one would be confused with the
    # first one's.
    strategies = {name: make() for name, make in STRATEGIES.items()}
    every = {f"{case.group} {case.name}": case for case in cases()}
    for name, case in every.items():
        if not FLAGS.only or any(part in name for part in FLAGS.only):
            write_row(name, cells(case, strategies), [*every])


if __name__ == "__main__":
    app.run(main)
