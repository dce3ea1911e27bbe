"""Chooses the teacher features that a student learns to match."""

from collections.abc import Sequence

import keras
from keras import layers

from tfkd.compression import BridgedModel
from tfkd.datafree._inputs import takes_tokens
from tfkd.losses import CosineEmbedding, FeatureLoss, Hint
from tfkd.students import kept_channels, spread_layers
from tfkd.taps import named_layers, shape, shared_stages, transformer

_CONVOLUTIONS = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D),
    *(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
    *(layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.SeparableConv1D, layers.SeparableConv2D),
)


def shared_convolutions(teacher: keras.Model, student: keras.Model) -> list[tuple[str, str]]:
    """Pairs of taps, teacher's and student's, of convolutions with the same name and output size."""
    ours = named_layers(student)
    convolutions = [p for p, layer in named_layers(teacher).items() if isinstance(layer, _CONVOLUTIONS)]
    sizes = {path: [_size(m, path) for m in (teacher, student)] for path in convolutions if path in ours}
    return [(path, path) for path, (theirs, own) in sizes.items() if theirs is not None and theirs == own]


def _size(model, path):
    """The shape of a feature map without its channels; None if it is not known."""
    seen = shape(model, path)
    return None if seen is None else seen[:-1]


# Where features are compared, by name.
PLACES = {"stages": shared_stages, "convolutions": shared_convolutions}


def shared_blocks(teacher: keras.Model, student: keras.Model) -> list[tuple[str, str]]:
    """Pairs of taps of hidden states: the student's blocks, and the teacher's that they correspond to."""
    theirs, ours = (transformer(model).hidden for model in (teacher, student))
    return [(theirs[i], tap) for i, tap in zip(spread_layers(len(theirs), len(ours)), ours, strict=True)]


def feature_loss(
    teacher: keras.Model,
    student: keras.Model,
    pairs: Sequence[tuple[str, str]] | None = None,
    at: str = "stages",
) -> FeatureLoss:
    """The loss for matching the teacher's features, or the hidden states of a language model.

    Args:
        teacher: a model whose graph is known.
        student: a model that has some of its layers.
        pairs: taps of teacher and student to compare; None for those chosen by `at`, or for language
            models the student's blocks.
        at: see `feature_hint`.

    Raises:
        ValueError: with a remedy, if there is nothing to compare.
    """
    if not takes_tokens(teacher):
        return feature_hint(teacher, student, pairs, at)
    try:
        pairs = shared_blocks(teacher, student) if pairs is None else pairs
    except ValueError as error:
        raise ValueError(
            "For networks whose blocks are not known, `features` must be 0, or `feature_layers` must be "
            f"pairs of taps of hidden states. {error}"
        ) from error
    teachers, students = (list(taps) for taps in zip(*pairs, strict=True))
    narrow = any(_width(teacher, theirs) != _width(student, own) for theirs, own in pairs)
    return CosineEmbedding(teachers, students, projector=True if narrow else None)


def feature_hint(
    teacher: keras.Model,
    student: keras.Model,
    pairs: Sequence[tuple[str, str]] | None = None,
    at: str = "stages",
) -> Hint:
    """The relative distance of features.

    Args:
        teacher: a model whose graph is known.
        student: a model with feature maps of the same sizes; a narrower one must have the teacher's layers
            and is compared with the channels that `scale_width(inherit=True)` keeps.
        pairs: taps of teacher and student to compare; None for those chosen by `at`.
        at: "stages" for the last feature map of each size that both networks have, "convolutions" for all
            convolutions with the same name.

    Returns:
        A loss that is 1 for each pair in which the student's features are 0.

    Raises:
        ValueError: if there is nothing to compare, or a narrower student has another architecture.
    """
    pairs = PLACES[at](teacher, student) if pairs is None else pairs
    if not pairs:
        raise ValueError(
            "`feature_layers` must name pairs of layers, since none were found: stages need feature maps "
            "of the same size, convolutions also the same name. Pass them, or another `features_at` than "
            f"{at!r}, or features=0."
        )
    teachers, students = (list(taps) for taps in zip(*pairs, strict=True))
    return Hint(teachers, students, channels=_channels(teacher, student, pairs), relative=True)


def _channels(teacher, student, pairs):
    """The teacher's channels that a narrower student is compared with; None for all of them."""
    widths = [(_width(teacher, theirs), _width(student, ours)) for theirs, ours in pairs]
    if all(theirs == ours for theirs, ours in widths):
        return None
    # The widths are those of the original model, before pruning or quantization.
    narrow = (student.plain() if isinstance(student, BridgedModel) else None) or student
    try:
        kept = kept_channels(teacher, narrow)
    except ValueError as error:
        raise ValueError(
            "For a student that is narrower than its teacher and not made by scale_width, `features` must "
            f"be 0, or `feature_layers` must name layers of equal width. {error}"
        ) from error
    if unknown := [theirs for theirs, _ in pairs if theirs not in kept]:
        raise ValueError(
            "`feature_layers` must name outputs of layers if a student is narrower than its teacher. "
            f"Received: {unknown}."
        )
    return [kept[theirs] for theirs, _ in pairs]


def _width(model, tap):
    seen = shape(model, tap)
    if not isinstance(seen, tuple):
        raise ValueError(
            f"`feature_layers` must name layers with one output of known shape, but {tap!r} of "
            f"{model.name!r} is not one. Name others, or use features=0."
        )
    return seen[-1]
