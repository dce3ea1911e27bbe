"""What every knowledge loss has in common: where it looks, and that it computes in float32."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops

from tfkd._core.names import snake_case

_LOGITS_REMEDY = "For logits, give the student as many outputs as the teacher has classes."


def as_float32(values, argument: str):
    """Casts to float32; eagerly also checks that all values are finite.

    Args:
        values: any numbers.
        argument: their name in messages.

    Returns:
        A float32 tensor.

    Raises:
        ValueError: if a value is NaN or infinite; inside a graph values cannot be looked at.
    """
    values = ops.cast(values, "float32")
    if tf.executing_eagerly() and not bool(ops.all(ops.isfinite(values))):
        raise ValueError(
            f"`{argument}` must be finite. Received: NaN or infinite values. Look for a diverged or badly "
            "loaded network; masked logits need a large negative number such as -1e9 instead of -inf."
        )
    return values


def as_float32_pair(teacher, student, remedy: str = _LOGITS_REMEDY):
    """Casts both to float32 and checks that their shapes agree.

    Args:
        teacher: the teacher's values, any float dtype.
        student: the student's values, of the same shape.
        remedy: what to do about shapes that differ.

    Returns:
        The two tensors in float32.

    Raises:
        ValueError: if the shapes cannot match, or eager values are not finite.
    """
    teacher, student = as_float32(teacher, "teacher"), as_float32(student, "student")
    same_rank = len(teacher.shape) == len(student.shape)
    if not same_rank or any(
        t is not None and s is not None and t != s
        for t, s in zip(teacher.shape, student.shape, strict=True)
    ):
        raise ValueError(
            "`teacher` and `student` must have the same shape. Received: "
            f"teacher {tuple(teacher.shape)}, student {tuple(student.shape)}. {remedy}"
        )
    return teacher, student


def check_positive(**numbers: float) -> None:
    """Raises ValueError for the first keyword that is not a finite number above 0."""
    for name, value in numbers.items():
        if not 0 < value < math.inf:
            hint = " 1 keeps the probabilities, 4 is a common softening." if name == "temperature" else ""
            raise ValueError(f"`{name}` must be above 0 and finite. Received: {name}={value!r}.{hint}")


def check_at_least_1(**numbers: float) -> None:
    """Raises ValueError for the first keyword that is not a finite number of at least 1."""
    for name, value in numbers.items():
        if not 1 <= value < math.inf:
            raise ValueError(f"`{name}` must be at least 1 and finite. Received: {name}={value!r}.")


def check_count(**numbers: int) -> None:
    """Raises ValueError for the first keyword that is not an int of at least 1."""
    for name, value in numbers.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"`{name}` must be an int of at least 1. Received: {name}={value!r}.")


def check_not_negative(**numbers: float) -> None:
    """Raises ValueError for the first keyword that is not a finite number of at least 0."""
    for name, value in numbers.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"`{name}` must be at least 0 and finite. Received: {name}={value!r}.")


class KnowledgeLoss(keras.Layer):
    """One way of transferring knowledge; a layer, so that trainable parts are tracked and saved.

    Subclasses implement `call(teacher, student, ...)`, which returns one float32 value per example (or
    per token), or a scalar where the method is defined on the batch. Further parameters of `call` are
    filled by the distiller according to their names: `labels`, `index` (of the example in the data
    set), `mask` (true where a position counts), `sample_weight`, `training`. Those without a default
    must be there, or the distiller says what is missing.

    Args:
        teacher_layer: tap of the teacher: a layer's path, `:input` appended for inputs; None for the
            model's output; a list of taps where the method compares several.
        student_layer: the same for the student.
        name: names the loss in `History`; defaults to the class's name in snake case.

    Attributes:
        published_weight: the weight the method was published with, beside a weight of 1 of the labels'
            loss; a distiller uses it if it is given `distillation_loss_weights="published"`.
        uses_teacher: whether the teacher is looked at.
        takes_structures: whether `call` takes several outputs at once; else it is called for each
            output of a model with several, and the values are added.
    """

    published_weight = 1.0
    uses_teacher = True
    takes_structures = False

    def __init__(
        self,
        teacher_layer: str | Sequence[str] | None = None,
        student_layer: str | Sequence[str] | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
        # float32 whatever the global policy: distillation losses lose too much in half precision.
        kwargs.setdefault("dtype", "float32")
        super().__init__(name=name or snake_case(type(self).__name__), autocast=False, **kwargs)
        self.supports_masking = True
        self.teacher_layer = _as_tap(teacher_layer)
        self.student_layer = _as_tap(student_layer)

    def compute_mask(self, *args, **kwargs):
        """Losses have no mask, whatever they were computed from."""
        return None

    def build(self, teacher_shape=None, student_shape=None):
        """Makes trainable parts for features of these shapes."""

    def bind(self, teacher: keras.Model | None, student: keras.Model) -> None:
        """Takes what it needs from the models themselves; called once when a distiller is built."""

    def get_config(self):
        return {
            "name": self.name,
            "teacher_layer": self.teacher_layer,
            "student_layer": self.student_layer,
        }


def _as_tap(layer):
    """A path, several as a list, or None."""
    return layer if layer is None or isinstance(layer, str) else [str(path) for path in layer]
