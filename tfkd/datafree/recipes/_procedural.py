"""Procedural: images from untrained generators, selected and refined by the teacher."""

import dataclasses
from typing import Annotated

import keras

from tfkd._core.options import Above
from tfkd.datafree._recipe import PriorRecipe
from tfkd.optimizers import Muon, warmed_up_cosine


@dataclasses.dataclass(frozen=True, kw_only=True)
class Procedural(PriorRecipe):
    """Procedural images, balanced over the teacher's classes, partly refined, replayed from memory.

    Nothing but the student is trained, so nearly all time is spent on its updates. More candidates are
    drawn than needed, and resampled so that the teacher's predicted classes are balanced. (With
    `disagreement` above 0, images on which student and teacher disagree are also preferred; in short runs
    this reduced accuracy.) Part of the images are then moved towards random classes, and towards
    disagreement with the student, by a few smoothed gradient steps. No default depends on the data set.

    When:
        The teacher has no batch normalization, or takes vectors or series. With `refine_steps=0` also for
        teachers that only return predictions.

    Args:
        learning_rate: the peak learning rate of Muon, which warms up over the first 5 % of the updates and
            decays to 0 as a cosine. Students that start close to their teacher learn more at a tenth of it.
        **kwargs: the options of `PriorRecipe`.

    Example:
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.Procedural())

    Reference:
        This project's own. The refinement is related to DeepInversion (Yin et al., 2020) without its
        statistics, and its adversarial part to DFAD (Fang et al., 2019).
    """

    temperature: float = 4.0
    learning_rate: Annotated[float, Above(0)] = 1.5e-2
    candidates_per_image: int = 2
    balance: float = 1.0
    refine_share: float = 0.5
    refine_steps: int = 2
    refine_adversarial: float = 0.5
    memory: int | None = None
    replay_steps: int = 5
    epochs: int = 18

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return Muon(warmed_up_cosine(self.learning_rate, updates))
