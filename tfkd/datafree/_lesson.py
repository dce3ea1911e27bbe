"""Lesson: who is taught by whom, what answers mean, and where random numbers come from."""

import dataclasses

import keras
import tensorflow as tf
from keras import ops

from tfkd._core.named_inputs import taken_by
from tfkd.datafree._in_parts import concatenated
from tfkd.datafree._inputs import Inputs, inputs_of
from tfkd.datafree._memory import Memory
from tfkd.tasks import Task


@dataclasses.dataclass
class Lesson:
    """What sources and objectives work with.

    Not a Keras object, so that layers that hold one neither track nor save the networks.

    Args:
        teacher: the teacher.
        student: the student.
        task: what their outputs mean.
        seed: the `keras.random.SeedGenerator` that all randomness comes from.
        memory: where inputs are remembered; None where they are not.
        keeps_answers: whether the student learns from answers that are given along with the inputs; not
            where somebody looks into the teacher, or at another view, and it has to be asked again anyway.
        microbatches: in how many parts the teacher is asked about a batch.
        made_as: in which form inputs are made; None for the one float tensor that the teacher takes.

    Attributes:
        inputs: the same, never None.
    """

    teacher: keras.Model
    student: keras.Model
    task: Task
    seed: keras.random.SeedGenerator
    memory: Memory | None = None
    keeps_answers: bool = True
    microbatches: int = 1
    made_as: dataclasses.InitVar[Inputs | None] = None

    def __post_init__(self, made_as: Inputs | None) -> None:
        self.inputs = inputs_of(self.teacher, "the recipe") if made_as is None else made_as

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one input, as it is made and kept."""
        return self.inputs.shape

    @property
    def required_memory(self) -> Memory:
        """The memory, for a source that cannot do without one.

        Raises:
            ValueError: if nothing is remembered.
        """
        if self.memory is None:
            raise ValueError("`memory` must be given: these inputs are kept in it. Received: None.")
        return self.memory

    def ask(self, inputs) -> tf.Tensor:
        """The teacher's float32 answers, in inference mode."""
        return self._asked(self.teacher, inputs)

    def ask_student(self, inputs) -> tf.Tensor:
        """The student's float32 answers, in inference mode."""
        return self._asked(self.student, inputs)

    def _asked(self, network, inputs):
        given = taken_by(network, self.inputs.given(inputs))
        return ops.cast(network(given, training=False), "float32")

    def answers(self, inputs) -> tf.Tensor | None:
        """The teacher's answers, or None where nobody would look at them."""
        return self.ask_in_parts(inputs) if self.keeps_answers else None

    def ask_in_parts(self, inputs) -> tf.Tensor:
        """The same answers as `ask`, of `microbatches` parts one after the other."""
        return concatenated(self.ask, (inputs,), self.microbatches)
