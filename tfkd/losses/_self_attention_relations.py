"""MiniLM and MiniLMv2: how queries, keys or values of one sequence relate to each other."""

from collections.abc import Sequence

import keras
from keras import ops

from tfkd._core.checks import check_choice, check_int
from tfkd.losses._attention import AttentionLoss
from tfkd.losses._attention_kl import attention_kl
from tfkd.losses._base import Taps, as_float32
from tfkd.losses._maps import with_one_axis_from, without_padding

_KINDS = ("queries", "keys", "values")


def self_attention_relations(teacher, student, heads: int | None = None, mask=None):
    """MiniLM: divergence of the relations between the values, queries or keys of a sequence.

    The relation of a sequence with itself is softmax(x x' / sqrt(width)), where x are the values (queries,
    keys) of one head. With `heads`, the vectors of all heads of a token are concatenated and split into
    that many relation heads, so teacher and student may have any number of heads and any width. Direction:
    KL(teacher || student). Reduction: mean over relation heads and tokens, one value per example. No
    temperature. Computed from log-softmax in float32.

    Args:
        teacher: the teacher's values, or queries or keys, `(batch, tokens, heads, width)`.
        student: the student's.
        heads: number of relation heads, which must divide heads times width of both; None for the existing
            heads, which must then be equal in number.
        mask: `(batch, tokens)`, true where a token counts; None for all.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the shapes are invalid, the heads differ, or `heads` does not divide the widths.

    Example:
        >>> self_attention_relations(teacher_values, student_values, heads=48)

    Reference:
        Wang et al., "MiniLM: Deep Self-Attention Distillation", 2020, for values and existing heads; Wang
        et al., "MiniLMv2: Multi-Head Self-Attention Relation Distillation", 2021, for relation heads.
    """
    teacher = _relations(teacher, "teacher", heads, mask)
    student = _relations(student, "student", heads, mask)
    ours, theirs = student.shape[1], teacher.shape[1]
    if None not in (ours, theirs) and ours != theirs:
        raise ValueError(
            "`heads` must be given if student and teacher have different numbers of heads. Received: "
            f"heads=None, teacher with {theirs}, student with {ours}. Use a number that divides heads "
            "times width of both, such as 12."
        )
    return attention_kl(teacher, student, mask)


def _relations(vectors, argument, heads, mask):
    """Scores `(batch, heads, tokens, tokens)` between the vectors of a sequence."""
    vectors = ops.cast(vectors, "float32")
    if len(vectors.shape) != 4:
        raise ValueError(
            f"`{argument}` must be queries, keys or values (batch, tokens, heads, width). Received: shape "
            f"{tuple(vectors.shape)}. Name an attention layer, such as those of "
            "tfkd.taps.transformer(model)."
        )
    vectors = as_float32(without_padding(vectors, mask), argument)
    if heads is not None:
        joined = with_one_axis_from(vectors, 2)
        if joined.shape[2] % heads:
            raise ValueError(
                f"`heads` must divide the {joined.shape[2]} numbers that the heads of the {argument} hold "
                f"together. Received: heads={heads}, {argument} {tuple(vectors.shape)}."
            )
        vectors = ops.reshape(joined, (*ops.shape(joined)[:2], heads, joined.shape[2] // heads))
    vectors = vectors / vectors.shape[3] ** 0.25
    return ops.einsum("bqhd,bkhd->bhqk", vectors, vectors)


@keras.saving.register_keras_serializable(package="tfkd")
class SelfAttentionRelations(AttentionLoss):
    """MiniLM: `self_attention_relations` as a distiller loss, summed over kinds and pairs of layers.

    Args:
        teacher_layer: path of an attention layer of the teacher, such as those of `tfkd.taps.transformer`;
            `of` selects the values. A list of paths for several.
        student_layer: the same number from the student.
        of: which relations: any of "queries", "keys" and "values". MiniLM uses the values alone, with
            `AttentionKL`; MiniLMv2 uses all three.
        heads: number of relation heads; None for the existing heads. MiniLMv2 uses 48 for teachers of width
            768 and 64 for width 1,024. Keys and values shared by several heads, as in grouped-query
            attention, count once per head.
        **kwargs: `name`.

    Raises:
        ValueError: if the numbers of student and teacher layers differ, or an option is out of its range.

    Example:
        >>> theirs, ours = (tfkd.taps.transformer(model).attention[-1] for model in (teacher, student))
        >>> loss = SelfAttentionRelations(theirs, ours, of=("queries", "keys", "values"), heads=48)
        >>> tfkd.Distiller(teacher, student, loss)

    Reference:
        Wang et al., "MiniLM", 2020, and "MiniLMv2", 2021. See `self_attention_relations`.
    """

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        of: Sequence[str] = ("values",),
        heads: int | None = None,
        **kwargs,
    ) -> None:
        self.of = [check_choice("of", kind, _KINDS) for kind in ([of] if isinstance(of, str) else of)]
        if not self.of or len(set(self.of)) < len(self.of):
            raise ValueError(f"`of` must name at least one of {_KINDS}, each once. Received: of={of!r}.")
        super().__init__(teacher_layer, student_layer, self.of, **kwargs)
        self.heads = None if heads is None else check_int("heads", heads)

    def compare(self, teacher, student, mask):
        return self_attention_relations(teacher, student, self.heads, mask)

    def get_config(self) -> dict:
        return {**super().get_config(), "of": self.of, "heads": self.heads}
