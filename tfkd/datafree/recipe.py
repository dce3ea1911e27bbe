"""Recipe: everything that says how a student is taught without data."""

import dataclasses
import numbers
from typing import Any

import keras

import generators
from generators import Generator
from tfkd import names
from tfkd.datafree.objectives import Objective
from tfkd.losses import KnowledgeLoss, SoftTargets


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How inputs are made and how the student learns from them; the published ones are subclasses.

    One step of `DataFreeDistiller` is `generator_steps` updates of a trained generator (if any), then
    `student_steps` updates of the student on new inputs, then `replay_steps` updates on remembered
    ones. New inputs come from the trained generator, except for `prior_share` of them, which come
    from the procedural `prior`.

    Args:
        objectives: what the generator minimizes, added to those of a subclass.
        student_loss: what the student minimizes.
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
        memory: how many images are remembered with the teacher's logits; 0 for none.
        replay_steps: student updates a step on remembered inputs, where there is a memory.
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
    memory: int = 0
    replay_steps: int = 0
    epochs: int = 40
    steps_per_epoch: int = 50

    def __post_init__(self) -> None:
        self._at_least(0, "generator_steps", "refine_steps", "memory", "replay_steps")
        self._at_least(1, "student_steps", "batch_size", "latent_size", "filters", "overdraw")
        self._at_least(1, "epochs", "steps_per_epoch")
        self._between_0_and_1("prior_share", "refine_share")
        for field in ("balance", "disagreement", "refine_size", "refine_adversarial"):
            if getattr(self, field) < 0:
                self._refuse(field, "at least 0")
        for name in self.prior:
            names.lookup(priors(), name, "prior")
        if self.prior_share > 0 and not self.prior:
            self._refuse("prior", "a procedural generator while `prior_share` is above 0")
        if not self.generator_steps and self.prior_share < 1:
            self._refuse("prior_share", "1 where no generator is trained (`generator_steps` is 0)")
        if 0 < self.memory < self.batch_size:
            self._refuse("memory", f"0 or at least the batch size ({self.batch_size})")

    def _at_least(self, least, *fields):
        for field in fields:
            value = getattr(self, field)
            if not isinstance(value, numbers.Integral) or value < least:
                self._refuse(field, f"an integer of at least {least}")

    def _between_0_and_1(self, *fields):
        for field in fields:
            if not 0 <= getattr(self, field) <= 1:
                self._refuse(field, "between 0 and 1")

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

    def student_optimizer(self, updates: int | None = None) -> keras.optimizers.Optimizer:
        """The recipe's optimizer of the student.

        Args:
            updates: student updates of the whole run, for recipes whose learning rate follows a
                schedule; None for a constant rate.

        Returns:
            A new optimizer.
        """
        return keras.optimizers.Adam(1e-3)

    def generator_optimizer(self) -> keras.optimizers.Optimizer:
        """The recipe's optimizer of the generator, a new one."""
        return keras.optimizers.Adam(1e-3)

    def updates_per_step(self) -> int:
        """Student updates in one step."""
        return self.student_steps + (self.replay_steps if self.memory else 0)

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
