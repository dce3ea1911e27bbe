"""Inputs of procedural generators: which of them are used, and how they are refined."""

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
        chains: how many latents of the prior walk as Markov chains, a class to each, towards images that
            are typical by `statistics_weight`, surely of that class by `class_weight`, and hard by
            `disagreement`; inputs are then the images of those that have waited longest, instead of new
            ones. At least as many for each prior as a batch takes of it, and as there are classes; few of
            them make many images alike. 0 for none.
        chain_moves: moves of a chain before its image is used again. Expect a few hundred moves in total
            before a chain's images become typical, in steps of warm-up or later.
        class_weight: factor of the teacher's cross-entropy to its class that a chain's log-weight falls by.
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
    """Which of the prior's images are used.

    Args:
        candidates_per_image: how many candidates are drawn for each image of the prior that is used; above
            1 they are resampled by `balance`, `disagreement` and `statistics_weight`.
        balance: exponent on the inverse frequency of the teacher's predicted class.
        disagreement: exponent on the divergence of student from teacher.
        statistics_weight: how much candidates are preferred whose own statistics are those that the
            teacher's batch normalizations remember; their weight falls by a factor e with each
            1 / `statistics_weight` of `bn_statistics_distance`, which is about 0.1 for real images. Left
            out, with a warning, for teachers without batch normalization.
    """

    candidates_per_image: Annotated[int, AtLeast(1), Formerly("overdraw")] = 1
    balance: Annotated[float, AtLeast(0)] = 0.0
    disagreement: Annotated[float, AtLeast(0)] = 0.0
    statistics_weight: Annotated[float, AtLeast(0), Formerly("typicality")] = 0.0

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        chosen_by = ("balance", "disagreement", "statistics_weight")
        if self.chains:
            yield "candidates_per_image", "`chains` walk, which need no selection"
            yield "balance", "`chains` have a class each"
        elif self.candidates_per_image == 1:
            for name in chosen_by:
                yield name, "`candidates_per_image` is 1 and `chains` is 0, so nothing is chosen"
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
        prior: procedural generators that inputs are drawn from, in equal parts: names of those for images
            and other floats, or `tfkd.generators.Generator` objects, such as `tfkd.generators.Words` for a
            language model; one of them may stand alone. Where none of them makes the teacher's inputs,
            "signals" stands in for series and "uniform" for vectors, in the ranges that a `Normalization`
            layer tells which the teacher begins with; with a warning. So does "signals" for the default
            where inputs look like spectrograms: of one channel, and one side more than twice the other, or
            one pixel wide with frequencies as channels.
        pictures: a folder of pictures, which the prior "pictures" crops instead of those that ship with the
            library; see `tfkd.generators.Pictures`.
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
            remedy = f"give prior={_OF_PICTURES} (--recipe_options=prior={_OF_PICTURES}), too"
            yield "pictures", f"`prior` does not name {_OF_PICTURES!r}; {remedy}"

    @property
    def priors(self) -> tuple[str | Generator, ...]:
        """The names and objects of `prior`."""
        assert isinstance(self.prior, tuple), "One that stands alone was made a tuple."
        return self.prior

    def token_generators(self) -> list[TokenGenerator]:
        """Those of `prior` that make token ids."""
        return [prior for prior in self.priors if isinstance(prior, TokenGenerator)]

    def build_priors(self, input_shape: tuple[int, ...]) -> list[Generator]:
        """The generators, those given by name made for a shape.

        Raises:
            ValueError: if one that was given as an object makes another shape, or `pictures` is not a
                folder of pictures.
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
                f"`pictures`: {teacher.name!r} takes inputs of shape {shape}, which are not images. Leave "
                "`pictures` out, and `prior`, too."
            )
        if is_spectrogram(shape) and self.priors == self.options()["prior"].default:
            yield (
                "prior",
                fallback_priors(teacher, shape),
                f"Inputs of shape {shape} look like spectrograms; if they are images, give the generators "
                f"themselves, such as prior=tfkd.generators.Strokes({shape})",
            )
            return
        fitting = tuple(each for each in self.priors if isinstance(each, Generator) or _makes(each, shape))
        if fitting != self.priors:
            fitting = fitting or fallback_priors(teacher, shape)
            yield "prior", fitting, f"The others do not make inputs of shape {shape}"

    def candidates_drawn(self) -> int:
        """How many images of the prior are drawn for one that is used."""
        # The image of a chain is looked at where it stood, too.
        return self.chain_moves + 1 if self.chains else self.candidates_per_image


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refinement(Part):
    """Smoothed gradient steps on images of the prior.

    Args:
        refine_share: share of the prior's images that is refined by gradient, in [0, 1].
        refine_steps: smoothed gradient steps on those images.
        refine_size: root-mean-square pixel change of a step.
        refine_adversarial: weight of leaving the student behind against reaching the target class.
        refine_statistics: weight of the refined images' batch statistics against reaching the target
            class, 0.05 for instance: they are compared as normal distributions, by a divergence summed over
            channels and layers. Left out, with a warning, for teachers without batch normalization.
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
    """The procedural generators of floats by name; each is made for a shape of inputs."""
    return names.members(
        generators, Generator, lambda cls: cls.procedural and not issubclass(cls, TokenGenerator)
    )
