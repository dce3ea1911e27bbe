"""Recipe: everything that says how a student is taught without data."""

import dataclasses
import math
import numbers
from typing import Any

import keras
import numpy as np

import generators
from generators import Generator
from tfkd import names
from tfkd.datafree.objectives import Objective
from tfkd.losses import KnowledgeLoss, SoftTargets

# What a memory of unspecified size holds at most.
_MEMORY_IMAGES = 20480
_MEMORY_BYTES = 2**28


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How inputs are made and how the student learns from them; the published ones are subclasses.

    One step of `DataFreeDistiller` is `student_steps` updates of the student on new inputs,
    `replay_steps` updates on remembered ones where there is a memory, and `generator_steps` updates of
    a trained generator where there is one: these come last, or first with `same_inputs`. New inputs
    come from the trained generator, except for `prior_share` of them, which come from the procedural
    `prior`.

    Args:
        objectives: what the generator minimizes, added to those of a subclass.
        student_loss: what the student minimizes: a loss of the two networks' outputs.
        generator_steps: generator updates a step; 0 where nothing is trained to generate.
        student_steps: student updates on new inputs a step.
        same_inputs: whether the student learns on the images of the last generator update instead
            of fresh ones.
        batch_size: images in each update.
        latent_size: of the trained generator.
        filters: width of the trained generator.
        output: pixels of the trained generator, "sigmoid" or "normalized".
        pixel_mean: mean of "normalized" pixels on the [0, 1] scale.
        pixel_std: standard deviation of "normalized" pixels on that scale.
        norm_epsilon: of the trained generator's batch normalizations after convolutions.
        prior: procedural generators that new inputs are drawn from, in equal parts.
        prior_share: share of new inputs drawn from the prior, in [0, 1].
        overdraw: how many candidates are drawn for each image of the prior that is used; above 1
            they are resampled by `balance` and `disagreement`.
        balance: exponent on the inverse frequency of the teacher's predicted class.
        disagreement: exponent on the divergence of student from teacher.
        refine_share: share of the prior's images that is refined by gradient, in [0, 1].
        refine_steps: smoothed gradient steps on those images.
        refine_size: root-mean-square pixel change of a step.
        refine_adversarial: weight of leaving the student behind against reaching the target class.
        memory: how many images are remembered with the teacher's logits; 0 for none, None for
            20,480 or as many as 256 MiB hold.
        replay_steps: student updates a step on remembered inputs; without effect where there is no
            memory.
        epochs: epochs of a run where none are asked for.
        steps_per_epoch: steps in an epoch where none are asked for.

    Raises:
        ValueError: if a value is out of its range.

    Example:
        >>> from tfkd.datafree import objectives
        >>> recipe = Recipe(
        ...     objectives=(objectives.Adversarial(), objectives.ClassBalance(5.0)),
        ...     generator_steps=1,
        ...     student_steps=5,
        ...     memory=8192,
        ... )
    """

    objectives: tuple[Objective, ...] = ()
    student_loss: KnowledgeLoss = dataclasses.field(default_factory=SoftTargets)
    generator_steps: int = 0
    student_steps: int = 1
    same_inputs: bool = False
    batch_size: int = 256
    latent_size: int = 100
    filters: int = 128
    output: str = "sigmoid"
    pixel_mean: float = 0.5
    pixel_std: float = 0.25
    norm_epsilon: float = 1e-5
    prior: tuple[str, ...] = ("smooth_noise",)
    prior_share: float = 0.0
    overdraw: int = 1
    balance: float = 0.0
    disagreement: float = 0.0
    refine_share: float = 0.0
    refine_steps: int = 0
    refine_size: float = 0.1
    refine_adversarial: float = 0.0
    memory: int | None = 0
    replay_steps: int = 1
    epochs: int = 40
    steps_per_epoch: int = 50

    def __post_init__(self) -> None:
        self._at_least(0, "generator_steps", "refine_steps", "replay_steps")
        self._at_least(1, "student_steps", "batch_size", "latent_size", "filters", "overdraw")
        self._at_least(1, "epochs", "steps_per_epoch")
        self._in_range(0, 1, "prior_share", "refine_share")
        self._in_range(0, math.inf, "balance", "disagreement", "refine_size", "refine_adversarial")
        self._above_0("norm_epsilon")
        for name in self.prior:
            names.lookup(priors(), name, "prior")
        self._check_student_loss()
        self._check_generator()
        self._check_memory()

    def _check_student_loss(self):
        loss = self.build_student_loss()
        if loss.teacher_layer or loss.student_layer:
            self._refuse(
                "student_loss", "a loss of the outputs, without `teacher_layer` and `student_layer`"
            )

    def _check_generator(self):
        if not np.min(self.pixel_std) > 0:
            self._refuse("pixel_std", "above 0")
        if self.output not in ("sigmoid", "normalized"):
            self._refuse("output", "'sigmoid' or 'normalized'")
        if self.prior_share > 0 and not self.prior:
            self._refuse("prior", "a procedural generator while `prior_share` is above 0")
        if self.generator_steps:
            if self.prior_share == 1:
                self._refuse(
                    "prior_share", "below 1 where a generator is trained, or nobody sees its images"
                )
            if not self.build_objectives():
                self._refuse("objectives", "at least one where a generator is trained")
        elif self.prior_share < 1:
            self._refuse("prior_share", "1 where no generator is trained (`generator_steps` is 0)")
        if self.refine_share > 0 and self.refine_steps and not self.prior_share:
            self._refuse("refine_share", "0 where `prior_share` is 0: only the prior's images are refined")

    def _check_memory(self):
        if self.memory is None:
            return
        self._at_least(0, "memory")
        if 0 < self.memory < self.batch_size:
            self._refuse("memory", f"0 or at least the batch size ({self.batch_size})")
        if self.memory and not self.replay_steps:
            self._refuse("replay_steps", "at least 1 where there is a memory, or nothing is drawn from it")

    def _at_least(self, least, *fields):
        for field in fields:
            value = getattr(self, field)
            if not isinstance(value, numbers.Integral) or value < least:
                self._refuse(field, f"an integer of at least {least}")

    def _in_range(self, low, high, *fields):
        for field in fields:
            if not low <= getattr(self, field) <= high:
                self._refuse(field, f"at least {low}" if high == math.inf else f"between {low} and {high}")

    def _above_0(self, *fields):
        for field in fields:
            if not getattr(self, field) > 0:
                self._refuse(field, "above 0")

    def _refuse(self, field, expected):
        raise ValueError(
            f"{type(self).__name__}: `{field}` must be {expected}. "
            f"Received: {field}={getattr(self, field)!r}."
        )

    @property
    def name(self) -> str:
        """The recipe's name on command lines."""
        return names.snake_case(type(self).__name__)

    def build_objectives(self) -> tuple[Objective, ...]:
        """All objectives of the generator."""
        return self.objectives

    def build_student_loss(self) -> KnowledgeLoss:
        """A new loss of the student, so that distillers share none."""
        return type(self.student_loss).from_config(self.student_loss.get_config())

    def build_generator(self, image_shape: tuple[int, int, int]) -> Generator | None:
        """A new trained generator, or None where the recipe trains none."""
        if not self.generator_steps:
            return None
        return generators.ConvGenerator(
            image_shape,
            latent_size=self.latent_size,
            filters=self.filters,
            output=self.output,
            pixel_mean=self.pixel_mean,
            pixel_std=self.pixel_std,
            epsilon=self.norm_epsilon,
        )

    def build_priors(self, image_shape: tuple[int, int, int]) -> list[Generator]:
        """The procedural generators of the prior; none where its share is 0."""
        if not self.prior_share:
            return []
        return [names.lookup(priors(), name, "prior")(image_shape) for name in self.prior]

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        """The recipe's optimizer of the student, a new one.

        Args:
            updates: student updates of the whole run, for a learning rate that follows a schedule.
        """
        return keras.optimizers.Adam(1e-3)

    def generator_optimizer(self) -> keras.optimizers.Optimizer:
        """The recipe's optimizer of the generator, a new one."""
        return keras.optimizers.Adam(1e-3)

    def memory_capacity(self, image_shape: tuple[int, int, int]) -> int:
        """How many images of this shape are remembered."""
        if self.memory is not None:
            return self.memory
        fitting = _MEMORY_BYTES // (4 * math.prod(image_shape))
        return max(self.batch_size, min(_MEMORY_IMAGES, fitting))

    def updates_per_step(self) -> int:
        """Student updates in one step."""
        return self.student_steps + (0 if self.memory == 0 else self.replay_steps)

    def prior_images(self, n: int) -> int:
        """How many of `n` inputs come from the prior."""
        return round(n * self.prior_share)

    def images_per_step(self) -> int:
        """Images made in one step: by generator updates, and for the student, overdrawn ones included."""
        from_prior = self.prior_images(self.batch_size)
        generated = 0 if self.same_inputs else self.batch_size - from_prior
        new = generated + from_prior * self.overdraw
        return self.generator_steps * self.batch_size + self.student_steps * new

    def describe(self) -> dict[str, Any]:
        """The recipe's options as plain values, for records."""
        plain = {"name": self.name}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "student_loss":
                loss = self.build_student_loss()
                value = {"class": type(loss).__name__, **loss.get_config()}
            elif field.name == "objectives":
                value = [repr(objective) for objective in value]
            plain[field.name] = list(value) if isinstance(value, tuple) else value
        return plain


def priors() -> dict[str, type[Generator]]:
    """The procedural generators by name."""
    return names.members(generators, Generator, lambda cls: cls.procedural)
