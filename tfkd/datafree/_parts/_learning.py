"""How the student learns: how long, from what, and how often."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Annotated

import keras
import numpy as np

from tfkd._core.options import Above, AtLeast, Between, Formerly, OneOf
from tfkd.datafree import _views as views
from tfkd.datafree._feature_matching import PLACES
from tfkd.datafree._inputs import takes_images, takes_tokens
from tfkd.datafree._memory import DTYPES
from tfkd.datafree._parts._fallback import leaves_unit
from tfkd.datafree._parts._part import NOT_CLASSES, NOT_IMAGES, NOT_UNIT, Part
from tfkd.losses import KnowledgeLoss
from tfkd.tasks import Task

# The limits of a memory of unspecified size, and the batches that it holds in any case.
_MEMORY_IMAGES = 20480
_MEMORY_BYTES = 2**28
_LEAST_BATCHES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule(Part):
    """The length of a run and the size of its batches.

    Args:
        batch_size: images in each update.
        microbatches: the number of equal parts in which a batch goes through the networks, for batches that
            do not fit in memory. Updates stay the same, except that batch normalization in the generator
            and the student sees one part at a time. A generator then makes its images twice.
        warmup_steps: warm-up steps: generators train, inversions are made and stored, and Markov chains
            move, but the student is not updated or evaluated.
        epochs: the default number of epochs.
        steps_per_epoch: the default number of steps in an epoch.
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
    """Intermediate features of the teacher that the student learns to match.

    Args:
        features: the weight of the relative distance of features, for students with the teacher's layers,
            or of the cosine distance of hidden states after a language model's blocks; 0 for none.
        features_at: where features are compared: "stages" for the end of each stage, or "convolutions" for
            all convolutions that have the same name in both networks.
        feature_layers: pairs of taps, teacher's and student's, to compare instead.
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
            yield "features_at", "`feature_layers` sets what is compared"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Teaching(Features):
    """How the student learns from the teacher's outputs.

    Args:
        student_loss: the student's loss on the two networks' outputs; None for the default of the teacher's
            task, which for a classifier is soft targets.
        temperature: the temperature of the soft targets.
        student_shift: the number of pixels by which the student's inputs are randomly shifted; above 0, or
            with `student_flip`, the teacher runs again on the changed inputs.
        student_flip: whether half of the student's inputs are mirrored left to right.
        real_share: the fraction of real examples in the student's updates if `fit` is given any, in (0, 1].
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
        if not task.tempered:
            yield "temperature", NOT_CLASSES
        if takes_tokens(teacher):
            yield "features_at", "Hidden states of language models are compared after each block"
        if not takes_images(teacher):
            yield from (("student_shift", NOT_IMAGES), ("student_flip", NOT_IMAGES))

    def check(self) -> None:
        super().check()
        loss = self.student_loss
        if loss is not None and (loss.teacher_layer or loss.student_layer):
            self._refuse(
                "student_loss", "a loss of the outputs, without `teacher_layer` and `student_layer`"
            )

    def student_view(self) -> views.View | None:
        """The random view of the student's inputs; None for unchanged inputs."""
        if not (self.student_shift or self.student_flip):
            return None
        return views.Shift(self.student_shift, self.student_flip)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewInputs(Part):
    """How often the student sees new inputs.

    Args:
        student_steps: student updates on new inputs per step.
    """

    student_steps: Annotated[int, AtLeast(1)] = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replay(Part):
    """A replay memory of inputs.

    Args:
        memory: the number of images stored with the teacher's outputs; 0 for no memory, None for
            20,480 or as many as fit in 256 MiB, outputs included, but at least eight batches.
        memory_dtype: the dtype in which pixels are stored: "float32", "float16" or "uint8" (clipped to
            [0, 1], in 256 levels).
        save_memory: whether the memory is saved with the weights; if not, files are small, but a resumed
            run starts with an empty memory.
        replay_steps: student updates on stored inputs per step.
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

    def unfit(self, teacher: keras.Model, task: Task) -> Iterator[tuple[str, str]]:
        yield from super().unfit(teacher, task)
        if takes_tokens(teacher):
            yield "memory_dtype", "Token ids are stored as they are"
        elif self.memory_dtype == "uint8" and leaves_unit(teacher):
            yield "memory_dtype", NOT_UNIT

    def memory_capacity(
        self, input_shape: tuple[int, ...], answer_shape: tuple[int, ...] | None, at_once: int
    ) -> int:
        """The number of inputs to store.

        Args:
            input_shape: the shape of one input.
            answer_shape: the shape of the teacher's output for it; None if outputs are not stored.
            at_once: the number of inputs added or learned at a time.
        """
        if self.memory is not None:
            return self.memory
        pixels = np.dtype(self.memory_dtype).itemsize * math.prod(input_shape)
        answer = 0 if answer_shape is None else np.dtype("float32").itemsize * math.prod(answer_shape)
        return max(_LEAST_BATCHES * at_once, min(_MEMORY_IMAGES, _MEMORY_BYTES // (pixels + answer)))
