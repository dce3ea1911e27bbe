"""Students of a text model, trained without any text: ways to choose words, and their cost.

    python benchmarks/data_free_text.py --teacher=teacher.keras --tokenizer=all-MiniLM-L6-v2 --data=sst2

Each row is a way to make sentences. All else is equal: three layers inherited from the teacher, frozen
token embeddings, soft targets and hidden states, and the number of updates. `--data` is a folder with
`dev.tsv` and `test.tsv`, with a sentence, a tab and its class in each line; they are used only to evaluate
finished students. Without it, rows only have the agreement of student and teacher on words. CPU seconds are
for training, including compilation. The rows are written to docs/rows/data_free_text.json.
"""

import json
import os
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from keras import ops

import tfkd
from generators import Words
from tfkd import datafree, students, text
from tfkd._core import files
from tfkd.datafree.sources import Batch, PriorSource

FLAGS = flags.FLAGS
flags.DEFINE_string("teacher", None, "a classifier of texts, .keras", required=True)
flags.DEFINE_string("tokenizer", None, "folder of its tokenizer", required=True)
flags.DEFINE_string("data", "", "folder of dev.tsv and test.tsv; empty for none")
flags.DEFINE_integer("layers", 3, "of the student")
flags.DEFINE_integer("steps", 120, "updates of a student")
flags.DEFINE_list("ways", [], "rows to measure; empty for all")
flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds of the runs")
flags.DEFINE_string("rows", "docs/rows", "where the rows are kept")

# Words on which the agreement of student and teacher is measured, from a seed that no run uses.
_HELD_OUT, _SEED = 1024, 12345


def token_embeddings(model: keras.Model) -> list:
    """The token-embedding layers of a keras-hub network."""
    named = tfkd.taps.named_layers(model).items()
    return [layer for path, layer in named if path.endswith("token_embedding")]


class Flipped(PriorSource):
    """Random words; in half of the sentences, a quarter of them are replaced by gradient (HotFlip).

    The new words are those that most reduce the teacher's loss for a random class, according to the
    gradient at their embeddings.
    """

    def draw(self, n, made=None, examples=None):
        token_ids = self.draw_prior(n)
        half = token_ids[: n // 2]
        targets = self.lesson.task.draw_targets(n // 2, self.lesson.seed)
        (embeddings,) = (layer.embeddings.value for layer in token_embeddings(self.lesson.teacher))
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            loss = ops.sum(self.lesson.task.target_loss(targets, self.lesson.ask(half)))
        # The rows of an embedding's gradient, in the order of the tokens.
        slope = tf.reshape(tape.gradient(loss, embeddings).values, (*half.shape, -1))
        words = np.array(self.generators[0].token_ids, "int32")
        lowered = ops.einsum("ntd,wd->ntw", slope, tf.gather(embeddings, words))
        best = ops.take(words, ops.argmin(lowered, axis=-1))
        is_word = half > max(self.generators[0].start_id, self.generators[0].end_id)
        chosen = is_word & (keras.random.uniform(half.shape, seed=self.lesson.seed) < 0.25)
        token_ids = tf.stop_gradient(ops.concatenate([ops.where(chosen, best, half), token_ids[n // 2 :]]))
        return Batch(token_ids, self.lesson.answers(token_ids))


class Flips(datafree.ProceduralText):
    """A recipe with words replaced by gradient."""

    def build_source(self, lesson):
        return Flipped(lesson, self.build_priors(lesson.input_shape), self, None, self.batch_size)


def ways(tokenizer: text.Tokenizer) -> dict[str, datafree.ProceduralText]:
    """The recipes, by row name."""
    words = Words.from_tokenizer(tokenizer)
    phrases = Words.from_tokenizer(tokenizer, words=(1, 8))
    recipe = datafree.ProceduralText(prior=words, epochs=1, steps_per_epoch=FLAGS.steps)
    return {
        "words by Zipf's law": recipe,
        "uniform words": recipe.with_options(prior=Words.from_tokenizer(tokenizer, exponent=0)),
        "phrases of 1 to 8 words": recipe.with_options(prior=phrases),
        "balanced": recipe.with_options(candidates_per_image=2, balance=1.0),
        "walked": recipe.with_options(chains=512, chain_moves=4, class_weight=1.0),
        "flipped by the gradient": Flips(prior=words, epochs=1, steps_per_epoch=FLAGS.steps),
    }


def read(name: str) -> tuple[list[str], np.ndarray]:
    """Sentences and classes from a file."""
    with open(os.path.join(FLAGS.data, f"{name}.tsv"), encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    return [row[0] for row in rows], np.array([int(row[1]) for row in rows], "int32")


class Judge:
    """Stores the teacher's predictions for held-out words and real sentences, to evaluate students.

    Args:
        teacher: the teacher.
        tokenizer: its tokenizer.
    """

    def __init__(self, teacher: keras.Model, tokenizer: text.Tokenizer) -> None:
        words = Words.from_tokenizer(tokenizer)
        made = words.model_inputs(words.sample(_HELD_OUT, _SEED))
        held_out: Any = ({name: np.asarray(each) for name, each in made.items()}, np.arange(_HELD_OUT))
        self._data = {"words": tf.data.Dataset.from_tensor_slices(held_out).batch(64)}
        self._classes = {}
        for name in ("dev", "test") if FLAGS.data else ():
            sentences, self._classes[name] = read(name)
            places = np.arange(len(sentences))
            self._data[name] = text.batches(sentences, places, tokenizer=tokenizer, batch_size=64)
        self._teacher = self._answers(teacher)

    def figures(self, student: keras.Model) -> dict[str, float]:
        """How often a student agrees with the teacher, and how often both are right."""
        found = {}
        for name, ours in self._answers(student).items():
            theirs, classes = self._teacher[name], self._classes.get(name)
            found[f"{name}_agreement"] = float(np.mean(theirs == ours))
            if classes is not None:
                found[f"{name}_accuracy"] = float(np.mean(ours == classes))
                found[f"{name}_accuracy_of_teacher"] = float(np.mean(theirs == classes))
        return found

    def _answers(self, model):
        """The classes that a model predicts, in the order of the sentences; one trace for each length."""
        ask = tf.function(
            lambda inputs: tf.argmax(model(inputs, training=False), -1), reduce_retracing=False
        )
        found = {}
        for name, data in self._data.items():
            pairs = [(ask(inputs).numpy(), places.numpy()) for inputs, places in data]
            classes, places = (np.concatenate(each) for each in zip(*pairs, strict=True))
            found[name] = classes[np.argsort(places)]
        return found


def beginner(teacher: keras.Model) -> keras.Model:
    """A student with inherited layers; its token embeddings, half of the weights, are not trained."""
    student = students.from_layers(teacher, FLAGS.layers)
    for layer in token_embeddings(student):
        layer.trainable = False
    return student


def measured(recipe: datafree.Recipe, teacher: keras.Model, judge: Judge, seed: int) -> dict[str, float]:
    """A row: a student trained with a recipe."""
    keras.utils.set_random_seed(seed)
    distiller = tfkd.DataFreeDistiller(teacher, beginner(teacher), recipe, seed=seed)
    distiller.compile()
    begun = time.process_time()
    distiller.fit(verbose=0)
    return {"cpu_seconds": time.process_time() - begun, **judge.figures(distiller.student)}


def table(rows: list[dict]) -> str:
    """A line for each way: means over seeds, and the standard deviation of the accuracy."""
    keys = [key for key in rows[0] if key not in ("way", "seed")]
    lines = [
        f"| way | seeds | {' | '.join(key.replace('_', ' ') for key in keys)} |",
        "|---" * (len(keys) + 2) + "|",
    ]
    for way in dict.fromkeys(row["way"] for row in rows):
        same = [row for row in rows if row["way"] == way]
        cells = []
        for key in keys:
            values = np.array([row[key] for row in same])
            percent = f"{100 * values.mean():.2f} ± {100 * values.std():.2f}"
            cells.append(f"{values.mean():.0f}" if key == "cpu_seconds" else percent)
        lines.append(f"| {way} | {len(same)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    """Measures, prints and writes the rows."""
    teacher = keras.models.load_model(FLAGS.teacher)
    tokenizer = text.Tokenizer(FLAGS.tokenizer, max_length=64)
    judge = Judge(teacher, tokenizer)
    rows = [
        {"way": "inherited, untrained", "seed": 0, "cpu_seconds": 0.0, **judge.figures(beginner(teacher))}
    ]
    known = ways(tokenizer)
    for seed in map(int, FLAGS.seeds):
        for way in FLAGS.ways or known:
            rows.append({"way": way, "seed": seed, **measured(known[way], teacher, judge, seed)})
            print(json.dumps(rows[-1]), flush=True)
            told = {"steps": FLAGS.steps, "layers": FLAGS.layers, "rows": rows}
            files.write_text(os.path.join(FLAGS.rows, "data_free_text.json"), json.dumps(told, indent=1))
    print(table(rows))


if __name__ == "__main__":
    app.run(main)
