"""InversionRecipe: makes images one batch at a time, and trains the student from memory."""

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
    """Base class of recipes that make a batch by gradient steps on pixels, latents or a generator.

    One step of `DataFreeDistiller` makes `inversions` batches of `inversion_batch` images with
    `generator_steps` gradient steps each, and stores them in memory with the teacher's outputs. A fraction
    `prior_share` of the stored images comes from the procedural prior instead. The student is then trained
    from memory in `replay_steps` updates.

    Args:
        prior_share: the fraction of stored images that come from the procedural prior, in [0, 0.9].
        student_learning_rate: the initial learning rate of SGD.
        weight_decay: the student's weight decay, coupled to the gradient as in PyTorch.
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
                "memory", f"None or at least {least}, the number of images made or learned at a time"
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
        """The view through which the networks see images while these are optimized."""
        if not (self.view_shift or self.view_flip):
            return None
        return views.Shift(self.view_shift, self.view_flip)

    def build_image_objective(self, lesson: Lesson) -> ImageObjective:
        """The objective of the images."""
        return ImageObjective(
            lesson,
            self.build_objectives(),
            self.inversion_batch,
            self.view(),
            views.ResizedCrop(flip=self.view_flip),
            self.microbatches,
        )

    def build_inversion(self, lesson: Lesson) -> Inversion:
        """A new `Inversion`, which makes batches of images."""
        raise NotImplementedError(f"{type(self).__name__} must implement `build_inversion`.")

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
        """The target classes of a batch: int32 `(inversion_batch,)`, uniform and sorted."""
        return ops.sort(task.draw_targets(self.inversion_batch, seed))

    def prior_images_per_inversion(self) -> int:
        """The number of prior images stored with each batch."""
        return round(self.inversion_batch * self.prior_share / (1 - self.prior_share))

    def images_at_once(self) -> int:
        return max(self.batch_size, self.inversion_batch + self.prior_images_per_inversion())

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        """SGD with momentum and cosine decay of the learning rate, as in CMI, Fast and NAYER."""
        rate = keras.optimizers.schedules.CosineDecay(self.student_learning_rate, updates, alpha=1e-3)
        return sgd_with_coupled_decay(rate, self.weight_decay)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelInversionRecipe(parts.PixelInversion, InversionRecipe):
    """Base class of recipes that optimize the pixels themselves.

    Args:
        **kwargs: the options of `PixelInversion` and `InversionRecipe`.
    """

    def starts_at_prior(self) -> bool:
        return self.start == "prior"

    def build_pixels(
        self, lesson: Lesson, optimizer: keras.optimizers.Optimizer, clip: bool = True
    ) -> Pixels:
        """A new batch of pixels to be optimized."""
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
        """A learning rate that, for each batch, warms up in 100 steps and decays as a cosine."""
        warmup = min(100, self.generator_steps // 2)
        return WarmedUpCosine(0.0, self.generator_steps - warmup, warmup_target=rate, warmup_steps=warmup)

    def fallback_options(self) -> dict[str, Any]:
        return {**super().fallback_options(), "start": "prior"}
