"""A sentence classifier for phones: half of its teacher's layers, or an LSTM.

    python examples/text_classification.py --encoder=all-MiniLM-L6-v2 --data=reviews.tsv --test=test.tsv

Fine-tunes an encoder from a Hugging Face folder on lines with a sentence, a tab and a class number. Trains
a student of three of its layers, and a bidirectional LSTM, on the same sentences. Writes a TFLite file of
the student that is better on a held-out tenth of them.
"""

import keras
import numpy as np
from absl import app, flags

import tfkd

FLAGS = flags.FLAGS
flags.DEFINE_string("encoder", None, "folder with config.json, model.safetensors and a tokenizer")
flags.DEFINE_string("data", None, "tsv file to learn from: a sentence, a tab and a class number")
flags.DEFINE_string("test", None, "tsv file to measure on")
flags.mark_flags_as_required(["encoder", "data", "test"])
flags.DEFINE_integer("layers", 3, "layers of the student", lower_bound=1)
flags.DEFINE_integer("length", 64, "tokens at which sentences are cut", lower_bound=3)
flags.DEFINE_integer("teacher_epochs", 3, "epochs of the teacher", lower_bound=1)
flags.DEFINE_integer("epochs", 3, "epochs of the student; an LSTM takes ten times as many", lower_bound=1)
flags.DEFINE_string("output", "text_classifier.tflite", "the file to write")
flags.DEFINE_integer("seed", 1, "random seed")


def read(path: str) -> tuple[list[str], np.ndarray]:
    """Sentences and class numbers from a tsv file."""
    with open(path, encoding="utf-8") as file:
        rows = [line.rstrip("\n").rsplit("\t", 1) for line in file]
    return [sentence for sentence, _ in rows], np.array([int(label) for _, label in rows])


def main(argv: list[str]) -> None:
    """Trains teacher and students, prints their accuracies, and writes the file."""
    keras.utils.set_random_seed(FLAGS.seed)
    (sentences, labels), (unseen, answers) = read(FLAGS.data), read(FLAGS.test)
    backbone, tokenizer = tfkd.text.load(FLAGS.encoder, max_length=FLAGS.length)
    order = {"shuffle": True, "seed": FLAGS.seed}
    held_out, seen = np.split(
        np.random.default_rng(FLAGS.seed).permutation(len(sentences)), [len(labels) // 10]
    )
    learned = [sentences[row] for row in seen]
    data = tfkd.text.batches(learned, labels[seen], tokenizer=tokenizer, **order)
    chosen_by = tokenizer([sentences[row] for row in held_out], length=FLAGS.length)
    test = tokenizer(unseen, length=FLAGS.length)

    def accuracy(network: keras.Model, x: dict, y: np.ndarray) -> float:
        return float(np.mean(network.predict(x, verbose=0).argmax(-1) == y))

    def show(network: keras.Model) -> None:
        right = accuracy(network, test, answers)
        print(
            f"{network.name:28} {network.count_params():>11,} parameters   accuracy {right:.1%}", flush=True
        )

    teacher = tfkd.text.classifier(backbone, int(labels.max()) + 1, pooling="mean", name="teacher")
    # Most of the weights are embeddings; the students use the same vocabulary.
    teacher.get_layer("token_embedding").trainable = False
    rate = tfkd.text.LinearDecay(1e-4, FLAGS.teacher_epochs * int(data.cardinality()))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    teacher.compile(keras.optimizers.AdamW(rate, weight_decay=0.01), loss)
    teacher.fit(data, epochs=FLAGS.teacher_epochs, shuffle=False, verbose=0)
    show(teacher)

    layered = tfkd.text.DistilBERT(
        layers=FLAGS.layers, epochs=FLAGS.epochs, learning_rate=1e-4, train_embeddings=False
    )
    recurrent = tfkd.text.BERTToBiLSTM(epochs=10 * FLAGS.epochs)
    students = [recipe.distil(teacher, data, verbose=0, seed=FLAGS.seed) for recipe in (layered, recurrent)]
    for student in students:
        show(student)
    best = max(students, key=lambda student: accuracy(student, chosen_by, labels[held_out]))

    check = tfkd.export.export_tflite(
        best,
        FLAGS.output,
        "dynamic",
        verification_data=chosen_by,
        evaluation_data=(test, answers),
        vocabulary=tokenizer,
    )
    size, speed = f"{check.size_bytes / 1e6:.1f} MB", f"{check.latency_ms:.1f} ms a sentence"
    print(f"{FLAGS.output}: {size}, {speed}, accuracy {check.accuracy:.1%}")


if __name__ == "__main__":
    app.run(main)
