"""PicturePrior: crops of a few photographs, selected and refined to be typical for the teacher."""

import dataclasses

from tfkd.datafree._parts import Priors
from tfkd.datafree.recipes._procedural import Procedural


@dataclasses.dataclass(frozen=True, kw_only=True)
class PicturePrior(Procedural):
    """Crops of a few photographs, selected for similarity to the teacher's training images.

    Every image is a new crop of `tfkd.generators.Pictures`, with random scale, rotation, colours and
    contrast. From `candidates_per_image` times as many crops, those are preferred whose statistics match
    the teacher's batch normalization, balanced over its classes. Half of them then take a few small
    gradient steps towards these statistics and a random class. Stored images are randomly mirrored, and the
    teacher predicts for the mirrored image. Nothing but the student is trained. It learns more with
    `features=5` if it inherited weights, and with `learning_rate=1.5e-3` if it has fewer of the teacher's
    layers.

    When:
        The teacher takes natural colour images and has batch normalization.

    Args:
        **kwargs: the options of `Procedural`.

    Example:
        >>> student = tfkd.students.scale_depth(teacher, 0.6, inherit=True)
        >>> recipe = tfkd.datafree.PicturePrior(features=5.0, learning_rate=1.5e-3)
        >>> tfkd.DataFreeDistiller(teacher, student, recipe)

    Reference:
        Asano, Saeed, "The Augmented Image Prior: Distilling 1000 Classes by Extrapolating from a Single
        Image", ICLR 2023. Deviations: several pictures, selection among crops, gradient steps, features,
        Muon.
    """

    prior: Priors = ("pictures",)
    candidates_per_image: int = 4
    statistics_weight: float = 40.0
    refine_share: float = 0.5
    refine_steps: int = 6
    refine_size: float = 0.03
    refine_adversarial: float = 0.0
    refine_statistics: float = 0.05
    batch_size: int = 128
    memory_dtype: str = "uint8"
    replay_steps: int = 9
    student_flip: bool = True
    learning_rate: float = 6e-3
    epochs: int = 24
