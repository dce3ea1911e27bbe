"""The head of a masked language model in a Hugging Face folder."""

import os

import keras

from tfkd.text._checkpoints import Checkpoint

# Of BERT, RoBERTa, DistilBERT and ALBERT: the linear layer, its normalization, the biases of tokens.
_NAMES = (
    ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
    ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    ("predictions.dense", "predictions.LayerNorm", "predictions.bias"),
)


def give_masked_head(
    folder: str | os.PathLike, dense: keras.Layer, norm: keras.Layer, logits: keras.Layer
) -> None:
    """Gives the layers of a head the weights of a checkpoint's.

    Args:
        folder: of the checkpoint.
        dense: the linear layer.
        norm: the normalization behind it.
        logits: the biases of tokens.

    Raises:
        ValueError: if the checkpoint has no such head, or one of other sizes.
    """
    checkpoint = Checkpoint(os.fspath(folder))
    for names in _NAMES:
        found = _read(checkpoint, *names)
        if all(each is not None for each in found):
            break
    else:
        raise ValueError(
            f"`folder`: {os.fspath(folder)!r} has no head of a masked language model: no tensors such as "
            f"{_NAMES[0][0] + '.weight'!r} or {_NAMES[1][0] + '.weight'!r}. Give no folder, and train a "
            "new head."
        )
    kernel, bias, scale, offset, tokens = found
    for layer, weights in ((dense, [kernel.T, bias]), (norm, [scale, offset]), (logits, [tokens])):
        shapes = [each.shape for each in weights]
        expected = [tuple(each.shape) for each in layer.weights]
        if shapes != expected:
            raise ValueError(
                f"`folder`: the head in {os.fspath(folder)!r} has weights of shapes {shapes} where the "
                f"backbone needs {expected}. Load the backbone from the same folder."
            )
        layer.set_weights(weights)


def _read(checkpoint, dense, norm, tokens) -> list:
    """Five tensors, None where one is missing; old files call those of normalizations gamma and beta."""

    def either(*names):
        return next((each for name in names if (each := checkpoint.tensor(name)) is not None), None)

    return [
        checkpoint.tensor(f"{dense}.weight"),
        checkpoint.tensor(f"{dense}.bias"),
        either(f"{norm}.weight", f"{norm}.gamma"),
        either(f"{norm}.bias", f"{norm}.beta"),
        checkpoint.tensor(tokens),
    ]
