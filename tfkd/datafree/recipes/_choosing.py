"""Which recipe suits a teacher."""

import math
from typing import Any, NamedTuple

import keras

from tfkd.datafree._inputs import takes_images, takes_tokens
from tfkd.datafree._parts._fallback import is_spectrogram
from tfkd.datafree._recipe import Recipe
from tfkd.datafree.objectives._moments import normalization_taps
from tfkd.datafree.recipes._guided_prior import GuidedPrior
from tfkd.datafree.recipes._picture_prior import PicturePrior
from tfkd.datafree.recipes._procedural import Procedural
from tfkd.datafree.recipes._procedural_text import ProceduralText
from tfkd.teachers import BlackBoxTeacher

# Weight of the features of a teacher that a student has layers of, the rate for one that is near it from
# the beginning, and for one that has all to learn.
_FEATURES, _LOW_RATE, _HIGH_RATE = 5.0, 1.5e-3, 1.5e-2
_COLOURS = 3
_PICTURES = ("pictures",)
# How inputs come to have a teacher's batch statistics. Drawings and signals are farther from them than
# pictures are.
_TYPICAL: dict[str, Any] = {"refine_share": 1.0, "refine_adversarial": 0.0, "refine_statistics": 0.05}
_FROM_PICTURES = {"refine_steps": 10, "refine_size": 0.02}
_FROM_OTHERS = {"refine_steps": 30, "refine_size": 0.03}
# Numbers in a batch of images at most. Networks for large images hold hundreds of times as many.
_NUMBERS_AT_ONCE = 6_000_000


class Choice(NamedTuple):
    """A recipe, and why it was chosen."""

    recipe: Recipe
    reason: str


def choose_recipe(teacher: keras.Model, inherits: bool = False, shallower: bool = False) -> Choice:
    """The recipe that suits a teacher, and why.

    The choice follows from the teacher and its student, never from data: what it takes, whether it can be
    differentiated, and whether it has batch normalizations, which tell what is typical of its training
    images. Batches of large images are smaller, so that they fit into memory. How the choices were
    measured is in `docs/results.md`.

    Args:
        teacher: as `tfkd.load_teacher` returns it.
        inherits: whether students are the teacher thinned, with its weights
            (`tfkd.students.scale_width(..., inherit=True)`); where it has batch normalizations, they then
            learn its features, too.
        shallower: whether they have fewer of its layers, which are unchanged (`tfkd.students.scale_depth`).
            Where these inherit, and where a teacher has no batch normalization, students begin nearer and
            learn at a lower rate. With random weights, these learn the features of all convolutions.

    Returns:
        `recipe` and `reason`, a sentence.

    Example:
        >>> student = tfkd.students.scale_width(teacher, 0.5, inherit=True)
        >>> recipe, reason = tfkd.datafree.choose_recipe(teacher, inherits=True)
        >>> tfkd.DataFreeDistiller(teacher, student, recipe)
    """
    recipe, reason = _by_kind(teacher, inherits, shallower)
    return Choice(_in_memory(recipe, teacher), reason)


def _by_kind(teacher, inherits, shallower):
    if takes_tokens(teacher):
        return Choice(ProceduralText(), "The teacher reads token ids, which no gradient moves.")
    if isinstance(teacher, BlackBoxTeacher):
        recipe = Procedural(refine_share=0.0, refine_steps=0)
        return Choice(recipe, "The teacher is a black box, which has no gradients, statistics or features.")
    if not takes_images(teacher):
        return Choice(Procedural(), "The teacher does not take images.")
    normalized = bool(normalization_taps(teacher))
    near = inherits and (shallower or not normalized)
    learned: dict[str, Any] = {"learning_rate": _LOW_RATE} if near else {}
    if not normalized:
        reason = "The teacher has no batch normalization, so images are chosen by its answers alone."
        recipe = Procedural(**learned)
        return Choice(_with_pictures(recipe) if _has_colours(teacher) else recipe, reason)
    reason = "The teacher's batch normalizations tell which images are typical of those it was trained on."
    if inherits or shallower:
        # Mirrored images cost nothing where the teacher looks at each image again for its features.
        learned |= {"features": _FEATURES, "student_flip": True}
        reason += " The student has layers of the teacher, and learns its features, too."
    if shallower and not inherits:
        learned |= {"features_at": "convolutions", "learning_rate": _HIGH_RATE}
    if _has_colours(teacher):
        return Choice(PicturePrior(**learned), f"{reason} The images have colours, as photographs do.")
    if is_spectrogram(teacher.input_shape[1:]):
        # Its own prior gives way to signals, and a mirrored spectrogram is not one.
        return Choice(GuidedPrior(**learned).with_options(student_flip=False), reason)
    return Choice(_with_pictures(GuidedPrior(**learned)), reason)


def calibrating_recipe(teacher: keras.Model, pictures: str | None = None) -> Recipe:
    """How inputs are made that ranges are taken from: as much like training inputs as a teacher tells.

    Nothing is trained. Images with colours are crops of pictures; where the teacher has batch
    normalizations, all inputs are moved until they have the statistics that these remember. Ranges of
    other inputs are too wide for real ones, or lie elsewhere.

    Args:
        teacher: as `load_teacher` returns it.
        pictures: a folder of pictures to crop; None for those that ship with the library.
    """
    coloured = takes_images(teacher) and _has_colours(teacher)
    options: dict[str, Any] = {"prior": _PICTURES, "pictures": pictures} if coloured else {}
    if isinstance(teacher, BlackBoxTeacher):
        options |= {"refine_steps": 0}
    elif normalization_taps(teacher):
        options |= _TYPICAL | (_FROM_PICTURES if coloured else _FROM_OTHERS)
    return _in_memory(Procedural(memory=0, **options), teacher)


def _in_memory(recipe, teacher):
    """A recipe whose batches are halved until their images fit into memory."""
    if not takes_images(teacher):
        return recipe
    of_one = math.prod(size or 1 for size in teacher.input_shape[1:])
    batch_size = recipe.batch_size
    while batch_size > 8 and batch_size * of_one > _NUMBERS_AT_ONCE:
        batch_size //= 2
    return recipe.with_options(batch_size=batch_size)


def _has_colours(teacher):
    return teacher.input_shape[-1] == _COLOURS


def _with_pictures(recipe):
    """Crops of pictures beside a recipe's own priors."""
    return recipe.with_options(prior=(*_PICTURES, *recipe.priors))
