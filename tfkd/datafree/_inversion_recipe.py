"""InversionRecipe: images made one batch at a time and remembered, and a student taught from memory."""

import dataclasses
import math
from typing import Any, ClassVar

import keras
from keras import ops

from tfkd.datafree import _views as views
from tfkd.datafree._recipe import Recipe
from tfkd.datafree.objectives._image_objective import Critic
from tfkd.optimizers import sgd_of_the_papers

_STARTS = ("noise", "prior")


@dataclasses.dataclass(frozen=True, kw_only=True)
class InversionRecipe(Recipe):
    """What recipes have in common that make a batch by gradient steps on what it is made from.

    One step of `DataFreeDistiller` makes `inversions` batches of `inversion_batch` images with
    `generator_steps` gradient steps each, remembers them with the teacher's logits (`prior_share` of what
    is remembered comes from the procedural prior instead), and then teaches the student in `replay_steps`
    updates from memory.

    Args:
        inversions: batches of images made in a step.
        inversion_batch: images in such a batch.
        start: what images start from, "noise" or "prior"; without effect where they are made by a
            generator.
        view_shift: pixels by which the networks' view of images is shifted at random while they are made.
        view_flip: whether half of the views are mirrored left to right.
        student_learning_rate: of SGD, at the beginning.
        weight_decay: of the student, coupled to the gradient as in PyTorch.
        **kwargs: the other fields of `Recipe`; `generator_steps` are the gradient steps on a batch.
    """

    fewest_student_steps: ClassVar[int] = 0

    inversions: int = 1
    inversion_batch: int = 256
    start: str = "noise"
    view_shift: int = 0
    view_flip: bool = False
    temperature: float = 20.0
    student_learning_rate: float = 0.1
    weight_decay: float = 1e-4
    generator_steps: int = 100
    student_steps: int = 0
    memory: int | None = None
    replay_steps: int = 100
    steps_per_epoch: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._above_0("student_learning_rate")
        self._in_range(0, math.inf, "weight_decay")
        self._at_least(1, "inversions", "inversion_batch", "generator_steps", "replay_steps")
        self._at_least(0, "view_shift")
        if self.prior_share > 0.9:
            self._refuse("prior_share", "at most 0.9, or next to nothing is made")
        if self.output != "sigmoid":
            self._refuse("output", "'sigmoid', which generators of single batches end in")
        if self.start not in _STARTS:
            self._refuse("start", f"one of {', '.join(map(repr, _STARTS))}")
        if self.student_steps:
            self._refuse("student_steps", "0: the student is taught from memory, in `replay_steps`")
        least = max(self.batch_size, self.images_per_inversion())
        if self.memory is not None and self.memory < least:
            self._refuse(
                "memory", f"None or at least {least}, the images that are made or learned at a time"
            )
        if self.inversion_batch % self.accumulate:
            self._refuse("accumulate", f"a divisor of the inversion batch ({self.inversion_batch})")

    def leaning_on_prior(self) -> dict[str, Any]:
        changed = {**super().leaning_on_prior(), "start": "prior"}
        if self.memory is not None:
            changed["memory"] = max(self.memory, 2 * self.inversion_batch)
        return changed

    def uses_prior(self) -> bool:
        return self.start == "prior" or super().uses_prior()

    def view(self) -> views.View | None:
        """How the networks look at images while these are made."""
        if not (self.view_shift or self.view_flip):
            return None
        return views.Shift(self.view_shift, self.view_flip)

    def build_critic(
        self, teacher: keras.Model, student: keras.Model, seed: keras.random.SeedGenerator
    ) -> Critic:
        return Critic(
            teacher,
            student,
            self.build_objectives(),
            self.inversion_batch,
            seed,
            self.view(),
            views.ResizedCrop(flip=self.view_flip),
            self.accumulate,
        )

    def build_generator(self, image_shape: tuple[int, int, int], classes: int) -> None:
        """No generator is trained for good: what makes a batch belongs to the inversion."""
        return None

    def draw_targets(self, classes: int, seed: keras.random.SeedGenerator):
        """Classes that a batch is made for: int32 `(inversion_batch,)`, uniform and sorted."""
        return ops.sort(keras.random.randint((self.inversion_batch,), 0, classes, seed=seed))

    def prior_images_per_inversion(self) -> int:
        """How many images of the prior are remembered with each batch."""
        return round(self.inversion_batch * self.prior_share / (1 - self.prior_share))

    def drawn_at_once(self) -> int:
        started = self.inversion_batch if self.start == "prior" else 0
        return max(started, self.prior_images_per_inversion())

    def images_per_inversion(self) -> int:
        """How many images are remembered at a time."""
        return self.inversion_batch + self.prior_images_per_inversion()

    def memory_capacity(self, image_shape: tuple[int, int, int]) -> int:
        return max(super().memory_capacity(image_shape), self.images_per_inversion())

    def updates_per_step(self) -> int:
        return self.replay_steps

    def images_per_step(self) -> int:
        from_prior = self.prior_images_per_inversion()
        from_prior += self.inversion_batch if self.start == "prior" else 0
        return self.inversions * (self.inversion_batch + from_prior * self.drawn_for_each())

    def images_made(self, steps: int) -> int:
        return steps * self.images_per_step()

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        """SGD with momentum whose rate decays as a cosine, as CMI, Fast and NAYER have it."""
        rate = keras.optimizers.schedules.CosineDecay(self.student_learning_rate, updates, alpha=1e-3)
        return sgd_of_the_papers(rate, self.weight_decay)
