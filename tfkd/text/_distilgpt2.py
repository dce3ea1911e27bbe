"""DistilGPT2: DistilBERT's method for causal language models."""

import dataclasses
from typing import ClassVar

from tfkd.text._distilbert import LanguageModelRecipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistilGPT2(LanguageModelRecipe):
    """Half of the layers of a causal language model, trained on soft targets and next tokens.

    The teacher is a causal language model (`tfkd.text.causal_language_model`); labels are the next tokens,
    as from `tfkd.tasks.next_tokens`.

    Args:
        layers: as for `LayerRecipe`; half of twelve layers are 0, 2, 4, 7, 9 and 11.
        hidden_dim: as for `LayerRecipe`.
        soft_weight: weight of the soft targets, at least 0.
        temperature: temperature of the soft targets, above 0.
        labels_weight: weight of the next tokens' cross-entropy, at least 0.
        cosine_weight: weight of one minus the cosine between the last hidden states, at least 0.
        train_positions: whether the student's position embeddings are trained.
        **kwargs: the options of `TextRecipe`.

    Example:
        >>> inputs = tokenizer(sentences)
        >>> labels = tfkd.tasks.next_tokens(**inputs)
        >>> student = tfkd.text.DistilGPT2(epochs=5).distil(teacher, inputs, labels)

    Reference:
        Sanh et al., "DistilBERT", 2019, and the authors' training code, which produced DistilGPT2. The
        flags of that run were not published: weights of 0.5 and 0.5, no cosine and temperature 2 are the
        code's defaults, which were not used for DistilBERT. Deviation: the rate is for batches of 32;
        theirs is 5e-4 for thousands of texts.
    """

    of_language_models: ClassVar[bool] = True

    soft_weight: float = 0.5
    labels_weight: float = 0.5
