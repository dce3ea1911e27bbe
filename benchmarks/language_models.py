"""Perplexity of DistilBERT, DistilGPT2 and on-policy distillation on real text.

    apt-get install bible-kjv
    bible -f gen1:1-rev22:21 | cut -d' ' -f2- > kjv.txt
    python benchmarks/language_models.py --data=kjv.txt

No pretrained language model is small enough to be trained on a CPU in minutes, so the teachers are trained
here: four layers, 128 wide, on word pieces of the text itself. Each student has two of its teacher's
layers. It is distilled, trained from the same weights on labels alone, or trained from random weights, with
the same number of updates and learning rate. Lines are split at random, and nothing is chosen on the test
lines. The rows are written to docs/rows/language_models.json.
"""

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
import tokenizers
from absl import app, flags

from tfkd import tasks, text
from tfkd._core import files

FLAGS = flags.FLAGS
flags.DEFINE_string("data", "kjv.txt", "text file with a sentence a line")
flags.DEFINE_integer("lines", 6_000, "lines to train on")
flags.DEFINE_integer("test_lines", 500, "lines to test on")
flags.DEFINE_integer("vocabulary", 3_000, "word pieces")
flags.DEFINE_integer("teacher_epochs", 4, "of a teacher")
flags.DEFINE_integer("epochs", 2, "of a student")
flags.DEFINE_integer("on_policy_lines", 2_000, "lines whose beginnings are prompts")
flags.DEFINE_list("seeds", ["0"], "seeds of the runs")
flags.DEFINE_string("rows", "docs/rows", "where the rows are kept")

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_TOKENS, _LAYERS, _WIDTH, _HEADS = 32, 4, 128, 4
_TEACHER_RATE, _RATE = 1e-3, 5e-4
# Number of prompt tokens.
_PROMPT = 8


def trained_tokenizer(lines: list[str], folder: str) -> text.Tokenizer:
    """A tokenizer with word pieces learned from lines of text."""
    made = tokenizers.BertWordPieceTokenizer(lowercase=True)
    made.train_from_iterator(lines, FLAGS.vocabulary, special_tokens=_SPECIAL, show_progress=False)
    made.save(os.path.join(folder, "tokenizer.json"))
    return text.Tokenizer(folder, max_length=_TOKENS)


def backbone(kind: str, tokenizer: text.Tokenizer, layers: int = _LAYERS) -> keras.Model:
    """A new BERT or GPT-2."""
    import keras_hub

    kinds = {"bert": keras_hub.models.BertBackbone, "gpt2": keras_hub.models.GPT2Backbone}
    return kinds[kind](
        vocabulary_size=len(tokenizer.vocabulary),
        num_layers=layers,
        num_heads=_HEADS,
        hidden_dim=_WIDTH,
        intermediate_dim=4 * _WIDTH,
        max_sequence_length=_TOKENS,
    )


def train(model: keras.Model, data: tf.data.Dataset, rate: float, epochs: int) -> None:
    """Trains a language model on labels."""
    schedule = text.LinearDecay(rate, epochs * int(data.cardinality()))
    loss = tasks.marked_task(model).label_loss()
    model.compile(keras.optimizers.AdamW(schedule), loss)
    model.fit(data, epochs=epochs, verbose=0, shuffle=False)


def perplexity(model: keras.Model, data: tf.data.Dataset) -> float:
    """Perplexity of a model on the labelled tokens."""
    model.compile(metrics=[tasks.Perplexity()], loss=tasks.marked_task(model).label_loss())
    return model.evaluate(data, verbose=0, return_dict=True)["perplexity"]


def rows_of(
    teacher: keras.Model,
    recipe: text.TextRecipe,
    scratch: Callable[[], keras.Model],
    data: tf.data.Dataset,
    test: tf.data.Dataset,
) -> dict[str, float]:
    """Perplexities and CPU seconds of a teacher, its student, and the same student without a teacher."""
    rows, begun = {}, time.process_time()
    train(teacher, data, _TEACHER_RATE, FLAGS.teacher_epochs)
    rows["teacher_seconds"] = time.process_time() - begun
    rows["teacher"] = perplexity(teacher, test)
    begin = recipe.student(teacher)
    rows["inherited, untrained"] = perplexity(begin, test)
    students = {"inherited, labels alone": recipe.student(teacher), "random, labels alone": scratch()}
    for name, student in students.items():
        train(student, data, _RATE, FLAGS.epochs)
        rows[name] = perplexity(student, test)
    begun = time.process_time()
    student = recipe.distil(teacher, data, verbose=0)
    rows["student_seconds"] = time.process_time() - begun
    rows["distilled"] = perplexity(student, test)
    return rows


def of_bert(lines, test_lines, tokenizer, seed) -> dict[str, float]:
    """A row for masked language models."""
    masking = text.mask_tokens(tokenizer, seed=seed)
    data = text.batches(lines, tokenizer=tokenizer, lengths=(_TOKENS,), shuffle=True, seed=seed)
    data = data.apply(masking)
    test = text.batches(test_lines, tokenizer=tokenizer, lengths=(_TOKENS,))
    # The same tokens are masked for all models.
    test = test.apply(text.mask_tokens(tokenizer, seed=99)).cache()
    teacher = text.masked_language_model(backbone("bert", tokenizer))
    recipe = text.DistilBERT(learning_rate=_RATE, epochs=FLAGS.epochs)
    rows = rows_of(
        teacher,
        recipe,
        lambda: text.masked_language_model(backbone("bert", tokenizer, layers=2)),
        data,
        test,
    )
    made = text.TinyBERT(copies=2).augment(test_lines[:1], teacher, tokenizer)
    print(f"Augmented by the teacher's predictions: {made.texts}", flush=True)
    return rows


def of_gpt2(lines, test_lines, tokenizer, seed) -> dict[str, float]:
    """A row for causal language models, followed by on-policy distillation of the student."""
    inputs, test_inputs = tokenizer(lines, length=_TOKENS), tokenizer(test_lines, length=_TOKENS)
    labels = tasks.next_tokens(**inputs)
    data = tf.data.Dataset.from_tensor_slices((inputs, labels)).shuffle(len(lines), seed=seed).batch(32)
    test = (test_inputs, tasks.next_tokens(**test_inputs))
    test = tf.data.Dataset.from_tensor_slices(test).batch(32)
    teacher = text.causal_language_model(backbone("gpt2", tokenizer))
    recipe = text.DistilGPT2(learning_rate=_RATE, epochs=FLAGS.epochs)
    rows = rows_of(
        teacher,
        recipe,
        lambda: text.causal_language_model(backbone("gpt2", tokenizer, layers=2)),
        data,
        test,
    )
    student = recipe.distil(teacher, data, verbose=0)
    return {**rows, **on_policy(teacher, student, inputs, labels, test_inputs, tokenizer, seed)}


def on_policy(teacher, student, inputs, labels, test_inputs, tokenizer, seed) -> dict[str, float]:
    """The teacher's loss on the student's sentences, before and after on-policy distillation."""
    few = slice(0, FLAGS.on_policy_lines)
    inputs = {name: values[few] for name, values in inputs.items()}
    labels = np.where(np.arange(_TOKENS) < _PROMPT - 1, -100, labels[few])
    rows = {"teacher's nats of the student's tokens": nats(teacher, student, test_inputs, tokenizer)}
    rows["... of its own"] = nats(teacher, teacher, test_inputs, tokenizer)
    for name, lmbda in (("on the data", 0.0), ("on policy", 1.0)):
        learner = keras.models.clone_model(student)
        learner.set_weights(student.get_weights())
        distiller = text.OnPolicyDistiller(
            teacher, learner, lmbda=lmbda, end_id=tokenizer.sep_id, pad_id=tokenizer.pad_id, seed=seed
        )
        distiller.compile(keras.optimizers.AdamW(1e-4))
        begun = time.process_time()
        distiller.fit(inputs, labels, batch_size=32, epochs=1, verbose=0)
        rows[f"seconds {name}"] = time.process_time() - begun
        rows[f"... taught {name}"] = nats(teacher, learner, test_inputs, tokenizer)
    return rows


def nats(teacher, writer, inputs, tokenizer) -> float:
    """The teacher's mean negative log-likelihood of the tokens that a network generates after prompts."""
    lengths = np.minimum(_PROMPT, inputs["padding_mask"].sum(axis=1)).astype("int32")
    made = text.sample(
        writer,
        {name: tf.constant(values[:512]) for name, values in inputs.items()},
        tf.constant(lengths[:512]),
        tf.constant([1, 2]),
        end_id=tokenizer.sep_id,
        pad_id=tokenizer.pad_id,
    )
    logits = teacher.predict(made.inputs, verbose=0)
    counts = made.labels.numpy() != -100
    entropies = keras.ops.sparse_categorical_crossentropy(
        np.where(counts, made.labels, 0), logits, from_logits=True
    )
    return float(np.mean(np.asarray(entropies)[counts]))


def main(argv: list[str]) -> None:
    """Trains, measures and writes the rows."""
    with open(FLAGS.data, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip()]
    # Long lines are truncated; a warning for each is not needed.
    warnings.filterwarnings("ignore", message=".*were cut")
    order = np.random.default_rng(0).permutation(len(lines))
    test_lines = [lines[i] for i in order[: FLAGS.test_lines]]
    lines = [lines[i] for i in order[FLAGS.test_lines :][: FLAGS.lines]]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = trained_tokenizer(lines, folder)
    for seed in map(int, FLAGS.seeds):
        for name, measure in (("bert", of_bert), ("gpt2", of_gpt2)):
            keras.utils.set_random_seed(seed)
            found[f"{name}, seed {seed}"] = measure(lines, test_lines, tokenizer, seed)
            print(name, seed, json.dumps(found[f"{name}, seed {seed}"], indent=1), flush=True)
    path = os.path.join(FLAGS.rows, "language_models.json")
    files.write_text(path, json.dumps({"data": os.path.basename(FLAGS.data), "rows": found}, indent=1))


if __name__ == "__main__":
    app.run(main)
