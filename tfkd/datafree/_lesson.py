"""Lesson: the networks, the task, the memory and the random state of a data-free run."""

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
    """The context that sources and objectives work in.

    It is not a Keras object, so that layers that hold one neither track nor save the networks.

    Args:
        teacher: the teacher.
        student: the student.
        task: the task of both.
        seed: the `keras.random.SeedGenerator` of all random numbers.
        memory: the replay memory; None if there is none.
        keeps_answers: whether the teacher's outputs are stored with the inputs and reused; False if the
            teacher has to run again anyway, for its taps or for another view.
        microbatches: the number of parts in which the teacher processes a batch.
        made_as: the form in which inputs are made; None for the one float tensor that the teacher takes.

    Attributes:
        inputs: the form in which inputs are made; never None.
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
        """The shape of one input, as made and stored."""
        return self.inputs.shape

    @property
    def required_memory(self) -> Memory:
        """The memory, for a source that cannot do without one.

        Raises:
            ValueError: if there is no memory.
        """
        if self.memory is None:
            raise ValueError("`memory` must be given, since these inputs are stored in it. Received: None.")
        return self.memory

    def ask(self, inputs) -> tf.Tensor:
        """The teacher's float32 outputs, in inference mode."""
        return self._asked(self.teacher, inputs)

    def ask_student(self, inputs) -> tf.Tensor:
        """The student's float32 outputs, in inference mode."""
        return self._asked(self.student, inputs)

    def _asked(self, network, inputs):
        given = taken_by(network, self.inputs.given(inputs))
        return ops.cast(network(given, training=False), "float32")

    def answers(self, inputs) -> tf.Tensor | None:
        """The teacher's outputs, or None if they would not be used."""
        return self.ask_in_parts(inputs) if self.keeps_answers else None

    def ask_in_parts(self, inputs) -> tf.Tensor:
        """The same outputs as `ask`, computed in `microbatches` parts."""
        return concatenated(self.ask, (inputs,), self.microbatches)
