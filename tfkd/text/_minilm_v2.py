"""MiniLMv2: relations of queries, keys and values of one layer, for any number of heads."""

import dataclasses
from typing import Annotated

import keras

from tfkd import taps
from tfkd._core.options import AtLeast
from tfkd.losses import KnowledgeLoss, SelfAttentionRelations
from tfkd.text._layer_recipe import LayerRecipe
from tfkd.text._parts_of_models import layers_of

_OF = "queries", "keys", "values"
# For large teachers the authors use the 21st of 24 layers, and 64 heads.
_LARGE, _LAYER_OF_LARGE, _HEADS, _HEADS_OF_LARGE = 24, 20, 48, 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class MiniLMv2(LayerRecipe):
    """Multi-head self-attention relations of queries, keys and values.

    As with `MiniLM`, texts need no labels and teachers no task. Teacher and student may have different
    numbers of heads, since both are split into relation heads.

    Args:
        layers: as for `LayerRecipe`.
        hidden_dim: as for `LayerRecipe`.
        relation_heads: number of relation heads that queries, keys and values are split into, which must
            divide both widths; None for 48, or 64 for a teacher with 24 layers.
        teacher_layer: index of the teacher's layer; None for the last one, or 20 of 24. The authors use 18
            for RoBERTa and XLM-R with 24.
        **kwargs: the options of `TextRecipe`.

    Example:
        >>> student = tfkd.text.MiniLMv2(layers=3, relation_heads=12).distil(teacher, data)

    Reference:
        Wang et al., "MiniLMv2: Multi-Head Self-Attention Relation Distillation for Compressing Pretrained
        Transformers", 2021. Deviations: the student starts with the teacher's weights; the rate is for
        batches of 32, theirs is 6e-4 for 256 texts; epochs are for a small data set, theirs are 400,000
        steps.
    """

    relation_heads: Annotated[int | None, AtLeast(1)] = None
    teacher_layer: Annotated[int | None, AtLeast(0)] = None
    learning_rate: float = 2e-4
    warmup: float = 0.01

    def losses(self, teacher: keras.Model, student: keras.Model) -> tuple[list[KnowledgeLoss], list[float]]:
        theirs, ours = layers_of(teacher, "teacher").attention, layers_of(student, "student").attention
        large = len(theirs) == _LARGE
        number = self.teacher_layer
        if number is None:
            number = _LAYER_OF_LARGE if large else len(theirs) - 1
        if number >= len(theirs):
            raise ValueError(
                f"`teacher_layer` must be an index from 0 to {len(theirs) - 1} of the layers of "
                f"{teacher.name!r}. Received: teacher_layer={number}."
            )
        heads = self.relation_heads or (_HEADS_OF_LARGE if large else _HEADS)
        for model, layer in ((teacher, theirs[number]), (student, ours[-1])):
            _check_heads(heads, model, layer)
        return [SelfAttentionRelations(theirs[number], ours[-1], of=_OF, heads=heads)], [1.0]


def _check_heads(heads, model, layer):
    """Raises ValueError if queries, keys and values cannot be split into that many heads."""
    for kind in _OF:
        *_, own, size = taps.shape(model, f"{layer}:{kind}")
        if own * size % heads:
            raise ValueError(
                f"`relation_heads` must divide {own * size}, the total width of {kind} per token in "
                f"{model.name!r}. Received: relation_heads={heads}. Give {own}, or another divisor of both "
                "widths."
            )
