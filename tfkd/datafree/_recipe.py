"""Recipe: everything that says how a student is taught without data."""

import dataclasses
import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import keras
import numpy as np

import generators
from generators import Generator
from generators._convolutional import OUTPUTS
from tfkd._core import names
from tfkd.datafree import _views as views
from tfkd.datafree._checked_fields import CheckedFields
from tfkd.datafree._counts import Counts
from tfkd.datafree._feature_matching import PLACES, feature_hint
from tfkd.datafree._memory import DTYPES
from tfkd.datafree.objectives import BatchStatistics, Objective
from tfkd.datafree.objectives._image_objective import Critic, ObjectiveWarning
from tfkd.datafree.objectives._moments import normalization_taps
from tfkd.datafree.sources.inversion import Inversion
from tfkd.losses import KnowledgeLoss, SoftTargets


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(CheckedFields, Counts):
    """How inputs are made and how the student learns from them; the published ones are subclasses.

    One step of `DataFreeDistiller` is `student_steps` updates of the student on new inputs,
    `replay_steps` updates on remembered ones where there is a memory, and `generator_steps` updates of
    a trained generator where there is one: these come last, or first with `same_inputs` and `same_latent`.
    New inputs come from the trained generator, except for `prior_share` of them, which come from the
    procedural `prior`. Recipes that make images one batch at a time derive from `InversionRecipe`.

    Args:
        objectives: what images are made for, added to those of a subclass.
        student_loss: what the student minimizes: a loss of the two networks' outputs; None for soft
            targets.
        temperature: of the soft targets; without effect where a `student_loss` is given.
        features: weight of the relative distance of features beside that, for students with the teacher's
            layers; 0 for none.
        features_at: where they are compared: "stages", at the end of each, or "convolutions", after all of
            them that go by one name in both networks.
        feature_layers: pairs of taps, teacher's and student's, that are compared instead.
        generator_steps: generator updates a step; 0 where nothing is trained to generate.
        student_steps: student updates on new inputs a step.
        same_inputs: whether the student learns on the images of the last generator update instead
            of fresh ones.
        same_latent: whether it learns on the images that the updated generator makes of the same latents,
            in all student steps.
        warmup_steps: steps at the beginning in which generators are trained, inversions are made and
            remembered, and chains walk, but the student is neither taught nor asked.
        batch_size: images in each update.
        accumulate: in how many parts of equal size a batch goes through the networks, for batches that
            memory does not hold; generator updates stay the same, and so do student updates but for
            batch normalizations in the student, which see a part at a time.
        latent_size: of the trained generator.
        filters: width of the trained generator.
        output: pixels of the trained generator, "sigmoid", "normalized" or "scaled".
        pixel_mean: mean of "normalized" pixels on the [0, 1] scale.
        pixel_std: standard deviation of "normalized" pixels on that scale.
        norm_epsilon: of the trained generator's batch normalizations after convolutions.
        prior: procedural generators that new inputs are drawn from, in equal parts.
        prior_share: share of new inputs drawn from the prior, in [0, 1].
        overdraw: how many candidates are drawn for each image of the prior that is used; above 1
            they are resampled by `balance`, `disagreement` and `typicality`.
        balance: exponent on the inverse frequency of the teacher's predicted class; without effect on
            `chains`, which have a class each.
        disagreement: exponent on the divergence of student from teacher.
        typicality: how much candidates are preferred whose own statistics are those that the teacher's
            batch normalizations remember; their weight falls by a factor e with each 1 / `typicality` of
            `selection.misfit`, which is about 0.1 for real images. Without effect, with a warning, for
            teachers without batch normalization.
        chains: how many latents of the prior walk as Markov chains (`tfkd.datafree.chains`), a class to
            each, towards images that are typical by `typicality`, surely of that class by `sureness`, and
            hard by `disagreement`; inputs are then the images of those that have waited longest, instead of
            ones drawn anew. At least as many for each prior as a batch takes of it, and as there are
            classes; few of them make many images alike. 0 for none.
        chain_moves: moves of a chain before its image is used again; a chain needs some hundred in all to
            come from noise to typical images, in steps of warm-up or later.
        sureness: factor of the teacher's cross-entropy to its class that a chain's log-weight falls by.
        refine_share: share of the prior's images that is refined by gradient, in [0, 1].
        refine_steps: smoothed gradient steps on those images.
        refine_size: root-mean-square pixel change of a step.
        refine_adversarial: weight of leaving the student behind against reaching the target class.
        refine_statistics: weight of the refined images' batch statistics against reaching the target
            class, 0.05 for instance: they are compared as normal distributions, by a divergence summed over
            channels and layers. Without effect, with a warning, for teachers without batch normalization.
        memory: how many images are remembered with the teacher's logits; 0 for none, None for
            20,480 or as many as 256 MiB hold.
        memory_dtype: how their pixels are kept: "float32", "float16" or "uint8" (clipped to [0, 1], in
            256 levels).
        save_memory: whether they are saved with the weights; without, files are small, and a resumed run
            goes on with an empty memory.
        replay_steps: student updates a step on remembered inputs; without effect where there is no
            memory.
        student_shift: pixels by which the student's inputs are shifted at random; above 0, or with
            `student_flip`, the teacher is asked again.
        student_flip: whether half of the student's inputs are mirrored left to right.
        real_share: share of real examples in the student's updates where `fit` is given some, in (0, 1].
        epochs: epochs of a run where none are asked for.
        steps_per_epoch: steps in an epoch where none are asked for.

    Raises:
        ValueError: if a value is out of its range.

    Example:
        >>> from tfkd.datafree import objectives
        >>> recipe = Recipe(
        ...     objectives=[objectives.Adversarial(), objectives.ClassBalance(5.0)],
        ...     generator_steps=1,
        ...     student_steps=5,
        ...     memory=8192,
        ... )
    """

    # Fewer make no sense where nothing is remembered.
    fewest_student_steps: ClassVar[int] = 1
    # Whether the teacher is differentiated, which a black box does not allow.
    differentiates_teacher: ClassVar[bool] = True

    # Whether inputs are made of real examples, so that there is nothing to learn from without.
    needs_examples: ClassVar[bool] = False

    objectives: tuple[Objective, ...] = ()
    student_loss: KnowledgeLoss | None = None
    temperature: float = 1.0
    features: float = 0.0
    features_at: str = "stages"
    feature_layers: tuple[tuple[str, str], ...] | None = None
    generator_steps: int = 0
    student_steps: int = 1
    same_inputs: bool = False
    same_latent: bool = False
    warmup_steps: int = 0
    batch_size: int = 256
    accumulate: int = 1
    latent_size: int = 100
    filters: int = 128
    output: str = "sigmoid"
    pixel_mean: float = 0.5
    pixel_std: float = 0.25
    norm_epsilon: float = 1e-5
    prior: tuple[str, ...] = ("strokes",)
    prior_share: float = 0.0
    overdraw: int = 1
    balance: float = 0.0
    disagreement: float = 0.0
    typicality: float = 0.0
    chains: int = 0
    chain_moves: int = 16
    sureness: float = 8.0
    refine_share: float = 0.0
    refine_steps: int = 0
    refine_size: float = 0.1
    refine_adversarial: float = 0.0
    refine_statistics: float = 0.0
    memory: int | None = 0
    memory_dtype: str = "float32"
    save_memory: bool = True
    replay_steps: int = 1
    student_shift: int = 0
    student_flip: bool = False
    real_share: float = 0.5
    epochs: int = 40
    steps_per_epoch: int = 50

    def __post_init__(self) -> None:
        object.__setattr__(self, "objectives", tuple(self.objectives))
        self._at_least(
            0, "generator_steps", "refine_steps", "replay_steps", "warmup_steps", "student_shift", "chains"
        )
        self._at_least(self.fewest_student_steps, "student_steps")
        self._at_least(1, "batch_size", "latent_size", "filters", "overdraw", "accumulate")
        self._at_least(1, "chain_moves")
        self._at_least(1, "epochs", "steps_per_epoch")
        self._in_range(0, 1, "prior_share", "refine_share", "real_share")
        self._in_range(0, math.inf, "balance", "disagreement", "typicality", "features")
        self._in_range(0, math.inf, "sureness")
        self._in_range(0, math.inf, "refine_size", "refine_adversarial", "refine_statistics")
        self._above_0("norm_epsilon", "real_share", "temperature")
        if self.batch_size % self.accumulate:
            self._refuse("accumulate", f"a divisor of the batch size ({self.batch_size})")
        if self.same_inputs and self.same_latent:
            self._refuse("same_latent", "False where `same_inputs` is True")
        for name in self.prior:
            names.lookup(priors(), name, "prior")
        if self.features_at not in list(PLACES):
            self._refuse("features_at", f"one of {', '.join(map(repr, PLACES))}")
        self._check_chains()
        self._check_student_loss()
        self._check_generator()
        self._check_memory()

    def _check_student_loss(self):
        loss = self.build_student_loss()
        if loss.teacher_layer or loss.student_layer:
            self._refuse(
                "student_loss", "a loss of the outputs, without `teacher_layer` and `student_layer`"
            )

    def _check_chains(self):
        if not self.chains:
            return
        if not self.uses_prior():
            self._refuse("chains", "0 where the prior is not used: it is its latents that walk")
        if self.overdraw > 1:
            self._refuse("overdraw", "1 where `chains` walk, which need no selection")

    def _check_generator(self):
        if not np.min(self.pixel_std) > 0:
            self._refuse("pixel_std", "above 0")
        if self.output not in OUTPUTS:
            self._refuse("output", f"one of {', '.join(map(repr, OUTPUTS))}")
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
        if self.refine_statistics and not self.refines():
            self._refuse("refine_statistics", "0 where `refine_steps` or `refine_share` is 0")

    def _check_memory(self):
        if self.memory_dtype not in DTYPES:
            self._refuse("memory_dtype", f"one of {', '.join(map(repr, DTYPES))}")
        unbounded = self.leaving_range()
        if self.memory_dtype == "uint8" and unbounded and self.memory != 0:
            self._refuse(
                "memory_dtype", f"'float32' or 'float16' with {unbounded}, whose pixels leave [0, 1]"
            )
        if self.memory is None:
            return
        self._at_least(0, "memory")
        if 0 < self.memory < self.batch_size:
            self._refuse("memory", f"0 or at least the batch size ({self.batch_size})")
        if self.memory and not self.replay_steps:
            self._refuse("replay_steps", "at least 1 where there is a memory, or nothing is drawn from it")

    @property
    def name(self) -> str:
        """The recipe's name on command lines."""
        return names.snake_case(type(self).__name__)

    def for_teacher(self, teacher: keras.Model) -> Self:
        """This recipe, or what stands in for it where a teacher has no statistics to match.

        Images that only have to please a teacher are noise to the eye; half of the inputs come from the
        procedural prior then, unless a share was asked for. Its images are then not told apart by their
        statistics or refined towards them either, with a warning.
        """
        useless = [name for name in ("typicality", "refine_statistics") if getattr(self, name)]
        if useless and not normalization_taps(teacher):
            warnings.warn(
                f"Left out for teacher {teacher.name!r}: {', '.join(f'`{name}`' for name in useless)}. It "
                "has no batch normalization, so nobody knows which images are typical.",
                ObjectiveWarning,
                stacklevel=4,
            )
            return dataclasses.replace(self, **dict.fromkeys(useless, 0.0)).for_teacher(teacher)
        statistics = (o for o in self.build_objectives() if isinstance(o, BatchStatistics))
        if self.prior_share or not any(objective.problem(teacher) for objective in statistics):
            return self
        return dataclasses.replace(self, **self.leaning_on_prior())

    def leaning_on_prior(self) -> dict[str, Any]:
        """What changes in the recipe where it has to lean on the prior."""
        return {"prior_share": 0.5}

    def leaving_range(self) -> str | None:
        """The option by which pixels leave [0, 1]; None where they stay."""
        return None if self.output == "sigmoid" else f"output={self.output!r}"

    @property
    def updates_generator_first(self) -> bool:
        """Whether a step's generator updates come before the student's."""
        return self.same_inputs or self.same_latent

    def build_objectives(self) -> tuple[Objective, ...]:
        """All objectives of the generator."""
        return self.objectives

    def with_own(self, terms: Sequence[Objective]) -> tuple[Objective, ...]:
        """A subclass's objectives, those of weight 0 left out, and the recipe's own behind them."""
        return (*(term for term in terms if term.weight), *self.objectives)

    def build_student_loss(self) -> KnowledgeLoss:
        """A new loss of the student's outputs, so that distillers share none."""
        if self.student_loss is None:
            return SoftTargets(self.temperature)
        return type(self.student_loss).from_config(self.student_loss.get_config())

    def build_student_losses(
        self, teacher: keras.Model, student: keras.Model
    ) -> list[tuple[KnowledgeLoss, float]]:
        """All the student minimizes, with weights."""
        losses = [(self.build_student_loss(), 1.0)]
        if self.features:
            hint = feature_hint(teacher, student, self.feature_layers, self.features_at)
            losses.append((hint, self.features))
        return losses

    def student_view(self) -> views.View | None:
        """How the student looks at its inputs; None for as they are."""
        if not (self.student_shift or self.student_flip):
            return None
        return views.Shift(self.student_shift, self.student_flip)

    def build_generator(self, image_shape: tuple[int, int, int], classes: int) -> Generator | None:
        """A new trained generator, or None where the recipe trains none."""
        if not self.generator_steps:
            return None
        return generators.ConvGenerator(image_shape, **self.generator_options())

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

    def build_priors(self, image_shape: tuple[int, int, int]) -> list[Generator]:
        """The procedural generators of the prior; none where they are not used."""
        if not self.uses_prior():
            return []
        return [names.lookup(priors(), name, "prior")(image_shape) for name in self.prior]

    def refines(self) -> bool:
        """Whether images of the prior are refined by gradient."""
        return self.refine_steps > 0 and self.refine_share > 0

    def uses_prior(self) -> bool:
        """Whether anything comes from the procedural prior."""
        return self.prior_share > 0

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        """The recipe's optimizer of the student, a new one.

        Args:
            updates: student updates of the whole run, for a learning rate that follows a schedule.
        """
        return keras.optimizers.Adam(1e-3)

    def generator_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        """The recipe's optimizer of the generator, a new one.

        Args:
            updates: generator updates of the whole run, for a learning rate that follows a schedule.
        """
        return keras.optimizers.Adam(1e-3)

    def build_critic(
        self, teacher: keras.Model, student: keras.Model, seed: keras.random.SeedGenerator
    ) -> Critic:
        """What judges the images that are made."""
        return Critic(
            teacher, student, self.build_objectives(), self.batch_size, seed, accumulate=self.accumulate
        )

    def build_inversion(
        self, image_shape: tuple[int, int, int], classes: int, seed: keras.random.SeedGenerator
    ) -> Inversion | None:
        """What makes images one batch at a time; None where a generator is trained or none is."""
        return None

    def pixels(self, generated):
        """Images of what the trained generator returns."""
        return generated

    def from_examples(self, images, teacher: keras.Model, seed: keras.random.SeedGenerator):
        """Hard inputs made of real ones; None where they come from elsewhere."""
        return None

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
