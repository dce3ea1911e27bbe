"""What every knowledge loss has in common: where it looks, and that it computes in float32."""

import keras
from keras import ops

from tfkd.names import snake_case


def as_float32_pair(teacher, student):
    """Casts both to float32 and checks that their shapes agree.

    Args:
        teacher: the teacher's values, any float dtype.
        student: the student's values, of the same shape.

    Returns:
        The two tensors in float32.

    Raises:
        ValueError: if the shapes cannot match.
    """
    teacher = ops.cast(teacher, "float32")
    student = ops.cast(student, "float32")
    same_rank = len(teacher.shape) == len(student.shape)
    if not same_rank or any(
        t is not None and s is not None and t != s
        for t, s in zip(teacher.shape, student.shape, strict=True)
    ):
        raise ValueError(
            "`teacher` and `student` must have the same shape. Received: "
            f"teacher {tuple(teacher.shape)}, student {tuple(student.shape)}. For logits, give the "
            "student as many outputs as the teacher has classes."
        )
    return teacher, student


class KnowledgeLoss(keras.Layer):
    """One way of transferring knowledge; a layer, so that trainable parts are tracked and saved.

    Subclasses implement `call(teacher, student)`, which returns one float32 value per example.

    Args:
        teacher_layer: tap of the teacher (a layer's path, `:input` appended for inputs); None for
            the model's output.
        student_layer: the same for the student.
        name: names the loss in `History`; defaults to the class's name in snake case.
    """

    def __init__(
        self,
        teacher_layer: str | None = None,
        student_layer: str | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
        # float32 whatever the global policy: distillation losses lose too much in half precision.
        name = name or snake_case(type(self).__name__)
        super().__init__(name=name, dtype="float32", autocast=False, **kwargs)
        self.teacher_layer = teacher_layer
        self.student_layer = student_layer

    def get_config(self):
        return {
            "name": self.name,
            "teacher_layer": self.teacher_layer,
            "student_layer": self.student_layer,
        }
