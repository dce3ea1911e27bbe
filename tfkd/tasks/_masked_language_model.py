"""Masked language models (MLM): which tokens were hidden."""

from tfkd.tasks._language_model import LanguageModel


class MaskedLanguageModel(LanguageModel):
    """Logits of the vocabulary at each position `(tokens, vocabulary)`, of texts with hidden tokens (MLM).

    The logits at position t tell the token at t. Labels hold the true token where one was hidden, and -100
    elsewhere. `score` gives accuracy and perplexity by token, `agreement` the share of positions at which
    two networks predict the same token.

    Args:
        output_shape: `(tokens, vocabulary)`; the number of tokens may be None.

    Raises:
        ValueError: for another shape.

    Example:
        >>> tfkd.tasks.task_of(tfkd.text.masked_language_model(backbone))
        MaskedLanguageModel((None, 30522))

    Reference:
        Devlin, Chang, Lee, Toutanova, "BERT", 2019.
    """

    outputs_are = "logits of the vocabulary at each position, of the token there"

    @property
    def label_text(self) -> str:
        return "the token that was hidden"
