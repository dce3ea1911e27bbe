"""Images that are trained for: by a generator, or one batch at a time."""

import dataclasses
from collections.abc import Iterator
from typing import Annotated, ClassVar

import keras
import numpy as np

from generators._convolutional import OUTPUTS
from tfkd._core.options import Above, AtLeast, Formerly, OneOf
from tfkd.datafree._inputs import takes_images
from tfkd.datafree._parts._part import NOT_IMAGES, Part
from tfkd.datafree.objectives import Objective
from tfkd.tasks import Task


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
        output: "sigmoid", "normalized" or "scaled", see `tfkd.generators.ConvGenerator`.
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
        if not takes_images(teacher):
            yield from (("view_shift", NOT_IMAGES), ("view_flip", NOT_IMAGES))


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
