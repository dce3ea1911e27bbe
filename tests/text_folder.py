"""A Hugging Face folder with a tiny BERT, and texts that it can learn to tell apart."""

import json
import pathlib

import numpy as np

WIDTH, HEADS = 16, 2
GOOD = ("good", "fine", "warm", "funny", "moving")
BAD = ("bad", "dull", "cold", "boring", "weak")
OTHER = ("the", "film", "a", "story", "is", "and", "very", "with", "cast", "plot")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = (*_SPECIAL, *GOOD, *BAD, *OTHER)
POSITIONS = 32


def write_folder(
    folder: pathlib.Path, layers: int = 2, width: int = WIDTH, positions: int = POSITIONS
) -> str:
    """Writes the folder of an untrained encoder, and returns its path."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    config = {
        "model_type": "bert",
        "vocab_size": len(VOCABULARY),
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": positions,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    save_file(_tensors(layers, width, positions), str(folder / "model.safetensors"))
    return str(folder)


def sentences(n: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Sentences of five to twelve words, and whether their opinion is good: 1, or bad: 0."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    texts = []
    for label in labels:
        words = list(rng.choice(OTHER, rng.integers(3, 10)))
        for opinion in rng.choice(GOOD if label else BAD, 2):
            words.insert(int(rng.integers(0, len(words) + 1)), str(opinion))
        texts.append(" ".join(map(str, words)))
    return texts, labels


def write_tsv(path: pathlib.Path, texts: list[str], labels=None) -> str:
    """Writes sentences in lines, behind a tab their labels."""
    ends = [""] * len(texts) if labels is None else [f"\t{label}" for label in labels]
    path.write_text("".join(f"{text}{end}\n" for text, end in zip(texts, ends, strict=True)))
    return str(path)


def _tensors(layers, width, positions):
    rng = np.random.default_rng(7)

    def random(*shape):
        return rng.normal(0, 0.2, shape).astype("float32")

    def dense(name, out, into):
        return {f"{name}.weight": random(out, into), f"{name}.bias": np.zeros(out, "float32")}

    def norm(name):
        return {f"{name}.weight": np.ones(width, "float32"), f"{name}.bias": np.zeros(width, "float32")}

    rows = {"word": len(VOCABULARY), "position": positions, "token_type": 2}
    tensors = {f"embeddings.{kind}_embeddings.weight": random(n, width) for kind, n in rows.items()}
    tensors |= norm("embeddings.LayerNorm") | dense("pooler.dense", width, width)
    for number in range(layers):
        block = f"encoder.layer.{number}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            tensors |= dense(f"{block}.attention.{name}", width, width)
        tensors |= norm(f"{block}.attention.output.LayerNorm") | norm(f"{block}.output.LayerNorm")
        tensors |= dense(f"{block}.intermediate.dense", 2 * width, width)
        tensors |= dense(f"{block}.output.dense", width, 2 * width)
    return tensors
