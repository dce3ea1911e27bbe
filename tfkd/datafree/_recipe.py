"""Recipe: how a student is trained without data, composed of parts."""

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar

import keras
from typing_extensions import Self

import generators
from generators import Generator
from tfkd._core import names
from tfkd._core.copies import clone
from tfkd._core.options import Share
from tfkd.datafree import _parts as parts
from tfkd.datafree import _views as views
from tfkd.datafree._feature_matching import feature_loss
from tfkd.datafree._inputs import Inputs, inputs_of, takes_images, tokens_of
from tfkd.datafree._lesson import Lesson
from tfkd.datafree.objectives import BatchStatistics
from tfkd.datafree.objectives._image_objective import ImageObjective, ObjectiveWarning
from tfkd.datafree.sources import GeneratorSource, Mixed, PriorSource, Source
from tfkd.losses import KnowledgeLoss
from tfkd.tasks import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(parts.Schedule, parts.Teaching, parts.Replay):
    """How inputs are made and how the student learns from them; published recipes are subclasses.

    One step of `DataFreeDistiller` consists of the source's work, some student updates on new inputs, and
    `replay_steps` updates on stored inputs if there is a memory. Derive from `PriorRecipe`,
    `GeneratorRecipe` or `InversionRecipe`, or from this class with your own source. `Recipe(...)` itself
    makes a `PriorRecipe`, or a `ConvGeneratorRecipe` if `generator_steps` are given.

    Args:
        **kwargs: the options of `Schedule`, `Teaching` and `Replay`.

    Raises:
        ValueError: if the recipe does not have an option, a value is out of range, or an option has no
            effect with the others.

    Example:
        >>> from tfkd.datafree import objectives
        >>> recipe = Recipe(
        ...     objectives=[objectives.Adversarial(), objectives.ClassBalance(5.0)],
        ...     generator_steps=1,
        ...     student_steps=5,
        ...     memory=8192,
        ... )
    """

    # Student updates on new inputs per step; an option of recipes that have new inputs.
    student_steps: ClassVar[int] = 0
    # Whether inputs are made from real examples, which are then required.
    needs_examples: ClassVar[bool] = False
    # Whether inputs are made for classes.
    needs_classes: ClassVar[bool] = False

    @classmethod
    def chosen(cls, given: dict[str, Any]) -> tuple["type[Recipe]", dict[str, Any]]:
        if cls is not Recipe:
            return cls, given
        if given.get("generator_steps"):
            return ConvGeneratorRecipe, given
        given = {name: value for name, value in given.items() if name != "generator_steps"}
        if given.pop("prior_share", 1) != 1:
            raise ValueError(
                "Recipe: `prior_share` must be 1 if no generator is trained (`generator_steps` is 0)."
            )
        return PriorRecipe, given

    def check(self) -> None:
        super().check()
        if self.memory and self.memory < self.batch_size:
            self._refuse("memory", f"0 or at least the batch size ({self.batch_size})")
        unbounded = self.unbounded_pixels_option()
        if self.memory_dtype == "uint8" and unbounded and self.memory != 0:
            self._refuse(
                "memory_dtype", f"'float32' or 'float16' with {unbounded}, whose pixels leave [0, 1]"
            )

    @property
    def name(self) -> str:
        """The recipe's name on command lines."""
        return names.snake_case(type(self).__name__)

    @property
    def differentiates_teacher(self) -> bool:
        """Whether the recipe needs gradients of the teacher, which a black box does not have."""
        return True

    def inputs(self, teacher: keras.Model) -> Inputs:
        """The form in which inputs are made, and how networks take them.

        Raises:
            ValueError: if the recipe does not make the inputs that the teacher takes.
        """
        return inputs_of(teacher, type(self).__name__)

    def build_source(self, lesson: Lesson) -> Source:
        """A new source of the inputs of a run."""
        raise NotImplementedError(f"{type(self).__name__} must implement `build_source`.")

    def network_optimizer(self, network: str, updates: int) -> keras.optimizers.Optimizer:
        """A new optimizer for a network that the source trains.

        Args:
            network: the source's name for the network.
            updates: the number of updates in the whole run, for learning-rate schedules.
        """
        return keras.optimizers.Adam(1e-3)

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        """A new optimizer for the student.

        Args:
            updates: the number of student updates in the whole run, for learning-rate schedules.
        """
        return keras.optimizers.Adam(1e-3)

    def for_teacher(self, teacher: keras.Model, task: Task) -> Self:
        """This recipe adapted to a teacher: options that do not apply are dropped or replaced.

        Raises:
            ValueError: if the recipe needs classes, but the task has none.

        Warns:
            ObjectiveWarning: for options that are dropped or replaced.
        """
        if self.needs_classes and not task.has_classes:
            raise ValueError(
                f"`recipe`: {type(self).__name__} makes images for classes, but the task of "
                f"{teacher.name!r} has none ({task!r}). Use Procedural or DFAD."
            )
        leaning = self.leaning_on_prior(teacher)
        changes, said = {}, {}
        for option, reason in leaning.unfit(teacher, task):
            if getattr(leaning, option) != leaning.neutral(option):
                changes[option] = leaning.neutral(option)
                said.setdefault(reason, []).append(f"`{option}`")
        idle = {option for option, _ in leaning.idle()}
        for option, value, reason in leaning.substitutes(teacher):
            if option not in idle:
                changes[option] = value
                said.setdefault(reason, []).append(f"all of `{option}` except {value!r}")
        for reason, options in said.items():
            warnings.warn(
                f"Left out for teacher {teacher.name!r}: {', '.join(options)}. {reason}.",
                ObjectiveWarning,
                stacklevel=3,
            )
        return leaning.with_options(**changes) if changes else leaning

    def leaning_on_prior(self, teacher: keras.Model) -> Self:
        """This recipe, with more prior images if the teacher lacks what the objectives need."""
        return self

    def unbounded_pixels_option(self) -> str | None:
        """The option that lets pixels leave [0, 1]; None if they stay within."""
        return None

    def build_student_loss(self, task: Task) -> KnowledgeLoss:
        """A new loss on the student's outputs, so that distillers do not share one."""
        return task.soft_loss(self.temperature) if self.student_loss is None else clone(self.student_loss)

    def build_student_losses(
        self, teacher: keras.Model, student: keras.Model, task: Task
    ) -> list[tuple[KnowledgeLoss, float]]:
        """All losses of the student, with their weights."""
        losses = [(self.build_student_loss(task), 1.0)]
        if self.features:
            hint = feature_loss(teacher, student, self.feature_layers, self.features_at)
            losses.append((hint, self.features))
        return losses

    def images_at_once(self) -> int:
        """The number of images stored or learned at a time."""
        return self.batch_size

    def updates_per_step(self) -> int:
        """The number of student updates in one step."""
        return self.student_steps + (0 if self.memory == 0 else self.replay_steps)

    def student_updates(self, steps: int) -> int:
        """The number of student updates in a number of steps, except warm-up; counts at least one step."""
        return max(1, steps - self.warmup_steps) * self.updates_per_step()

    def describe(self) -> dict[str, Any]:
        """The recipe's options as plain values, for records."""
        plain: dict[str, Any] = {"name": self.name}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, KnowledgeLoss):
                value = {"class": type(value).__name__, **value.get_config()}
            elif field.name == "objectives":
                value = [repr(objective) for objective in value]
            elif field.name == "prior":
                value = [repr(prior) if isinstance(prior, Generator) else prior for prior in value]
            plain[field.name] = list(value) if isinstance(value, tuple) else value
        return plain

    def _prior_source(self, lesson, batch_size, prior, refinement=None):
        """A source of procedural images, from the options of a recipe with a prior."""
        return PriorSource(lesson, prior.build_priors(lesson.input_shape), prior, refinement, batch_size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriorRecipe(parts.NewInputs, parts.Prior, parts.Refinement, Recipe):
    """Inputs from procedural generators only; nothing but the student is trained.

    Args:
        **kwargs: the options of `NewInputs`, `Prior`, `Refinement` and `Recipe`.
    """

    def check(self) -> None:
        super().check()
        if self.refines() and (beyond := self.unbounded_pixels_option()):
            self._refuse(
                "refine_steps",
                f"0 with {beyond}, whose values leave [0, 1], since refined inputs are clipped to it; or "
                "load the teacher with a `mean` and a `std` that scale its features to it",
            )

    @property
    def differentiates_teacher(self) -> bool:
        return self.refines()

    def unbounded_pixels_option(self) -> str | None:
        beyond = [each for each in self.priors if isinstance(each, Generator) and not each.in_unit_range]
        return f"prior={beyond[0].name}" if beyond else None

    def inputs(self, teacher: keras.Model) -> Inputs:
        tokens = self.token_generators()
        if not tokens:
            return super().inputs(teacher)
        if others := [str(prior) for prior in self.priors if prior not in tokens]:
            self._refuse(
                "prior", f"generators of token ids only, or none of them; but {others} make floats"
            )
        return tokens_of(teacher, tokens)

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        if not self.chains:
            yield "warmup_steps", "only `chains` need a warm-up"

    def build_source(self, lesson: Lesson) -> Source:
        return self._prior_source(lesson, self.batch_size, self, self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixedRecipe(parts.Objectives, parts.Prior, parts.Refinement, Recipe):
    """Inputs that are optimized for objectives, partly replaced by procedural ones.

    Args:
        prior_share: the fraction of new inputs from the procedural `prior`; subclasses set its range.
        **kwargs: the options of `Objectives`, `Prior`, `Refinement` and `Recipe`.
    """

    prior_share: float = 0.0

    def check(self) -> None:
        super().check()
        if not self.build_objectives():
            self._refuse("objectives", "at least one with a weight above 0")

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        if not self.uses_prior():
            for part in (parts.Prior, parts.Refinement):
                for field in dataclasses.fields(part):
                    yield field.name, "`prior_share` is 0"

    def uses_prior(self) -> bool:
        """Whether any inputs come from the procedural prior."""
        return self.prior_share > 0

    def leaning_on_prior(self, teacher: keras.Model) -> Self:
        """Takes half of the inputs from the prior if a teacher has no statistics to match.

        Otherwise images optimized for the teacher alone would look like noise. An explicit share is kept.
        """
        statistics = (o for o in self.build_objectives() if isinstance(o, BatchStatistics))
        if self.prior_share or not any(objective.problem(teacher) for objective in statistics):
            return self
        return self.with_options(**self.fallback_options())

    def fallback_options(self) -> dict[str, Any]:
        """The options to change if the recipe has to rely on the prior."""
        return {"prior_share": 0.5}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorRecipe(parts.NewInputs, parts.TrainedGenerator, MixedRecipe):
    """Inputs from a generator that is trained throughout the run, partly replaced by procedural ones.

    Subclasses choose the generator and its objectives.

    Args:
        prior_share: the fraction of new inputs from the procedural `prior`, in [0, 1).
        **kwargs: the options of `NewInputs`, `TrainedGenerator` and `MixedRecipe`.
    """

    prior_share: Annotated[float, Share()] = 0.0

    def build_generator(self, input_shape: tuple[int, ...], task: Task) -> Generator:
        """A new generator to be trained."""
        raise NotImplementedError(f"{type(self).__name__} must implement `build_generator`.")

    def generator_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        """A new optimizer for the generator.

        Args:
            updates: the number of generator updates in the whole run, for learning-rate schedules.
        """
        return keras.optimizers.Adam(1e-3)

    def network_optimizer(self, network: str, updates: int) -> keras.optimizers.Optimizer:
        return self.generator_optimizer(updates)

    def build_image_objective(self, lesson: Lesson) -> ImageObjective:
        """The objective of the generator's images."""
        return ImageObjective(
            lesson, self.build_objectives(), self.batch_size, microbatches=self.microbatches
        )

    def pixels(self) -> Callable:
        """A function from the generator's outputs to images."""
        return lambda generated: generated

    def build_source(self, lesson: Lesson) -> Source:
        trained = GeneratorSource(
            lesson,
            self.build_generator(lesson.input_shape, lesson.task),
            self.build_image_objective(lesson),
            self,
            self.batch_size,
            self.pixels(),
            self.microbatches,
        )
        if not self.prior_share:
            return trained
        prior = self._prior_source(lesson, round(self.batch_size * self.prior_share), self, self)
        return Mixed(lesson, [prior, trained], [self.prior_share, 1 - self.prior_share])


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvGeneratorRecipe(parts.ConvolutionalNetwork, parts.Latent, parts.PixelOutput, GeneratorRecipe):
    """A convolutional generator of images, trained on given objectives; for other inputs a dense one.

    Args:
        **kwargs: the options of `ConvolutionalNetwork`, `Latent`, `PixelOutput` and `GeneratorRecipe`.
    """

    def unbounded_pixels_option(self) -> str | None:
        return None if self.output == "sigmoid" else f"output={self.output!r}"

    def unfit(self, teacher: keras.Model, task: Task) -> Iterator[tuple[str, str]]:
        yield from super().unfit(teacher, task)
        if not takes_images(teacher):
            for name in ("filters", "output"):
                yield name, "Its inputs are not images, so a dense generator makes them"

    def build_generator(self, input_shape: tuple[int, ...], task: Task) -> Generator:
        if not views.fit(input_shape):
            return generators.DenseGenerator(input_shape, self.latent_size, epsilon=self.norm_epsilon)
        return generators.ConvGenerator(input_shape, **self.generator_options())

    def generator_options(self) -> dict[str, Any]:
        """The arguments of a convolutional generator."""
        return {
            "latent_size": self.latent_size,
            "filters": self.filters,
            "output": self.output,
            "pixel_mean": self.pixel_mean,
            "pixel_std": self.pixel_std,
            "epsilon": self.norm_epsilon,
        }
