"""Base class of losses on the first token, [CLS]."""

from tfkd.losses._base import Batch
from tfkd.losses._features import FeatureLoss, Pair, as_list, shape_list


class ClassTokenLoss(FeatureLoss):
    """A feature loss on the first of `(batch, tokens, width)`, or on `(batch, width)` directly."""

    def build(self, teacher_shape, student_shape) -> None:
        super().build(_each_without_tokens(teacher_shape), _each_without_tokens(student_shape))

    def pairs(self, teacher, student, batch: Batch) -> list[Pair]:
        theirs, ours = ([_first_token(x) for x in as_list(each)] for each in (teacher, student))
        return super().pairs(theirs, ours, batch._replace(mask=None))


def _first_token(features):
    _check_rank(features.shape)
    return features[:, 0] if len(features.shape) == 3 else features


def _each_without_tokens(shapes):
    for shape in shape_list(shapes):
        _check_rank(shape)
    return [(shape[0], shape[-1]) for shape in shape_list(shapes)]


def _check_rank(shape):
    if len(shape) not in (2, 3):
        raise ValueError(
            "Features must be tokens (batch, tokens, width), with [CLS] first, or (batch, width). "
            f"Received: shape {tuple(shape)}. Tap a block of a transformer."
        )
