"""Chooses the recipe that suits a teacher."""

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

# The weight of features for students with layers of the teacher, and the learning rates for students that
# start close to the teacher, and for those that start from random weights.
_FEATURES, _LOW_RATE, _HIGH_RATE = 5.0, 1.5e-3, 1.5e-2
_COLOURS = 3
_PICTURES = ("pictures",)
# Refinement towards a teacher's batch statistics. Drawings and signals start farther away than pictures.
_TYPICAL: dict[str, Any] = {"refine_share": 1.0, "refine_adversarial": 0.0, "refine_statistics": 0.05}
_FROM_PICTURES = {"refine_steps": 10, "refine_size": 0.02}
_FROM_OTHERS = {"refine_steps": 30, "refine_size": 0.03}
# Maximum number of values in a batch of images; large networks need memory for hundreds of times as many.
_NUMBERS_AT_ONCE = 6_000_000


class Choice(NamedTuple):
    """A recipe, and why it was chosen."""

    recipe: Recipe
    reason: str


def choose_recipe(teacher: keras.Model, inherits: bool = False, shallower: bool = False) -> Choice:
    """Chooses the recipe that suits a teacher, and gives the reason.

    The choice depends on the teacher and its student, never on data: on the teacher's inputs, on whether it
    can be differentiated, and on whether it has batch normalization, whose statistics show what its
    training images were like. Batches of large images are smaller, so that they fit in memory. See
    `docs/results.md` for the measurements behind these choices.

    Args:
        teacher: a teacher from `tfkd.load_teacher`.
        inherits: whether students inherit the teacher's weights, as from
            `tfkd.students.scale_width(..., inherit=True)`; if the teacher has batch normalization, they
            then also learn its features.
        shallower: whether students have fewer of the teacher's layers, each unchanged, as from
            `tfkd.students.scale_depth`. If these inherit weights, or if students inherit from a teacher
            without batch normalization, they start closer to it and use a lower learning rate. Shallower
            students with random weights learn the features of all convolutions.

    Returns:
        The `recipe`, and the `reason` in a sentence or two.

    Example:
        >>> student = tfkd.students.scale_width(teacher, 0.5, inherit=True)
        >>> recipe, reason = tfkd.datafree.choose_recipe(teacher, inherits=True)
        >>> tfkd.DataFreeDistiller(teacher, student, recipe)
    """
    recipe, reason = _by_kind(teacher, inherits, shallower)
    return Choice(_in_memory(recipe, teacher), reason)


def _by_kind(teacher, inherits, shallower):
    if takes_tokens(teacher):
        return Choice(ProceduralText(), "The teacher takes token ids, which gradients cannot change.")
    if isinstance(teacher, BlackBoxTeacher):
        recipe = Procedural(refine_share=0.0, refine_steps=0)
        return Choice(recipe, "The teacher is a black box, which has no gradients, statistics or features.")
    if not takes_images(teacher):
        return Choice(Procedural(), "The teacher does not take images.")
    normalized = bool(normalization_taps(teacher))
    near = inherits and (shallower or not normalized)
    learned: dict[str, Any] = {"learning_rate": _LOW_RATE} if near else {}
    if not normalized:
        reason = "The teacher has no batch normalization, so images are chosen by its predictions alone."
        recipe = Procedural(**learned)
        return Choice(_with_pictures(recipe) if _has_colours(teacher) else recipe, reason)
    reason = "The teacher's batch normalization statistics show what its training images were like."
    if inherits or shallower:
        # Mirroring is free if the teacher runs on each image again for its features.
        learned |= {"features": _FEATURES, "student_flip": True}
        reason += " The student has layers of the teacher, and also learns its features."
    if shallower and not inherits:
        learned |= {"features_at": "convolutions", "learning_rate": _HIGH_RATE}
    if _has_colours(teacher):
        return Choice(PicturePrior(**learned), f"{reason} The images have colours, like photographs.")
    if is_spectrogram(teacher.input_shape[1:]):
        # Its prior is replaced by signals, and a mirrored spectrogram is not a spectrogram.
        return Choice(GuidedPrior(**learned).with_options(student_flip=False), reason)
    return Choice(_with_pictures(GuidedPrior(**learned)), reason)


def calibrating_recipe(teacher: keras.Model, pictures: str | None = None) -> Recipe:
    """The recipe for calibration inputs, which are as similar to training inputs as the teacher allows.

    Nothing is trained. Images with colours are crops of pictures. If the teacher has batch normalization,
    all inputs are refined towards its stored statistics; other inputs would give ranges that are too wide
    or shifted.

    Args:
        teacher: a teacher from `load_teacher`.
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
    """The recipe, with its batch size halved until the images fit in memory."""
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
    """The recipe with crops of pictures in addition to its own priors."""
    return recipe.with_options(prior=(*_PICTURES, *recipe.priors))
