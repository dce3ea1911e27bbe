"""A sentence encoder for phones, trained to give its teacher's vectors for sentences without labels.

    python examples/sentence_encoder.py --encoder=all-MiniLM-L6-v2 --data=sentences.txt

The student consists of some layers of the encoder in a Hugging Face folder and is trained on the lines of a
text file. Prints the similarities of a few sentences according to the teacher, to the student before and
after training, and to the student's TFLite file.
"""

import numpy as np
from absl import app, flags

import tfkd

FLAGS = flags.FLAGS
flags.DEFINE_string("encoder", None, "folder with config.json, model.safetensors and a tokenizer")
flags.DEFINE_string("data", None, "file with a sentence a line")
flags.mark_flags_as_required(["encoder", "data"])
flags.DEFINE_integer("layers", 3, "layers of the student", lower_bound=1)
flags.DEFINE_integer("width", None, "width of its hidden states; without, the teacher's", lower_bound=1)
flags.DEFINE_integer("length", 32, "tokens at which sentences are cut", lower_bound=3)
flags.DEFINE_integer("epochs", 3, "epochs", lower_bound=1)
flags.DEFINE_string("output", "sentence_encoder.tflite", "the file to write")
flags.DEFINE_integer("seed", 1, "random seed")

SENTENCES = (
    "A man is playing a guitar.",
    "Someone plays an instrument.",
    "The stock market fell sharply today.",
)
PAIRS = ((0, 1), (0, 2), (1, 2))


def show(name: str, vectors: np.ndarray) -> None:
    """Prints the cosines between the sentences."""
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    print(f"{name:16}", *(f"{unit[i] @ unit[j]:7.3f}" for i, j in PAIRS), flush=True)


def main(argv: list[str]) -> None:
    """Trains a student and writes its file."""
    with open(FLAGS.data, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip()]
    held_out = max(1, len(lines) // 10)
    backbone, tokenizer = tfkd.text.load(FLAGS.encoder, max_length=FLAGS.length)
    teacher = tfkd.text.sentence_encoder(backbone, pooling="mean", normalize=True)
    data = tfkd.text.batches(lines[held_out:], tokenizer=tokenizer, shuffle=True, seed=FLAGS.seed)
    few, unseen = (tokenizer(texts, length=FLAGS.length) for texts in (SENTENCES, lines[:held_out]))

    recipe = tfkd.text.EmbeddingDistillation(
        layers=FLAGS.layers, hidden_dim=FLAGS.width, epochs=FLAGS.epochs, train_embeddings=False
    )
    student = recipe.student(teacher)
    print("similar sentences have cosines near 1; the first two say much the same")
    show("teacher", teacher.predict(few, verbose=0))
    show("student before", student.predict(few, verbose=0))
    recipe.fit(teacher, student, data, verbose=0, seed=FLAGS.seed)
    show("student after", student.predict(few, verbose=0))

    expected = teacher.predict(unseen, verbose=0)
    check = tfkd.export.export_tflite(
        student, FLAGS.output, "dynamic", evaluation_data=(unseen, expected), vocabulary=tokenizer
    )
    show("TFLite", tfkd.export.run_tflite(FLAGS.output, few))
    size, speed = f"{check.size_bytes / 1e6:.1f} MB", f"{check.latency_ms:.1f} ms a sentence"
    figures = ", ".join(f"{name} {value:.3f}" for name, value in check.scores.items())
    print(f"{FLAGS.output}: {size}, {speed}; on {held_out} other lines {figures}")


if __name__ == "__main__":
    app.run(main)
