"""DistilGPT2: DistilBERT's way with a causal language model."""

import dataclasses
from typing import ClassVar

from tfkd.text._distilbert import LanguageModelRecipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistilGPT2(LanguageModelRecipe):
    """Half of the layers of a causal language model, taught by soft targets and the next words.

    The teacher is a causal language model (`tfkd.text.causal_language_model`); labels are the tokens that
    follow, as `tfkd.tasks.next_tokens` makes them.

    Args:
        layers: as of `LayerRecipe`; half of twelve layers are 0, 2, 4, 7, 9 and 11.
        hidden_dim: as of `LayerRecipe`.
        soft_weight: weight of the soft targets, at least 0.
        temperature: of the soft targets, above 0.
        labels_weight: weight of the next words' cross-entropy, at least 0.
        cosine_weight: weight of one minus the cosine between the last hidden states, at least 0.
        train_positions: whether the student's position embeddings are trained.
        **kwargs: the options of `TextRecipe`.

    Example:
        >>> inputs = tokenizer(sentences)
        >>> labels = tfkd.tasks.next_tokens(**inputs)
        >>> student = tfkd.text.DistilGPT2(epochs=5).distil(teacher, inputs, labels)

    Reference:
        Sanh et al., "DistilBERT", 2019, and the authors' training code, from which DistilGPT2 was made. The
        flags of that run were not published: weights of 0.5 and 0.5, no cosine and temperature 2 are the
        code's defaults, which DistilBERT's were not. Deviation: the rate is for batches of 32; theirs is
        5e-4 for thousands of texts.
    """

    of_language_models: ClassVar[bool] = True

    soft_weight: float = 0.5
    labels_weight: float = 0.5
