"""Which of the teacher's inner features a student is to have too."""

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
    """Pairs of taps, teacher's and student's, of convolutions of one name with maps of the same size."""
    ours = named_layers(student)
    convolutions = [p for p, layer in named_layers(teacher).items() if isinstance(layer, _CONVOLUTIONS)]
    sizes = {path: [_size(m, path) for m in (teacher, student)] for path in convolutions if path in ours}
    return [(path, path) for path, (theirs, own) in sizes.items() if theirs is not None and theirs == own]


def _size(model, path):
    """All of a map's shape but its channels; None if the model's graph does not tell."""
    seen = shape(model, path)
    return None if seen is None else seen[:-1]


# Where features are compared, by name.
PLACES = {"stages": shared_stages, "convolutions": shared_convolutions}


def shared_blocks(teacher: keras.Model, student: keras.Model) -> list[tuple[str, str]]:
    """Pairs of taps of hidden states: the student's blocks, and the teacher's that they stand for."""
    theirs, ours = (transformer(model).hidden for model in (teacher, student))
    return [(theirs[i], tap) for i, tap in zip(spread_layers(len(theirs), len(ours)), ours, strict=True)]


def feature_loss(
    teacher: keras.Model,
    student: keras.Model,
    pairs: Sequence[tuple[str, str]] | None = None,
    at: str = "stages",
) -> FeatureLoss:
    """What a student minimizes to have the teacher's features, or hidden states of a language model.

    Args:
        teacher: a model whose graph is known.
        student: a model that has some of its layers.
        pairs: taps of teacher and student to compare; None for those that `at` says, and for language
            models the student's blocks.
        at: see `feature_hint`.

    Raises:
        ValueError: if there is nothing to compare; with the remedy.
    """
    if not takes_tokens(teacher):
        return feature_hint(teacher, student, pairs, at)
    try:
        pairs = shared_blocks(teacher, student) if pairs is None else pairs
    except ValueError as error:
        raise ValueError(
            "`features` must be 0, or `feature_layers` pairs of taps of hidden states, for networks whose "
            f"blocks are not known. {error}"
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
        student: a model with maps of the same sizes; a narrower one has the teacher's layers and is
            compared with those channels that `scale_width(inherit=True)` keeps.
        pairs: taps of teacher and student to compare; None for those that `at` says.
        at: "stages" for the last of each size of maps that both networks have, "convolutions" for all
            convolutions of one name.

    Returns:
        A loss, 1 for each pair where a student's features are 0.

    Raises:
        ValueError: if there is nothing to compare, or a narrower student is of another make.
    """
    pairs = PLACES[at](teacher, student) if pairs is None else pairs
    if not pairs:
        raise ValueError(
            "`feature_layers` must name pairs of layers, since teacher and student share none: stages have "
            "maps of one size, convolutions one name as well. Give them, or another `features_at` than "
            f"{at!r}, or features=0."
        )
    teachers, students = (list(taps) for taps in zip(*pairs, strict=True))
    return Hint(teachers, students, channels=_channels(teacher, student, pairs), relative=True)


def _channels(teacher, student, pairs):
    """The teacher's channels that a narrower student is compared with; None for all of them."""
    widths = [(_width(teacher, theirs), _width(student, ours)) for theirs, ours in pairs]
    if all(theirs == ours for theirs, ours in widths):
        return None
    # Widths are those of the model that was pruned or quantized.
    narrow = (student.plain() if isinstance(student, BridgedModel) else None) or student
    try:
        kept = kept_channels(teacher, narrow)
    except ValueError as error:
        raise ValueError(
            "`features` must be 0, or `feature_layers` of equal widths, for a student that is narrower "
            f"than its teacher and no thinned copy of it. {error}"
        ) from error
    if unknown := [theirs for theirs, _ in pairs if theirs not in kept]:
        raise ValueError(
            "`feature_layers` must name outputs of layers where a student is narrower than its teacher. "
            f"Received: {unknown}."
        )
    return [kept[theirs] for theirs, _ in pairs]


def _width(model, tap):
    seen = shape(model, tap)
    if not isinstance(seen, tuple):
        raise ValueError(
            f"`feature_layers` must name layers with one output of known shape, which {tap!r} of "
            f"{model.name!r} is not. Name others, or use features=0."
        )
    return seen[-1]
