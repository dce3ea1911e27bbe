"""Text classification: one class for a sentence or a pair of sentences."""

from typing import ClassVar

import numpy as np

from tfkd.tasks._classification import Classification


class TextClassification(Classification):
    """A classification whose inputs are texts; outputs are logits `(classes,)`.

    The same as `Classification`, with messages and diagnosis about texts and tokens.

    Args:
        output_shape: `(classes,)`, at least two.

    Raises:
        ValueError: for any other shape.

    Example:
        >>> model = tfkd.text.classifier(tfkd.text.load(folder).backbone, classes=2)
        >>> tfkd.tasks.task_of(model)
        TextClassification((2,))
    """

    examples: ClassVar[str] = "texts"

    def check_output_shape(self) -> None:
        if len(self.output_shape) == 2:
            raise ValueError(
                "A text classifier returns (batch, classes), one row of logits per text. Received: output "
                f"shape {(None, *self.output_shape)}, a row per token. Pool them (tfkd.text.classifier "
                "does), or use task='masked_language_model' or 'causal_language_model' for logits of the "
                "vocabulary."
            )
        super().check_output_shape()

    def diagnose(self, outputs: np.ndarray) -> str | None:
        seen = super().diagnose(outputs)
        if seen is None:
            return None
        # A wrong image scale corresponds to wrong tokens here.
        seen = seen.replace(", as when inputs are too large", "")
        return f"{seen}. Check that the texts were tokenized with the vocabulary it was trained with"

    def agreement_text(self, share: str, examples: str = "texts") -> str:
        return super().agreement_text(share, examples)
