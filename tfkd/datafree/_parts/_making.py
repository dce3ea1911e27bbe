"""Images that are optimized for objectives: by a generator, or one batch at a time."""

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
    """The objectives of synthesized images.

    Args:
        objectives: objectives of the images, in addition to those of a published recipe.
    """

    objectives: tuple[Objective, ...] = ()

    def build_objectives(self) -> tuple[Objective, ...]:
        """All objectives of the images, except those with weight 0."""
        return tuple(term for term in (*self.own_objectives(), *self.objectives) if term.weight)

    def own_objectives(self) -> tuple[Objective, ...]:
        """The objectives of a published recipe."""
        return ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedGenerator(Objectives):
    """A generator that is trained throughout the run.

    Args:
        generator_steps: generator updates per step.
        generator_order: when the generator is updated: "after" the student; "same_images" for before the
            student, which learns on the images of the last generator update; "same_latents" for before the
            student, which learns on images that the updated generator makes from the same latents.
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
        filters: the number of channels of its first feature maps.
        norm_epsilon: the epsilon of its batch normalization after convolutions.
    """

    filters: Annotated[int, AtLeast(1)] = 128
    norm_epsilon: Annotated[float, Above(0)] = 1e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latent(Part):
    """The latent vectors of a generator.

    Args:
        latent_size: their size; values are standard normal.
    """

    latent_size: Annotated[int, AtLeast(1)] = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelScale(Part):
    """The normalization of pixels to which published learning rates and weights refer.

    Args:
        pixel_mean: the mean of pixels on the [0, 1] scale, a number or one per channel.
        pixel_std: the standard deviation of pixels on that scale, a number or one per channel.
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
        output: "sigmoid", "normalized" or "scaled"; see `tfkd.generators.ConvGenerator`.
        pixel_mean: the mean of "normalized" and "scaled" pixels on the [0, 1] scale.
        pixel_std: the standard deviation of such pixels on that scale.
    """

    output: Annotated[str, OneOf(*(o for o in OUTPUTS if o != "unsquashed"))] = "sigmoid"

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        if self.output == "sigmoid":
            yield from ((name, "`output` is 'sigmoid'") for name in ("pixel_mean", "pixel_std"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inversion(Objectives):
    """Batches of images made by gradient steps (model inversion).

    Args:
        inversions: the number of batches made per step.
        inversion_batch: the number of images in such a batch.
        generator_steps: the number of gradient steps on a batch.
        view_shift: the number of pixels by which images are randomly shifted for the networks while they
            are optimized.
        view_flip: whether half of these views are mirrored left to right.
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
    """Optimization of the pixels themselves.

    Args:
        start: the initial images, "noise" or "prior".
        pixel_mean: the pixel value, in [0, 1], that is 0 on the normalized scale.
        pixel_std: the change of the pixel value that is 1 on the normalized scale.
    """

    start: Annotated[str, OneOf("noise", "prior")] = "noise"
    pixel_std: float = 0.25
