"""Text classification: one of several classes of a sentence, or of a pair of them."""

from typing import ClassVar

import numpy as np

from tfkd.tasks._classification import Classification


class TextClassification(Classification):
    """A classification whose inputs are texts; outputs are logits `(classes,)`.

    It measures what `Classification` measures; messages and diagnosis speak of texts and tokens.

    Args:
        output_shape: `(classes,)`, at least two.

    Raises:
        ValueError: for another shape.

    Example:
        >>> model = tfkd.text.classifier(tfkd.text.load(folder).backbone, classes=2)
        >>> tfkd.tasks.task_of(model)
        TextClassification((2,))
    """

    examples: ClassVar[str] = "texts"

    def check_output_shape(self) -> None:
        if len(self.output_shape) == 2:
            raise ValueError(
                "A text classifier returns (batch, classes), one row of logits a text. Received: output "
                f"shape {(None, *self.output_shape)}, a row a token. Pool them "
                "(tfkd.text.classifier does), or take task='masked_language_model' or "
                "'causal_language_model' for logits of the vocabulary."
            )
        super().check_output_shape()

    def diagnose(self, outputs: np.ndarray) -> str | None:
        seen = super().diagnose(outputs)
        if seen is None:
            return None
        # What is wrong with the scale of images is wrong with the tokens here.
        seen = seen.replace(", as when inputs come too large", "")
        return f"{seen}. Check that the texts were tokenized by the vocabulary it was trained with"

    def agreement_text(self, share: str, examples: str = "texts") -> str:
        return super().agreement_text(share, examples)
