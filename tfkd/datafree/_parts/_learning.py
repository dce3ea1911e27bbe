"""How the student learns: for how long, from what, how often."""

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

# What a memory of unspecified size holds at most, and how many batches it holds all the same.
_MEMORY_IMAGES = 20480
_MEMORY_BYTES = 2**28
_LEAST_BATCHES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule(Part):
    """How long a run is and how much goes through the networks at once.

    Args:
        batch_size: images in each update.
        microbatches: in how many parts of equal size a batch goes through the networks, for batches that
            memory does not hold; updates stay the same but for batch normalizations in generator and
            student, which see a part at a time. A generator makes its images twice then.
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
        features: weight of the relative distance of features, for students with the teacher's layers, or of
            the cosine distance of hidden states after a language model's blocks; 0 for none.
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
            20,480 or as many as 256 MiB hold, answers included, but at least eight batches.
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

    def unfit(self, teacher: keras.Model, task: Task) -> Iterator[tuple[str, str]]:
        yield from super().unfit(teacher, task)
        if takes_tokens(teacher):
            yield "memory_dtype", "Token ids are kept as they are"
        elif self.memory_dtype == "uint8" and leaves_unit(teacher):
            yield "memory_dtype", NOT_UNIT

    def memory_capacity(
        self, input_shape: tuple[int, ...], answer_shape: tuple[int, ...] | None, at_once: int
    ) -> int:
        """How many inputs are remembered.

        Args:
            input_shape: of one input.
            answer_shape: of the teacher's answer to it; None where answers are not kept.
            at_once: inputs that are added or learned at a time.
        """
        if self.memory is not None:
            return self.memory
        pixels = np.dtype(self.memory_dtype).itemsize * math.prod(input_shape)
        answer = 0 if answer_shape is None else np.dtype("float32").itemsize * math.prod(answer_shape)
        return max(_LEAST_BATCHES * at_once, min(_MEMORY_IMAGES, _MEMORY_BYTES // (pixels + answer)))
