"""Inputs from procedural generators: which are used, and how they are refined."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import keras

import generators
from generators import Generator, TokenGenerator
from tfkd._core import names
from tfkd._core.options import AtLeast, Between, Formerly
from tfkd.datafree import _views as views
from tfkd.datafree._inputs import one_shape, takes_tokens
from tfkd.datafree._parts._fallback import fallback_priors, is_spectrogram, leaves_unit
from tfkd.datafree._parts._part import NOT_CLASSES, NOT_MOVED, NOT_TYPICAL, NOT_UNIT, Part
from tfkd.datafree.objectives._moments import normalization_taps
from tfkd.tasks import Task

# Procedural generators by name or as objects.
Priors = tuple[str, ...] | tuple[str | Generator, ...] | str | Generator
# The procedural generator of crops of pictures.
_OF_PICTURES = "pictures"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chains(Part):
    """Markov chains through the prior.

    Args:
        chains: the number of latents of the prior that move as Markov chains, each for one class, towards
            images that are typical (`statistics_weight`), confidently of that class (`class_weight`), and
            hard for the student (`disagreement`). Inputs are then the images of the chains that have waited
            longest, instead of new ones. Each prior needs at least as many chains as a batch takes from it,
            and as there are classes; with few chains many images are similar. 0 for none.
        chain_moves: moves of a chain before its image is used again. Expect a few hundred moves in total,
            in warm-up steps or later, before a chain's images become typical.
        class_weight: the factor of the teacher's cross-entropy to the chain's class in its log-weight.
    """

    chains: Annotated[int, AtLeast(0)] = 0
    chain_moves: Annotated[int, AtLeast(1)] = 16
    class_weight: Annotated[float, AtLeast(0), Formerly("sureness")] = 8.0

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        if not self.chains:
            yield from ((name, "`chains` is 0") for name in ("chain_moves", "class_weight"))

    def unfit(self, teacher: keras.Model, task: Task) -> Iterator[tuple[str, str]]:
        yield from super().unfit(teacher, task)
        if self.chains and not task.has_classes:
            yield "class_weight", NOT_CLASSES


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection(Chains):
    """Selection among the prior's images.

    Args:
        candidates_per_image: the number of candidates drawn for each prior image that is used; above 1 they
            are resampled by `balance`, `disagreement` and `statistics_weight`.
        balance: the exponent of the inverse frequency of the teacher's predicted class.
        disagreement: the exponent of the divergence of the student from the teacher.
        statistics_weight: the preference for candidates whose statistics match those stored in the
            teacher's batch normalization; their weight falls by a factor of e for each
            1 / `statistics_weight` of `bn_statistics_distance`, which is about 0.1 for real images.
            Ignored, with a warning, for teachers without batch normalization.
    """

    candidates_per_image: Annotated[int, AtLeast(1), Formerly("overdraw")] = 1
    balance: Annotated[float, AtLeast(0)] = 0.0
    disagreement: Annotated[float, AtLeast(0)] = 0.0
    statistics_weight: Annotated[float, AtLeast(0), Formerly("typicality")] = 0.0

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        chosen_by = ("balance", "disagreement", "statistics_weight")
        if self.chains:
            yield "candidates_per_image", "`chains` need no selection"
            yield "balance", "each of the `chains` has its own class"
        elif self.candidates_per_image == 1:
            for name in chosen_by:
                yield name, "`candidates_per_image` is 1 and `chains` is 0, so there is no selection"
        elif not any(getattr(self, name) for name in chosen_by):
            yield "candidates_per_image", f"{', '.join(f'`{n}`' for n in chosen_by)} are 0"

    def unfit(self, teacher: keras.Model, task: Task) -> Iterator[tuple[str, str]]:
        yield from super().unfit(teacher, task)
        if not normalization_taps(teacher):
            yield "statistics_weight", NOT_TYPICAL
        if not task.has_classes:
            yield "balance", NOT_CLASSES


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prior(Selection):
    """Inputs from procedural generators.

    Args:
        prior: the procedural generators of inputs, used in equal shares: names of generators of images and
            other floats, or `tfkd.generators.Generator` objects, such as `tfkd.generators.Words` for a
            language model; a single one need not be in a tuple. If none of them makes the teacher's inputs,
            they are replaced, with a warning: by "signals" for series, and by "uniform" for vectors, in the
            ranges of a `Normalization` layer at the beginning of the teacher. "signals" also replaces the
            default if inputs look like spectrograms: with one channel and one side more than twice as long
            as the other, or one pixel wide with frequencies as channels.
        pictures: a folder of pictures from which the prior "pictures" takes crops, instead of those that
            ship with the library; see `tfkd.generators.Pictures`.
        **kwargs: the options of `Selection` and `Chains`.
    """

    prior: Priors = ("strokes",)
    pictures: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.prior, (str, Generator)):
            object.__setattr__(self, "prior", (self.prior,))
        super().__post_init__()

    def check(self) -> None:
        super().check()
        if not self.priors:
            self._refuse("prior", "at least one procedural generator")
        for prior in self.priors:
            if not isinstance(prior, Generator):
                names.lookup(priors(), prior, "prior")
            elif not prior.procedural:
                self._refuse("prior", "procedural generators, which have no weights to train")

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        if _OF_PICTURES not in self.priors:
            remedy = f"add prior={_OF_PICTURES} (--recipe_options=prior={_OF_PICTURES})"
            yield "pictures", f"`prior` does not include {_OF_PICTURES!r}; {remedy}"

    @property
    def priors(self) -> tuple[str | Generator, ...]:
        """The names and objects of `prior`."""
        assert isinstance(self.prior, tuple), "A single prior has become a tuple."
        return self.prior

    def token_generators(self) -> list[TokenGenerator]:
        """The generators in `prior` that make token ids."""
        return [prior for prior in self.priors if isinstance(prior, TokenGenerator)]

    def build_priors(self, input_shape: tuple[int, ...]) -> list[Generator]:
        """The generators; those given by name are built for a shape.

        Raises:
            ValueError: if a generator given as an object makes another shape, or `pictures` is not a folder
                of pictures.
        """
        made = [self._built(prior, input_shape) for prior in self.priors]
        for generator in made:
            generators.check_generator(generator, input_shape, trained=False)
        return made

    def _built(self, prior, input_shape):
        if isinstance(prior, Generator):
            return prior
        given = {"pictures": self.pictures} if prior == _OF_PICTURES else {}
        return priors()[prior](input_shape, **given)

    def substitutes(self, teacher: keras.Model) -> Iterator[tuple[str, Any, str]]:
        yield from super().substitutes(teacher)
        taken = one_shape(teacher)
        if taken is None or None in taken:
            return
        shape = tuple(side for side in taken if side is not None)
        if self.pictures is not None and not views.fit(shape):
            raise ValueError(
                f"`pictures`: {teacher.name!r} takes inputs of shape {shape}, which are not images. Remove "
                "`pictures`, and `prior` too."
            )
        if is_spectrogram(shape) and self.priors == self.options()["prior"].default:
            yield (
                "prior",
                fallback_priors(teacher, shape),
                f"Inputs of shape {shape} look like spectrograms; if they are images, pass the generators "
                f"themselves, such as prior=tfkd.generators.Strokes({shape})",
            )
            return
        fitting = tuple(each for each in self.priors if isinstance(each, Generator) or _makes(each, shape))
        if fitting != self.priors:
            fitting = fitting or fallback_priors(teacher, shape)
            yield "prior", fitting, f"The others do not make inputs of shape {shape}"

    def candidates_drawn(self) -> int:
        """The number of prior images made for each one that is used."""
        # A chain's image is also evaluated at its old position.
        return self.chain_moves + 1 if self.chains else self.candidates_per_image


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refinement(Part):
    """Smoothed gradient steps on prior images.

    Args:
        refine_share: the fraction of the prior images that are refined, in [0, 1].
        refine_steps: the number of smoothed gradient steps on those images.
        refine_size: the root-mean-square pixel change of a step.
        refine_adversarial: the weight of disagreement with the student, relative to reaching the target
            class.
        refine_statistics: the weight of the refined images' batch statistics, relative to reaching the
            target class, such as 0.05. They are compared as normal distributions, by a divergence summed
            over channels and layers. Ignored, with a warning, for teachers without batch normalization.
    """

    refine_share: Annotated[float, Between(0, 1)] = 0.0
    refine_steps: Annotated[int, AtLeast(0)] = 0
    refine_size: Annotated[float, AtLeast(0)] = 0.1
    refine_adversarial: Annotated[float, AtLeast(0)] = 0.0
    refine_statistics: Annotated[float, AtLeast(0)] = 0.0

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        if not self.refines():
            for field in dataclasses.fields(Refinement):
                yield field.name, f"`{'refine_share' if self.refine_steps else 'refine_steps'}` is 0"

    def unfit(self, teacher: keras.Model, task: Task) -> Iterator[tuple[str, str]]:
        yield from super().unfit(teacher, task)
        if takes_tokens(teacher):
            yield from ((field.name, NOT_MOVED) for field in dataclasses.fields(Refinement))
        elif leaves_unit(teacher):
            yield from ((field.name, NOT_UNIT) for field in dataclasses.fields(Refinement))
        elif not normalization_taps(teacher):
            yield "refine_statistics", NOT_TYPICAL

    def refines(self) -> bool:
        """Whether any image is refined."""
        return self.refine_steps > 0 and self.refine_share > 0


def _makes(prior, input_shape):
    """Whether a procedural generator makes inputs of a shape."""
    try:
        priors()[prior](input_shape)
    except ValueError:
        return False
    return True


def priors() -> Mapping[str, Callable[..., Generator]]:
    """The procedural generators of floats by name; each is built for an input shape."""
    return names.members(
        generators, Generator, lambda cls: cls.procedural and not issubclass(cls, TokenGenerator)
    )
