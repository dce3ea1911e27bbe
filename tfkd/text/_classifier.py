"""Text classifiers on a transformer."""

import keras
from keras import layers

from tfkd._core.checks import check_choice, check_int, check_number
from tfkd.text._marking import marked
from tfkd.text._pooling import POOLINGS, TokenPooling
from tfkd.text._reading import apply_backbone, text_inputs


def classifier(
    backbone: keras.Model,
    classes: int,
    pooling: str = "first",
    dropout: float = 0.1,
    pairs: bool = False,
    name: str = "text_classifier",
) -> keras.Model:
    """A classifier of texts, or pairs of texts, on a backbone.

    Args:
        backbone: a keras-hub backbone, or a functional model that reads `token_ids` and `padding_mask` and
            returns hidden states `(B, T, D)`. Its weights are shared with the classifier.
        classes: number of classes, at least 2.
        pooling: "first" for the hidden state of the first token, "mean" for the mean over all real tokens.
        dropout: dropout rate before the logits, in [0, 1).
        pairs: whether `segment_ids` are also an input; otherwise they are zeros.
        name: name of the model.

    Returns:
        A functional model with inputs `token_ids` and `padding_mask`, int32 `(B, T)`, that returns logits
        `(B, classes)` in float32. Its layers are the backbone's, `pooling`, `dropout` and `logits`.

    Raises:
        ValueError: if an argument is out of range or the backbone is not suitable.

    Example:
        >>> backbone, tokenizer = tfkd.text.load("all-MiniLM-L6-v2")
        >>> model = tfkd.text.classifier(backbone, classes=2, pooling="mean")
        >>> model.predict(tokenizer(["a film", "a movie"])).shape
        (2, 2)
    """
    check_int("classes", classes, least=2)
    check_choice("pooling", pooling, POOLINGS)
    check_number("dropout", dropout, least=0, below=1)
    inputs = text_inputs(pairs)
    x = apply_backbone(backbone, inputs)
    x = TokenPooling(pooling, name="pooling", dtype=backbone.dtype_policy)(x, inputs["padding_mask"])
    x = layers.Dropout(dropout, name="dropout", dtype=backbone.dtype_policy)(x)
    # Losses need logits in full precision.
    x = layers.Dense(classes, name="logits", dtype="float32")(x)
    return marked(inputs, x, "text_classification", name)
