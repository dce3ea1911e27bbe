"""What a recipe is made of: each part holds the options of one thing; recipes are put together of them."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar

import keras
import numpy as np

import generators
from generators import Generator
from generators._convolutional import OUTPUTS
from tfkd._core import names
from tfkd.datafree import _views as views
from tfkd.datafree._feature_matching import PLACES
from tfkd.datafree._memory import DTYPES
from tfkd.datafree._options import Above, AtLeast, Between, Formerly, OneOf, Options
from tfkd.datafree.objectives import Objective
from tfkd.datafree.objectives._moments import normalization_taps
from tfkd.losses import KnowledgeLoss
from tfkd.tasks import Task

# What a memory of unspecified size holds at most.
_MEMORY_IMAGES = 20480
_MEMORY_BYTES = 2**28
# The procedural generator of inputs of any shape.
_FOR_ANY_SHAPE = "smooth_noise"
_NOT_TYPICAL = "It has no batch normalization, so nobody knows which images are typical"
_NOT_CLASSES = "Its answers do not name classes"
_NOT_IMAGES = "Its inputs are not images"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part(Options):
    """Options of one thing that a recipe does."""

    def unfit(self, teacher: keras.Model, task: Task) -> Iterator[tuple[str, str]]:
        """Options that a teacher gives no meaning to, and why."""
        yield from ()

    def substitutes(self, teacher: keras.Model) -> Iterator[tuple[str, Any, str]]:
        """Options that a teacher needs another value of, that value, and why."""
        yield from ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule(Part):
    """How long a run is and how much goes through the networks at once.

    Args:
        batch_size: images in each update.
        microbatches: in how many parts of equal size a batch goes through the networks, for batches that
            memory does not hold; generator updates stay the same, and so do student updates but for
            batch normalizations in the student, which see a part at a time.
        warmup_steps: warm-up steps: generators train, inversions are made and remembered, and Markov chains
            move, but the student is not updated or evaluated.
        epochs: epochs of a run where none are asked for.
        steps_per_epoch: steps in an epoch where none are asked for.
    """

    batch_size: Annotated[int, AtLeast(1)] = 256
    microbatches: Annotated[int, AtLeast(1), Formerly("accumulate")] = 1
    warmup_steps: Annotated[int, AtLeast(0)] = 0
    epochs: Annotated[int, AtLeast(1)] = 40
    steps_per_epoch: Annotated[int, AtLeast(1)] = 50

    def check(self) -> None:
        super().check()
        if self.batch_size % self.microbatches:
            self._refuse("microbatches", f"a divisor of the batch size ({self.batch_size})")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Features(Part):
    """Inner features of the teacher that the student is to have too.

    Args:
        features: weight of the relative distance of features, for students with the teacher's layers; 0 for
            none.
        features_at: where they are compared: "stages", at the end of each, or "convolutions", after all of
            them that go by one name in both networks.
        feature_layers: pairs of taps, teacher's and student's, that are compared instead.
    """

    features: Annotated[float, AtLeast(0)] = 0.0
    features_at: Annotated[str, OneOf(*PLACES)] = "stages"
    feature_layers: tuple[tuple[str, str], ...] | None = None

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        if not self.features:
            yield "feature_layers", "`features` is 0"
            yield "features_at", "`features` is 0"
        elif self.feature_layers is not None:
            yield "features_at", "`feature_layers` says what is compared"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Teaching(Features):
    """What the student learns from the teacher's answers.

    Args:
        student_loss: what the student minimizes: a loss of the two networks' outputs; None for the one that
            goes with the teacher's task, soft targets for a classifier.
        temperature: of the soft targets.
        student_shift: pixels by which the student's inputs are shifted at random; above 0, or with
            `student_flip`, the teacher is asked again.
        student_flip: whether half of the student's inputs are mirrored left to right.
        real_share: share of real examples in the student's updates where `fit` is given some, in (0, 1].
    """

    student_loss: KnowledgeLoss | None = None
    temperature: Annotated[float, Above(0)] = 1.0
    student_shift: Annotated[int, AtLeast(0)] = 0
    student_flip: bool = False
    real_share: Annotated[float, Above(0), Between(0, 1)] = 0.5

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        if self.student_loss is not None:
            yield "temperature", "`student_loss` is given"

    def unfit(self, teacher: keras.Model, task: Task) -> Iterator[tuple[str, str]]:
        yield from super().unfit(teacher, task)
        if not task.has_classes:
            yield "temperature", _NOT_CLASSES
        if not views.fit(teacher.input_shape[1:]):
            yield from (("student_shift", _NOT_IMAGES), ("student_flip", _NOT_IMAGES))

    def check(self) -> None:
        super().check()
        loss = self.student_loss
        if loss is not None and (loss.teacher_layer or loss.student_layer):
            self._refuse(
                "student_loss", "a loss of the outputs, without `teacher_layer` and `student_layer`"
            )

    def student_view(self) -> views.View | None:
        """How the student looks at its inputs; None for as they are."""
        if not (self.student_shift or self.student_flip):
            return None
        return views.Shift(self.student_shift, self.student_flip)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewInputs(Part):
    """How often the student sees new inputs.

    Args:
        student_steps: student updates on new inputs a step.
    """

    student_steps: Annotated[int, AtLeast(1)] = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replay(Part):
    """Inputs that are remembered and learned from again.

    Args:
        memory: how many images are remembered with the teacher's answers; 0 for none, None for
            20,480 or as many as 256 MiB hold.
        memory_dtype: how their pixels are kept: "float32", "float16" or "uint8" (clipped to [0, 1], in
            256 levels).
        save_memory: whether they are saved with the weights; without, files are small, and a resumed run
            goes on with an empty memory.
        replay_steps: student updates a step on remembered inputs.
    """

    memory: Annotated[int | None, AtLeast(0)] = 0
    memory_dtype: Annotated[str, OneOf(*DTYPES)] = "float32"
    save_memory: bool = True
    replay_steps: Annotated[int, AtLeast(1)] = 1

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        if self.memory == 0:
            for name in ("memory_dtype", "save_memory", "replay_steps"):
                yield name, "`memory` is 0"

    def memory_capacity(self, input_shape: tuple[int, ...], least: int = 1) -> int:
        """How many inputs of this shape are remembered; where that is not said, at least so many."""
        if self.memory is not None:
            return self.memory
        fitting = _MEMORY_BYTES // (np.dtype(self.memory_dtype).itemsize * math.prod(input_shape))
        return max(least, min(_MEMORY_IMAGES, fitting))


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
            yield "class_weight", _NOT_CLASSES


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
            yield "statistics_weight", _NOT_TYPICAL
        if not task.has_classes:
            yield "balance", _NOT_CLASSES


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prior(Selection):
    """Inputs from procedural generators.

    Args:
        prior: procedural generators that inputs are drawn from, in equal parts.
        **kwargs: the options of `Selection` and `Chains`.
    """

    prior: tuple[str, ...] = ("strokes",)

    def check(self) -> None:
        super().check()
        if not self.prior:
            self._refuse("prior", "at least one procedural generator")
        for name in self.prior:
            names.lookup(priors(), name, "prior")

    def substitutes(self, teacher: keras.Model) -> Iterator[tuple[str, Any, str]]:
        yield from super().substitutes(teacher)
        shape = tuple(teacher.input_shape[1:])
        fitting = tuple(name for name in self.prior if _makes(name, shape))
        if fitting != self.prior:
            yield "prior", fitting or (_FOR_ANY_SHAPE,), f"The others do not make inputs of shape {shape}"

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
        if not normalization_taps(teacher):
            yield "refine_statistics", _NOT_TYPICAL

    def refines(self) -> bool:
        """Whether any image is refined."""
        return self.refine_steps > 0 and self.refine_share > 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objectives(Part):
    """What images are made for.

    Args:
        objectives: what images are made for, added to those of a published recipe.
    """

    objectives: tuple[Objective, ...] = ()

    def build_objectives(self) -> tuple[Objective, ...]:
        """All objectives of the images that are made, those of weight 0 left out."""
        return tuple(term for term in (*self.own_objectives(), *self.objectives) if term.weight)

    def own_objectives(self) -> tuple[Objective, ...]:
        """The objectives of a published recipe."""
        return ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedGenerator(Objectives):
    """A generator that is trained throughout the run.

    Args:
        generator_steps: generator updates a step.
        generator_order: "after" for generator updates after the student's; "same_images" for updates before
            the student's, which learns on the images of the last; "same_latents" for updates before the
            student's, which learns on the images that the updated generator makes of the same latents.
        **kwargs: the options of `Objectives`.
    """

    ORDERS: ClassVar[tuple[str, ...]] = ("after", "same_images", "same_latents")

    generator_steps: Annotated[int, AtLeast(1)] = 1
    generator_order: Annotated[
        str,
        OneOf(*ORDERS),
        Formerly("same_inputs", {True: "same_images"}),
        Formerly("same_latent", {True: "same_latents"}),
    ] = "after"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvolutionalNetwork(Part):
    """The size of a convolutional generator.

    Args:
        filters: channels of its first maps.
        norm_epsilon: of its batch normalizations after convolutions.
    """

    filters: Annotated[int, AtLeast(1)] = 128
    norm_epsilon: Annotated[float, Above(0)] = 1e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latent(Part):
    """What a generator makes an image of.

    Args:
        latent_size: how many standard-normal numbers.
    """

    latent_size: Annotated[int, AtLeast(1)] = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelScale(Part):
    """The scale that pixels are normalized on, on which published rates and weights are given.

    Args:
        pixel_mean: mean of pixels on the [0, 1] scale, a number or one per channel.
        pixel_std: their standard deviation, likewise.
    """

    pixel_mean: float | tuple[float, ...] = 0.5
    pixel_std: float | tuple[float, ...] = 0.25

    def check(self) -> None:
        super().check()
        if not np.min(self.pixel_std) > 0:
            self._refuse("pixel_std", "above 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelOutput(PixelScale):
    """How a convolutional generator makes pixels.

    Args:
        output: "sigmoid", "normalized" or "scaled", see `generators.ConvGenerator`.
        pixel_mean: mean of "normalized" and "scaled" pixels on the [0, 1] scale.
        pixel_std: their standard deviation on that scale.
    """

    output: Annotated[str, OneOf(*(o for o in OUTPUTS if o != "unsquashed"))] = "sigmoid"

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        if self.output == "sigmoid":
            yield from ((name, "`output` is 'sigmoid'") for name in ("pixel_mean", "pixel_std"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inversion(Objectives):
    """Batches made by gradient steps on what they are made from.

    Args:
        inversions: batches of images made in a step.
        inversion_batch: images in such a batch.
        generator_steps: gradient steps on a batch.
        view_shift: pixels by which the networks' view of images is shifted at random while they are made.
        view_flip: whether half of the views are mirrored left to right.
        **kwargs: the options of `Objectives`.
    """

    inversions: Annotated[int, AtLeast(1)] = 1
    inversion_batch: Annotated[int, AtLeast(1)] = 256
    generator_steps: Annotated[int, AtLeast(1)] = 100
    view_shift: Annotated[int, AtLeast(0)] = 0
    view_flip: bool = False

    def unfit(self, teacher: keras.Model, task: Task) -> Iterator[tuple[str, str]]:
        yield from super().unfit(teacher, task)
        if not views.fit(teacher.input_shape[1:]):
            yield from (("view_shift", _NOT_IMAGES), ("view_flip", _NOT_IMAGES))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelInversion(PixelScale):
    """Pixels that are themselves optimized.

    Args:
        start: what images start from, "noise" or "prior".
        pixel_mean: what 0 on the normalized scale stands for, in [0, 1].
        pixel_std: what 1 on that scale stands for.
    """

    start: Annotated[str, OneOf("noise", "prior")] = "noise"
    pixel_std: float = 0.25


def _makes(prior, input_shape):
    """Whether a procedural generator makes inputs of a shape."""
    try:
        priors()[prior](input_shape)
    except ValueError:
        return False
    return True


def priors() -> Mapping[str, Callable[[tuple[int, ...]], Generator]]:
    """The procedural generators by name; each is made for a shape of inputs."""
    return names.members(generators, Generator, lambda cls: cls.procedural)
