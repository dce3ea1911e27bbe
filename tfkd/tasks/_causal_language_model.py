"""Causal language models: predicting the next token."""

import numpy as np

from tfkd.tasks._language_model import IGNORED, LanguageModel


class CausalLanguageModel(LanguageModel):
    """Logits of the vocabulary at each position, for the next token: `(tokens, vocabulary)`.

    The logits at position t predict the token at t + 1. Labels are aligned with them: `labels[:, t]` is the
    token at t + 1, as from `next_tokens` and keras-hub's preprocessors. Neither this task nor a loss shifts
    anything. -100 marks positions that do not count. `score` gives accuracy and perplexity per token,
    `agreement` the fraction of positions where two networks predict the same token.

    Args:
        output_shape: `(tokens, vocabulary)`; the number of tokens may be None.

    Raises:
        ValueError: for any other shape.

    Example:
        >>> task = tfkd.tasks.CausalLanguageModel((None, 50257))
        >>> task.score(model.predict(x), tfkd.tasks.next_tokens(x["token_ids"], x["padding_mask"]))

    Reference:
        Radford et al., "Language Models are Unsupervised Multitask Learners" (GPT-2), 2019.
    """

    outputs_are = "logits of the vocabulary at each position, for the next token"

    @property
    def label_text(self) -> str:
        return "at position t the token at t + 1 (see tfkd.tasks.next_tokens)"


def next_tokens(token_ids, padding_mask=None) -> np.ndarray:
    """Labels of a causal language model: at each position the next token.

    Args:
        token_ids: integers `(batch, tokens)`.
        padding_mask: 1 where a token is real, `(batch, tokens)`; None if all are.

    Returns:
        int32 `(batch, tokens)`, -100 where no real token follows.

    Raises:
        ValueError: if the shapes do not match.

    Example:
        >>> next_tokens([[5, 6, 7, 0]], [[1, 1, 1, 0]])
        array([[   6,    7, -100, -100]], dtype=int32)
    """
    token_ids = np.asarray(token_ids)
    real = np.ones(token_ids.shape, bool) if padding_mask is None else np.asarray(padding_mask).astype(bool)
    if token_ids.ndim != 2 or real.shape != token_ids.shape:
        raise ValueError(
            "`token_ids` and `padding_mask` must be (batch, tokens). Received: shapes "
            f"{token_ids.shape} and {real.shape}."
        )
    labels = np.full(token_ids.shape, IGNORED, "int32")
    labels[:, :-1] = np.where(real[:, :-1] & real[:, 1:], token_ids[:, 1:], IGNORED)
    return labels
