"""Recipe: everything that says how a student is taught without data, put together of parts."""

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
    """How inputs are made and how the student learns from them; the published ones are subclasses.

    One step of `DataFreeDistiller` is what the recipe's source does, some updates of the student on new
    inputs, and `replay_steps` updates on remembered ones where there is a memory. Derive from
    `PriorRecipe`, `GeneratorRecipe` or `InversionRecipe`, or from this with a source of your own.
    `Recipe(...)` itself makes a `PriorRecipe`, or a `ConvGeneratorRecipe` where `generator_steps` are
    given.

    Args:
        **kwargs: the options of `Schedule`, `Teaching` and `Replay`.

    Raises:
        ValueError: for an option that the recipe does not have, a value out of its range, or an option that
            has no effect beside the others.

    Example:
        >>> from tfkd.datafree import objectives
        >>> recipe = Recipe(
        ...     objectives=[objectives.Adversarial(), objectives.ClassBalance(5.0)],
        ...     generator_steps=1,
        ...     student_steps=5,
        ...     memory=8192,
        ... )
    """

    # Student updates on new inputs a step; an option where there are new ones.
    student_steps: ClassVar[int] = 0
    # Whether inputs are made of real examples, so that there is nothing to learn from without.
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
                "Recipe: `prior_share` must be 1 where no generator is trained (`generator_steps` is 0)."
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
        """Whether the teacher is differentiated, which a black box does not allow."""
        return True

    def inputs(self, teacher: keras.Model) -> Inputs:
        """In which form inputs are made, and what networks are given of it.

        Raises:
            ValueError: if the recipe does not make what the teacher takes.
        """
        return inputs_of(teacher, type(self).__name__)

    def build_source(self, lesson: Lesson) -> Source:
        """What makes the inputs of a run, a new one."""
        raise NotImplementedError(f"{type(self).__name__} does not say where inputs come from.")

    def network_optimizer(self, network: str, updates: int) -> keras.optimizers.Optimizer:
        """The recipe's optimizer of a network that its source trains, a new one.

        Args:
            network: the name the source has for it.
            updates: updates of the whole run, for a learning rate that follows a schedule.
        """
        return keras.optimizers.Adam(1e-3)

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        """The recipe's optimizer of the student, a new one.

        Args:
            updates: student updates of the whole run, for a learning rate that follows a schedule.
        """
        return keras.optimizers.Adam(1e-3)

    def for_teacher(self, teacher: keras.Model, task: Task) -> Self:
        """This recipe without what has no meaning for a teacher, and with what stands in for it.

        Raises:
            ValueError: if the recipe needs classes and the task has none.

        Warns:
            ObjectiveWarning: for options that are left out or replaced.
        """
        if self.needs_classes and not task.has_classes:
            raise ValueError(
                f"`recipe`: {type(self).__name__} makes images for classes, which the answers of "
                f"{teacher.name!r} do not name ({task!r}). Use Procedural or DFAD."
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
                said.setdefault(reason, []).append(f"all of `{option}` but {value!r}")
        for reason, options in said.items():
            warnings.warn(
                f"Left out for teacher {teacher.name!r}: {', '.join(options)}. {reason}.",
                ObjectiveWarning,
                stacklevel=3,
            )
        return leaning.with_options(**changes) if changes else leaning

    def leaning_on_prior(self, teacher: keras.Model) -> Self:
        """This recipe, with images of the prior where a teacher lacks what others are held to."""
        return self

    def unbounded_pixels_option(self) -> str | None:
        """The option by which pixels leave [0, 1]; None where they stay."""
        return None

    def build_student_loss(self, task: Task) -> KnowledgeLoss:
        """A new loss of the student's outputs, so that distillers share none."""
        return task.soft_loss(self.temperature) if self.student_loss is None else clone(self.student_loss)

    def build_student_losses(
        self, teacher: keras.Model, student: keras.Model, task: Task
    ) -> list[tuple[KnowledgeLoss, float]]:
        """All the student minimizes, with weights."""
        losses = [(self.build_student_loss(task), 1.0)]
        if self.features:
            hint = feature_loss(teacher, student, self.feature_layers, self.features_at)
            losses.append((hint, self.features))
        return losses

    def images_at_once(self) -> int:
        """How many images are remembered or learned at a time."""
        return self.batch_size

    def updates_per_step(self) -> int:
        """Student updates in one step."""
        return self.student_steps + (0 if self.memory == 0 else self.replay_steps)

    def student_updates(self, steps: int) -> int:
        """Student updates in so many steps, of which those of warm-up have none; at least one step has."""
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
        """The source of procedural images, of the options of one who has a prior."""
        return PriorSource(lesson, prior.build_priors(lesson.input_shape), prior, refinement, batch_size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriorRecipe(parts.NewInputs, parts.Prior, parts.Refinement, Recipe):
    """Inputs from procedural generators alone; nothing is trained but the student.

    Args:
        **kwargs: the options of `NewInputs`, `Prior`, `Refinement` and `Recipe`.
    """

    def check(self) -> None:
        super().check()
        if self.refines() and (beyond := self.unbounded_pixels_option()):
            self._refuse(
                "refine_steps",
                f"0 with {beyond}, whose values leave [0, 1], where refined inputs are kept; or load the "
                "teacher with a `mean` and a `std` that bring its features there, and make such values",
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
                "prior", f"generators of token ids alone or none of them, and {others} make floats"
            )
        return tokens_of(teacher, tokens)

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        if not self.chains:
            yield "warmup_steps", "nothing but `chains` has to warm up"

    def build_source(self, lesson: Lesson) -> Source:
        return self._prior_source(lesson, self.batch_size, self, self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixedRecipe(parts.Objectives, parts.Prior, parts.Refinement, Recipe):
    """Inputs that are made for objectives, some of them replaced by procedural ones.

    Args:
        prior_share: share of new inputs drawn from the procedural `prior`; subclasses give its range.
        **kwargs: the options of `Objectives`, `Prior`, `Refinement` and `Recipe`.
    """

    prior_share: float = 0.0

    def check(self) -> None:
        super().check()
        if not self.build_objectives():
            self._refuse("objectives", "at least one of a weight above 0")

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        if not self.uses_prior():
            for part in (parts.Prior, parts.Refinement):
                for field in dataclasses.fields(part):
                    yield field.name, "`prior_share` is 0"

    def uses_prior(self) -> bool:
        """Whether anything comes from the procedural prior."""
        return self.prior_share > 0

    def leaning_on_prior(self, teacher: keras.Model) -> Self:
        """Where a teacher has no statistics to match, half of the inputs come from the prior.

        Images that only have to please a teacher are noise to the eye. A share that was asked for stays.
        """
        statistics = (o for o in self.build_objectives() if isinstance(o, BatchStatistics))
        if self.prior_share or not any(objective.problem(teacher) for objective in statistics):
            return self
        return self.with_options(**self.fallback_options())

    def fallback_options(self) -> dict[str, Any]:
        """What changes in the recipe where it has to lean on the prior."""
        return {"prior_share": 0.5}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorRecipe(parts.NewInputs, parts.TrainedGenerator, MixedRecipe):
    """Inputs from a generator that is trained throughout the run, some of them from procedural ones.

    Subclasses say which generator, and for which objectives.

    Args:
        prior_share: share of new inputs drawn from the procedural `prior`, in [0, 1).
        **kwargs: the options of `NewInputs`, `TrainedGenerator` and `MixedRecipe`.
    """

    prior_share: Annotated[float, Share()] = 0.0

    def build_generator(self, input_shape: tuple[int, ...], task: Task) -> Generator:
        """A new generator to be trained."""
        raise NotImplementedError(f"{type(self).__name__} does not say which generator is trained.")

    def generator_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        """The recipe's optimizer of the generator, a new one.

        Args:
            updates: generator updates of the whole run, for a learning rate that follows a schedule.
        """
        return keras.optimizers.Adam(1e-3)

    def network_optimizer(self, network: str, updates: int) -> keras.optimizers.Optimizer:
        return self.generator_optimizer(updates)

    def build_image_objective(self, lesson: Lesson) -> ImageObjective:
        """What judges the generator's images."""
        return ImageObjective(
            lesson, self.build_objectives(), self.batch_size, microbatches=self.microbatches
        )

    def pixels(self) -> Callable:
        """What makes images of what the generator returns."""
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
    """A convolutional generator of images, trained for given objectives; a dense one of other inputs.

    Args:
        **kwargs: the options of `ConvolutionalNetwork`, `Latent`, `PixelOutput` and `GeneratorRecipe`.
    """

    def unbounded_pixels_option(self) -> str | None:
        return None if self.output == "sigmoid" else f"output={self.output!r}"

    def unfit(self, teacher: keras.Model, task: Task) -> Iterator[tuple[str, str]]:
        yield from super().unfit(teacher, task)
        if not takes_images(teacher):
            for name in ("filters", "output"):
                yield name, "Its inputs are not images, and a dense generator makes them"

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
