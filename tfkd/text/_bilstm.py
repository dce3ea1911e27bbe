"""The small recurrent classifier of Tang et al."""

import keras
import numpy as np
from keras import layers, ops

from tfkd._core.checks import check_int
from tfkd._core.token_marks import tokens_layer
from tfkd.text._marking import marked
from tfkd.text._reading import text_inputs


def bilstm_classifier(
    vocabulary_size: int,
    classes: int,
    embedding_dim: int | None = None,
    hidden: int = 150,
    dense: int = 200,
    embeddings: np.ndarray | None = None,
    tokenizer: str | None = None,
    name: str = "bilstm_classifier",
) -> keras.Model:
    """A text classifier: a bidirectional LSTM, and a layer on its final states.

    Args:
        vocabulary_size: number of tokens.
        classes: number of classes, at least 2.
        embedding_dim: size of the LSTM's inputs; None for 300, or the size of `embeddings`. If the sizes
            differ, a trained linear layer is inserted.
        hidden: units of the LSTM in each direction.
        dense: units of the ReLU layer before the logits.
        embeddings: `(vocabulary_size, d)`, such as a teacher's token embeddings, which are frozen:
            `model.get_layer("token_embedding").trainable = True` trains them. None for new, trained ones.
        tokenizer: fingerprint of the tokenizer of the model's inputs, as from
            `tfkd.text.tokenizer_of(teacher)`; None if unknown.
        name: name of the model.

    Returns:
        A functional model with inputs `token_ids` and `padding_mask`, int32 `(B, T)`, that returns logits
        `(B, classes)` in float32.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> table = backbone.token_embedding.embeddings.numpy()
        >>> student = tfkd.text.bilstm_classifier(len(table), 2, embedding_dim=150, embeddings=table)

    Reference:
        Tang et al., "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks", 2019: sizes
        150 and 200 are theirs for SST-2. They use word2vec embeddings of whole words, in one trained and
        one frozen channel; here tokens are the teacher's.
    """
    check_int("classes", classes, least=2)
    table = None if embeddings is None else np.asarray(embeddings, "float32")
    if table is not None and (table.ndim != 2 or len(table) != vocabulary_size):
        raise ValueError(
            f"`embeddings` must be ({vocabulary_size}, d), one row per token. Received: shape "
            f"{table.shape}."
        )
    width = 300 if table is None else table.shape[1]
    embedding_dim = check_int("embedding_dim", embedding_dim or width)
    inputs = text_inputs()
    ids = tokens_layer(tokenizer)(inputs["token_ids"])
    initializer = "uniform" if table is None else keras.initializers.Zeros()
    embedding = layers.Embedding(
        check_int("vocabulary_size", vocabulary_size),
        embedding_dim if table is None else width,
        embeddings_initializer=initializer,
        name="token_embedding",
    )
    x = embedding(ids)
    if table is not None:
        embedding.set_weights([table])
        embedding.trainable = False
        if embedding_dim != width:
            x = layers.Dense(embedding_dim, name="embedding_projection")(x)
    lstm = layers.LSTM(check_int("hidden", hidden), name="lstm")
    x = layers.Bidirectional(lstm, name="bilstm")(x, mask=ops.cast(inputs["padding_mask"], "bool"))
    x = layers.Dense(check_int("dense", dense), "relu", name="dense")(x)
    x = layers.Dense(classes, name="logits", dtype="float32")(x)
    return marked(inputs, x, "text_classification", name)
