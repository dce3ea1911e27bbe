"""The head of a masked language model in a Hugging Face folder."""

import os

import keras

from tfkd.text._checkpoints import Checkpoint

# Names in BERT, RoBERTa, DistilBERT and ALBERT: linear layer, normalization, token biases.
_NAMES = (
    ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
    ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    ("predictions.dense", "predictions.LayerNorm", "predictions.bias"),
)


def give_masked_head(
    folder: str | os.PathLike, dense: keras.Layer, norm: keras.Layer, logits: keras.Layer
) -> None:
    """Copies a checkpoint's head weights to layers.

    Args:
        folder: folder of the checkpoint.
        dense: the linear layer.
        norm: the normalization after it.
        logits: the biases of tokens.

    Raises:
        ValueError: if the checkpoint has no such head, or one with other sizes.
    """
    checkpoint = Checkpoint(os.fspath(folder))
    for names in _NAMES:
        found = _read(checkpoint, *names)
        if all(each is not None for each in found):
            break
    else:
        raise ValueError(
            f"`folder`: {os.fspath(folder)!r} has no masked language model head: no tensors such as "
            f"{_NAMES[0][0] + '.weight'!r} or {_NAMES[1][0] + '.weight'!r}. Give no folder, and train a "
            "new head."
        )
    kernel, bias, scale, offset, tokens = found
    for layer, weights in ((dense, [kernel.T, bias]), (norm, [scale, offset]), (logits, [tokens])):
        shapes = [each.shape for each in weights]
        expected = [tuple(each.shape) for each in layer.weights]
        if shapes != expected:
            raise ValueError(
                f"`folder`: the head in {os.fspath(folder)!r} has weights of shapes {shapes}, but the "
                f"backbone needs {expected}. Load the backbone from the same folder."
            )
        layer.set_weights(weights)


def _read(checkpoint, dense, norm, tokens) -> list:
    """Five tensors, None for a missing one; old files name normalization weights gamma and beta."""

    def either(*names):
        return next((each for name in names if (each := checkpoint.tensor(name)) is not None), None)

    return [
        checkpoint.tensor(f"{dense}.weight"),
        checkpoint.tensor(f"{dense}.bias"),
        either(f"{norm}.weight", f"{norm}.gamma"),
        either(f"{norm}.bias", f"{norm}.beta"),
        checkpoint.tensor(tokens),
    ]
