"""DistilBERT: every second layer; soft targets, masked tokens, cosine of hidden states."""

import dataclasses
from typing import Annotated

import keras

from tfkd._core.keras_internals import flatten_layers
from tfkd._core.options import Above, AtLeast
from tfkd.losses import CosineEmbedding, KnowledgeLoss, SoftTargets
from tfkd.text._layer_recipe import LayerRecipe
from tfkd.text._parts_of_models import layers_of, width_at
from tfkd.text._recipe import labels_loss

# The six of twelve layers that the authors' code takes.
PUBLISHED_LAYERS = [0, 2, 4, 7, 9, 11]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageModelRecipe(LayerRecipe):
    """Base class of DistilBERT and DistilGPT2: soft targets, true tokens, cosine of hidden states.

    Args:
        soft_weight: weight of the soft targets, at least 0.
        temperature: temperature of the soft targets, above 0.
        labels_weight: weight of the true tokens' cross-entropy, or of a classifier's labels, at least 0.
        cosine_weight: weight of one minus the cosine between the last hidden states, at least 0.
        train_positions: whether the student's position embeddings are trained.
        **kwargs: the options of `LayerRecipe`.
    """

    soft_weight: Annotated[float, AtLeast(0)] = 1.0
    temperature: Annotated[float, Above(0)] = 2.0
    labels_weight: Annotated[float, AtLeast(0)] = 1.0
    cosine_weight: Annotated[float, AtLeast(0)] = 0.0
    train_positions: bool = True
    warmup: float = 0.05
    weight_decay: float = 0.0

    def choice_of(self, count: int, depth: int) -> list[int]:
        if (count, depth) == (6, 12):
            return PUBLISHED_LAYERS
        return super().choice_of(count, depth)

    def losses(self, teacher: keras.Model, student: keras.Model) -> tuple[list[KnowledgeLoss], list[float]]:
        theirs, ours = layers_of(teacher, "teacher").hidden[-1], layers_of(student, "student").hidden[-1]
        projector = width_at(teacher, theirs) != width_at(student, ours)
        weighted = [
            (SoftTargets(self.temperature), self.soft_weight),
            (labels_loss(teacher), self.labels_weight),
            (CosineEmbedding(theirs, ours, projector), self.cosine_weight),
        ]
        used = [(loss, weight) for loss, weight in weighted if loss is not None and weight]
        return [loss for loss, _ in used], [weight for _, weight in used]

    def weight_of_labels(self, teacher: keras.Model) -> float:
        # For a language model, they are among the losses.
        return self.labels_weight if labels_loss(teacher) is None else 0.0

    def frozen_layers(self, student: keras.Model) -> list[keras.Layer]:
        frozen = super().frozen_layers(student)
        if self.train_positions:
            return frozen
        return [*frozen, *(each for each in flatten_layers(student) if "position_embedding" in each.name)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistilBERT(LanguageModelRecipe):
    """Half of the layers, trained on soft targets, masked tokens and the last hidden states.

    The teacher is a masked language model (`tfkd.text.masked_language_model`), and the data come from
    `tfkd.text.mask_tokens`; or a classifier, in which case its labels, if any, replace the masked tokens.
    Models of `tfkd.text` have no pooler, and use only the first token type.

    Args:
        layers: as for `LayerRecipe`; half of twelve layers are 0, 2, 4, 7, 9 and 11.
        hidden_dim: as for `LayerRecipe`; a width other than the teacher's gets a trained projector.
        soft_weight: weight of the soft targets, at least 0.
        temperature: temperature of the soft targets, above 0.
        labels_weight: weight of the masked tokens' cross-entropy, or of a classifier's labels, at least 0.
        cosine_weight: weight of one minus the cosine between the last hidden states, at least 0.
        train_positions: whether the student's position embeddings, layers called `position_embedding`, are
            trained.
        **kwargs: the options of `TextRecipe`.

    Example:
        >>> seeds = tfkd.text.EpochSeed((0, 0))
        >>> data = tfkd.text.batches(sentences, tokenizer=tokenizer)
        >>> data = data.apply(tfkd.text.mask_tokens(tokenizer, seed=seeds))
        >>> student = tfkd.text.DistilBERT().distil(teacher, data, callbacks=[seeds])

    Reference:
        Sanh et al., "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter", 2019;
        weights, layers, frozen positions, warm-up and decay are from the authors' scripts. Deviations:
        tokens to mask are drawn uniformly, whereas the authors draw rare ones more often; the rate is for
        batches of 32, theirs is 5e-4 for thousands of texts; the teacher may be a classifier.
    """

    soft_weight: float = 5.0
    labels_weight: float = 2.0
    cosine_weight: float = 1.0
    train_positions: bool = False
