"""Masked language models (MLM): predicting masked tokens."""

from tfkd.tasks._language_model import LanguageModel


class MaskedLanguageModel(LanguageModel):
    """Logits of the vocabulary at each position `(tokens, vocabulary)`, for masked texts (MLM).

    The logits at position t predict the token at t. Labels contain the true token where one was masked, and
    -100 elsewhere. `score` gives accuracy and perplexity per token, `agreement` the fraction of positions
    where two networks predict the same token.

    Args:
        output_shape: `(tokens, vocabulary)`; the number of tokens may be None.

    Raises:
        ValueError: for any other shape.

    Example:
        >>> tfkd.tasks.task_of(tfkd.text.masked_language_model(backbone))
        MaskedLanguageModel((None, 30522))

    Reference:
        Devlin, Chang, Lee, Toutanova, "BERT", 2019.
    """

    outputs_are = "logits of the vocabulary at each position, for the token there"

    @property
    def label_text(self) -> str:
        return "the token that was masked"
