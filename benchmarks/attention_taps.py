"""The cost of attention taps in a training step, for a teacher of 6 blocks and a student of 3.

    python benchmarks/attention_taps.py
    python benchmarks/attention_taps.py --dropout=0.1     # attention is then explicit without taps, too

All contenders run in turns in one process, and each step is compared with the plain step of the same turn.
CPU seconds are summed over all cores. Weights are random, since only time is measured.
"""

import itertools
import time
from collections.abc import Callable

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from absl import app, flags

import tfkd
from tfkd import losses

FLAGS = flags.FLAGS
flags.DEFINE_integer("rounds", 15, "timed steps of each contender")
flags.DEFINE_integer("batch_size", 32, "sentences in a step")
flags.DEFINE_integer("length", 32, "tokens in a sentence")
flags.DEFINE_integer("width", 384, "of hidden states")
flags.DEFINE_float("dropout", 0.0, "of both networks")
flags.DEFINE_bool("jit_compile", False, "whether steps are compiled by XLA")

VOCABULARY, HEADS = 2000, 12
TAUGHT = {0: 1, 1: 3, 2: 5}


def network(blocks: int, name: str) -> keras.Model:
    """A classifier on a BERT with this number of blocks."""
    backbone = keras_hub.models.BertBackbone(
        VOCABULARY, blocks, HEADS, FLAGS.width, 4 * FLAGS.width, FLAGS.dropout, name="backbone"
    )
    first = backbone(backbone.input)["sequence_output"][:, 0]
    return keras.Model(backbone.input, keras.layers.Dense(2, name="logits")(first), name=name)


def contenders() -> dict[str, Callable[[keras.Model, keras.Model], list[losses.KnowledgeLoss]]]:
    """The losses to compare, by name."""

    def tapped(suffix):
        def made(teacher, student):
            found = tfkd.taps.transformer(teacher), tfkd.taps.transformer(student)
            pairs = [
                (found[0].attention[theirs] + suffix, found[1].attention[ours] + suffix)
                for ours, theirs in TAUGHT.items()
            ]
            return [losses.Hint(*map(list, zip(*pairs, strict=True)))]

        return made

    def hidden(teacher, student):
        found = tfkd.taps.transformer(teacher).hidden, tfkd.taps.transformer(student).hidden
        return [losses.Hint([found[0][theirs] for theirs in TAUGHT.values()], found[1])]

    return {
        "logits": lambda teacher, student: [],
        "hidden states": hidden,
        "queries": tapped(":queries"),
        "scores": tapped(":scores"),
        "probabilities": tapped(":probabilities"),
    }


def text() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Random sentences of different lengths, and labels."""
    rng = np.random.default_rng(0)
    shape = FLAGS.batch_size, FLAGS.length
    padding = np.arange(FLAGS.length) < rng.integers(FLAGS.length // 2, FLAGS.length + 1, (shape[0], 1))
    ids = rng.integers(1, VOCABULARY, shape) * padding
    inputs = {"token_ids": ids, "padding_mask": padding, "segment_ids": np.zeros(shape)}
    return {name: array.astype("int32") for name, array in inputs.items()}, rng.integers(0, 2, shape[0])


def main(argv: list[str]) -> None:
    """Prints each contender's CPU seconds per step, and the median of its ratios to the plain step."""
    inputs, labels = text()
    data = tf.data.Dataset.from_tensors((inputs, labels)).repeat()
    distillers = {}
    teacher = network(6, "teacher")
    for name, make in contenders().items():
        student = network(3, "student")
        distiller = tfkd.Distiller(teacher, student, [losses.SoftTargets(2.0), *make(teacher, student)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        distiller.compile(keras.optimizers.AdamW(5e-5), loss, jit_compile=FLAGS.jit_compile)
        distiller.fit(data.take(3), verbose=0)
        distillers[name] = distiller
    seconds = {name: [] for name in distillers}
    batches = iter(data)
    for _, (name, distiller) in itertools.product(range(FLAGS.rounds), distillers.items()):
        start = time.process_time()
        distiller.train_function(batches)
        seconds[name].append(time.process_time() - start)
    plain = np.array(seconds["logits"])
    print("| losses beside soft targets | CPU s a step | ratio |\n|---|---|---|")
    for name, each in seconds.items():
        print(f"| {name} | {np.median(each):.3f} | {np.median(np.array(each) / plain):.3f} |", flush=True)


if __name__ == "__main__":
    app.run(main)
