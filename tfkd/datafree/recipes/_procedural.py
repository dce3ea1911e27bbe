"""Procedural: images nobody trained a generator for, chosen and refined by the teacher."""

import dataclasses
from typing import Annotated

import keras

from tfkd._core.options import Above
from tfkd.datafree._recipe import PriorRecipe
from tfkd.optimizers import Muon, warmed_up_cosine


@dataclasses.dataclass(frozen=True, kw_only=True)
class Procedural(PriorRecipe):
    """Procedural images, balanced over the teacher's classes, partly refined, replayed from memory.

    Nothing is trained but the student, so nearly all time goes into its updates. Candidates are
    over-drawn and resampled so that the teacher's predicted classes are balanced (and, with
    `disagreement` above 0, so that those on which student and teacher disagree come more often; in
    short runs that cost accuracy); a share is then carried towards random classes and away from the
    student by a few smoothed gradient steps. No default depends on the data set.

    When:
        The teacher has no batch normalization, or takes vectors or series. With `refine_steps=0` also for
        teachers that only answer.

    Args:
        learning_rate: peak rate of Muon, which warms up over the first 5 % of the updates and decays
            to 0 as a cosine. Students that begin near their teacher learn more at a tenth of it.
        **kwargs: the options of `PriorRecipe`.

    Example:
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.Procedural())

    Reference:
        This project's own; refinement is related to DeepInversion (Yin et al., 2020) without its
        statistics, the adversarial part to DFAD (Fang et al., 2019).
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
