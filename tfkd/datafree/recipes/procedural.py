"""Procedural: images nobody trained a generator for, chosen and refined by the teacher."""

import dataclasses

import keras

from tfkd.datafree.recipe import Recipe
from tfkd.losses import KnowledgeLoss, SoftTargets
from tfkd.losses.base import check_positive
from tfkd.optimizers import Muon


@dataclasses.dataclass(frozen=True, kw_only=True)
class Procedural(Recipe):
    """Procedural images, balanced over the teacher's classes, partly refined, replayed from memory.

    Nothing is trained but the student, so nearly all time goes into its updates. Candidates are
    over-drawn and resampled so that the teacher's predicted classes are balanced (and, with
    `disagreement` above 0, so that those on which student and teacher disagree come more often; in
    short runs that cost accuracy); a share is then carried towards random classes and away from the
    student by a few smoothed gradient steps. No default depends on the data set.

    Args:
        temperature: of the soft targets; without effect where a `student_loss` is given.
        learning_rate: peak rate of Muon, which warms up over the first 5 % of the updates and decays
            to 0 as a cosine.
        student_loss: what the student minimizes; None for soft targets at `temperature`.
        **kwargs: the other fields of `Recipe`.

    Example:
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.Procedural())

    Reference:
        This project's own; refinement is related to DeepInversion (Yin et al., 2020) without its
        statistics, the adversarial part to DFAD (Fang et al., 2019).
    """

    temperature: float = 4.0
    learning_rate: float = 1.5e-2
    student_loss: KnowledgeLoss | None = None
    prior_share: float = 1.0
    overdraw: int = 2
    balance: float = 1.0
    refine_share: float = 0.5
    refine_steps: int = 2
    refine_adversarial: float = 0.5
    memory: int | None = None
    replay_steps: int = 5
    epochs: int = 18

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(temperature=self.temperature)
        self._above_0("learning_rate")

    def build_student_loss(self) -> KnowledgeLoss:
        return SoftTargets(self.temperature) if self.student_loss is None else super().build_student_loss()

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        warmup = max(1, updates // 20)
        schedule = keras.optimizers.schedules.CosineDecay(
            self.learning_rate / 20,
            max(1, updates - warmup),
            warmup_target=self.learning_rate,
            warmup_steps=warmup,
        )
        return Muon(schedule)
