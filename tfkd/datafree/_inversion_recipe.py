"""InversionRecipe: images made one batch at a time and remembered, and a student taught from memory."""

import dataclasses
from typing import Annotated, Any, ClassVar

import keras
from keras import ops

from tfkd._core.options import Above, AtLeast, Between
from tfkd.datafree import _parts as parts
from tfkd.datafree import _views as views
from tfkd.datafree._lesson import Lesson
from tfkd.datafree._recipe import MixedRecipe
from tfkd.datafree.objectives._image_objective import ImageObjective
from tfkd.datafree.sources import InversionSource
from tfkd.datafree.sources.inversion import Inversion, Pixels
from tfkd.optimizers import WarmedUpCosine, sgd_with_coupled_decay
from tfkd.tasks import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class InversionRecipe(parts.Inversion, MixedRecipe):
    """What recipes have in common that make a batch by gradient steps on what it is made from.

    One step of `DataFreeDistiller` makes `inversions` batches of `inversion_batch` images with
    `generator_steps` gradient steps each, remembers them with the teacher's answers (`prior_share` of what
    is remembered comes from the procedural prior instead), and then teaches the student in `replay_steps`
    updates from memory.

    Args:
        prior_share: share of what is remembered that comes from the procedural prior, in [0, 0.9].
        student_learning_rate: of SGD, at the beginning.
        weight_decay: of the student, coupled to the gradient as in PyTorch.
        **kwargs: the options of `Inversion` and `MixedRecipe`.
    """

    needs_classes: ClassVar[bool] = True

    prior_share: Annotated[float, Between(0, 0.9)] = 0.0
    student_learning_rate: Annotated[float, Above(0)] = 0.1
    weight_decay: Annotated[float, AtLeast(0)] = 1e-4
    temperature: Annotated[float, Above(0)] = 20.0
    memory: Annotated[int | None, AtLeast(1)] = None
    replay_steps: Annotated[int, AtLeast(1)] = 100
    steps_per_epoch: Annotated[int, AtLeast(1)] = 1

    def check(self) -> None:
        super().check()
        least = self.images_at_once()
        if self.memory is not None and self.memory < least:
            self._refuse(
                "memory", f"None or at least {least}, the images that are made or learned at a time"
            )
        if self.inversion_batch % self.microbatches:
            self._refuse("microbatches", f"a divisor of the inversion batch ({self.inversion_batch})")

    def uses_prior(self) -> bool:
        return super().uses_prior() or self.starts_at_prior()

    def starts_at_prior(self) -> bool:
        """Whether inversion starts from images of the prior."""
        return False

    def fallback_options(self) -> dict[str, Any]:
        changed = super().fallback_options()
        if self.memory is not None:
            changed["memory"] = max(self.memory, 2 * self.inversion_batch)
        return changed

    def view(self) -> views.View | None:
        """How the networks look at images while these are made."""
        if not (self.view_shift or self.view_flip):
            return None
        return views.Shift(self.view_shift, self.view_flip)

    def build_image_objective(self, lesson: Lesson) -> ImageObjective:
        """What judges the images."""
        return ImageObjective(
            lesson,
            self.build_objectives(),
            self.inversion_batch,
            self.view(),
            views.ResizedCrop(flip=self.view_flip),
            self.microbatches,
        )

    def build_inversion(self, lesson: Lesson) -> Inversion:
        """What makes a batch, a new one."""
        raise NotImplementedError(f"{type(self).__name__} does not say what images are made from.")

    def build_source(self, lesson: Lesson) -> InversionSource:
        inversion, objective = self.build_inversion(lesson), self.build_image_objective(lesson)
        from_prior, prior = self.prior_images_per_inversion(), None
        if self.uses_prior():
            at_once = max(from_prior, self.inversion_batch if self.starts_at_prior() else 0)
            prior = self._prior_source(lesson, at_once, self, self)
        return InversionSource(
            lesson,
            inversion,
            objective,
            self,
            prior,
            from_prior,
            self.starts_at_prior(),
            lambda seed: self.draw_targets(lesson.task, seed),
        )

    def draw_targets(self, task: Task, seed: keras.random.SeedGenerator):
        """What a batch is made for: int32 classes `(inversion_batch,)`, uniform and sorted."""
        return ops.sort(task.draw_targets(self.inversion_batch, seed))

    def prior_images_per_inversion(self) -> int:
        """How many images of the prior are remembered with each batch."""
        return round(self.inversion_batch * self.prior_share / (1 - self.prior_share))

    def images_at_once(self) -> int:
        return max(self.batch_size, self.inversion_batch + self.prior_images_per_inversion())

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        """SGD with momentum whose rate decays as a cosine, as CMI, Fast and NAYER have it."""
        rate = keras.optimizers.schedules.CosineDecay(self.student_learning_rate, updates, alpha=1e-3)
        return sgd_with_coupled_decay(rate, self.weight_decay)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelInversionRecipe(parts.PixelInversion, InversionRecipe):
    """Recipes that optimize the pixels themselves.

    Args:
        **kwargs: the options of `PixelInversion` and `InversionRecipe`.
    """

    def starts_at_prior(self) -> bool:
        return self.start == "prior"

    def build_pixels(
        self, lesson: Lesson, optimizer: keras.optimizers.Optimizer, clip: bool = True
    ) -> Pixels:
        """Pixels that an optimizer moves, a new batch of them."""
        return Pixels(
            lesson.input_shape,
            self.inversion_batch,
            self.generator_steps,
            lesson.seed,
            optimizer=optimizer,
            pixel_mean=self.pixel_mean,
            pixel_std=self.pixel_std,
            clip=clip,
        )

    def cosine_rate(self, rate: float) -> keras.optimizers.schedules.LearningRateSchedule:
        """A rate that warms up in 100 steps and decays as a cosine on each batch."""
        warmup = min(100, self.generator_steps // 2)
        return WarmedUpCosine(0.0, self.generator_steps - warmup, warmup_target=rate, warmup_steps=warmup)

    def fallback_options(self) -> dict[str, Any]:
        return {**super().fallback_options(), "start": "prior"}
