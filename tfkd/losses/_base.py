"""The base class of knowledge losses: their taps, and computation in float32."""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from tfkd._core.checks import check_number
from tfkd._core.names import lookup, snake_case

# A layer's path, several of them, or None for the output; see `KnowledgeLoss`.
Taps = str | Sequence[str] | None

_LOGITS_REMEDY = "For logits, give the student one output for each of the teacher's classes."


def as_float32(values, argument: str) -> Any:
    """Casts to float32; eagerly also checks that all values are finite.

    Args:
        values: any numbers.
        argument: their name in messages.

    Returns:
        A float32 tensor.

    Raises:
        ValueError: if a value is NaN or infinite; values cannot be checked inside a graph.

    Example:
        >>> as_float32(ops.ones((2, 3), "bfloat16"), "student").dtype
        tf.float32
    """
    values = ops.cast(values, "float32")
    if tf.executing_eagerly() and not bool(ops.all(ops.isfinite(values))):
        raise ValueError(
            f"`{argument}` must be finite. Received: NaN or infinite values. Check for a network that "
            "diverged or was loaded wrongly; mask logits with a large negative number such as -1e9, not "
            "-inf."
        )
    return values


def as_float32_pair(teacher, student, remedy: str = _LOGITS_REMEDY) -> tuple[Any, Any]:
    """Casts both to float32 and checks that their shapes agree.

    Args:
        teacher: the teacher's values, any float dtype.
        student: the student's values, of the same shape.
        remedy: the advice for shapes that differ, for the message.

    Returns:
        The two tensors in float32.

    Raises:
        ValueError: if the shapes cannot match, or eager values are not finite.

    Example:
        >>> teacher, student = as_float32_pair(teacher_logits, student_logits)
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


def check_classes(loss: str, logits) -> None:
    """Raises ValueError for logits `(..., classes)` of a single class, whose softmax is always 1.

    Args:
        loss: name of the loss class, for the message.
        logits: the teacher's or the student's.
    """
    if logits.shape[-1] != 1:
        return
    remedy = (
        'tfkd.load_teacher(teacher, task="multi_label") gives such a teacher, and the student ends without '
        "an "
        "activation. For a number use tfkd.losses.MeanSquaredError."
    )
    if len(logits.shape) > 2:
        remedy = (
            "rebuild the last layers of teacher and student without an activation, the teacher's with its "
            "weights."
        )
    raise ValueError(
        f"`distillation_losses`: {loss} compares softmaxes, and the softmax of a single output is always "
        f"1, so it would teach nothing. Received: outputs of shape {tuple(logits.shape)}. For a binary "
        f"classifier or a mask, use tfkd.losses.BernoulliTargets on logits: {remedy}"
    )


def check_temperature(temperature: float, name: str = "temperature") -> float:
    """The temperature; raises ValueError if it is not positive and finite. Tensors pass unchecked."""
    if tf.is_tensor(temperature):
        return temperature
    hint = "1 keeps the probabilities, 4 is a common softening."
    return check_number(name, temperature, above=0, remedy=hint)


class Batch(NamedTuple):
    """Inputs that a loss may use in addition to the values of teacher and student.

    Args:
        labels: the examples' labels; None if the data have none.
        index: the index of each example in the data set `(batch,)`; None if the data have none.
        mask: `(batch, positions)`, true where a position counts; one mask per layer if a loss uses several;
            None if all count.
        sample_weight: weights of the examples `(batch,)` or of positions; None for 1 each.
        training: whether this is a training step.
    """

    labels: Any = None
    index: Any = None
    mask: Any = None
    sample_weight: Any = None
    training: bool | None = None


class KnowledgeLoss(keras.Layer):
    """One way of transferring knowledge; a layer, so that trainable parts are tracked and saved.

    Subclasses implement `call(teacher, student, ...)`, which returns one float32 value per example (or per
    token), or a scalar where the method is defined on the batch. The distiller fills further parameters of
    `call` by name. Their names are the names in `Batch`: `labels`, `index` (of the example in the data
    set), `mask` (true where a position counts), `sample_weight`, `training`. If a parameter without a
    default is missing from the data, the distiller raises an error that names it; any other name is an
    error. `as_float32_pair` casts and checks the inputs; `tfkd.testing.check_loss` tests a loss.

    Args:
        teacher_layer: tap of the teacher: a layer's path, with `:input` appended for its inputs; None for
            the model's output; a list of taps if the method compares several.
        student_layer: the same for the student.
        name: names the loss in `History`; defaults to the class's name in snake case.
        across_replicas: under `tf.distribute`, whether a loss with `over_batch` is computed over the
            examples of all replicas, as one replica would compute it on the whole batch, or by each replica
            over its own. For all replicas, they exchange the tapped values of teacher and student, labels,
            masks and weights, and send back the gradient with respect to the student's tapped values: an
            all-reduce of these numbers for the whole batch. Each replica then computes the loss of the
            whole batch.

    Attributes:
        published_weight: the weight the method was published with, for a weight of 1 on the labels' loss. A
            distiller uses it when given `distillation_loss_weights="published"`.
        uses_teacher: whether the loss uses the teacher.
        within_student: whether `teacher_layer` is also a tap of the student; see `tfkd.losses.within`.
        takes_structures: whether `call` takes several outputs at once; otherwise it is called for each
            output of a model with several, and the values are summed.
        over_classes: whether outputs are treated as the logits of one softmax, unlike independent labels
            and numbers.
        over_batch: whether an example's value depends on other examples in the batch, as with relations
            between examples.
        needs: fields of `Batch` that the loss requires, besides the parameters of `call` without a default.

    Raises:
        ValueError: when a subclass is defined, if a parameter of `call` or a name in `needs` is not a field
            of `Batch`.

    Example:
        >>> class CrossEntropy(KnowledgeLoss):
        ...     def call(self, teacher, student):
        ...         teacher, student = as_float32_pair(teacher, student)
        ...         return -ops.sum(ops.softmax(teacher) * ops.log_softmax(student), axis=-1)
    """

    published_weight = 1.0
    uses_teacher = True
    within_student = False
    takes_structures = False
    over_classes = False
    over_batch = False
    needs: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        known = dict.fromkeys(Batch._fields)
        # After self, teacher and student.
        parameters = list(inspect.signature(cls.call).parameters.values())[3:]
        for parameter in parameters:
            lookup(known, parameter.name, f"parameter of {cls.__name__}.call")
        for name in cls.needs:
            lookup(known, name, f"name in {cls.__name__}.needs")
        required = [each.name for each in parameters if each.default is each.empty]
        cls._taken = [each.name for each in parameters]
        cls._needed = [*cls.needs, *required]

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        name: str | None = None,
        across_replicas: bool = True,
        **kwargs,
    ) -> None:
        # float32 regardless of the global policy: distillation losses are too inaccurate in half precision.
        kwargs.setdefault("dtype", "float32")
        super().__init__(name=name or snake_case(type(self).__name__), autocast=False, **kwargs)
        self.supports_masking = True
        self.teacher_layer = _as_tap(teacher_layer)
        self.student_layer = _as_tap(student_layer)
        self.across_replicas = across_replicas

    def call(self, teacher, student):
        """The values of the loss."""
        raise NotImplementedError(f"{type(self).__name__} must implement call(teacher, student, ...).")

    def missing(self, batch: Batch) -> list[str]:
        """The names of inputs that the loss needs but the batch does not have."""
        return [name for name in self._needed if getattr(batch, name) is None]

    def arguments(self, batch: Batch) -> dict[str, Any]:
        """The arguments that `call` takes from a batch, by name.

        Args:
            batch: the available values.

        Returns:
            Keyword arguments of `call`.

        Raises:
            ValueError: if the batch lacks inputs that the loss needs.
        """
        if lacking := self.missing(batch):
            raise ValueError(_MISSING[lacking[0]].format(loss=self.name))
        return {name: getattr(batch, name) for name in self._taken}

    def counted(self, student, batch: Batch) -> Any:
        """Which positions the mean of values `(batch, positions)` counts.

        Args:
            student: the student's values.
            batch: the other available values.

        Returns:
            A mask `(batch, positions)`, by default the batch's; None for all.
        """
        return batch.mask

    @property
    def title(self) -> str:
        """The loss's name in messages: the class that the user gave."""
        return type(self).__name__

    def computed(self) -> list["KnowledgeLoss"]:
        """The losses that own the options, such as a temperature: this loss, or the ones it contains."""
        return [self]

    def constants(self) -> dict[str, Any]:
        """The options that a traced step holds as constants: when one changes, it is traced again."""
        return self.get_config()

    def compute_mask(self, *args, **kwargs):
        """Losses have no mask, even if their inputs have one."""
        return None

    def build(self, teacher_shape=None, student_shape=None) -> None:
        """Creates trainable parts for features of these shapes."""

    def bind(self, teacher: keras.Model | None, student: keras.Model) -> None:
        """Reads what the loss needs from the models; called once when a distiller is built."""

    def get_config(self) -> dict:
        return {
            "name": self.name,
            "teacher_layer": self.teacher_layer,
            "student_layer": self.student_layer,
            "across_replicas": self.across_replicas,
        }


class BatchLoss(KnowledgeLoss):
    """A loss that takes everything about a batch at once: subclasses implement `on_batch`."""

    def call(
        self,
        teacher,
        student,
        labels=None,
        index=None,
        mask=None,
        sample_weight=None,
        training: bool | None = None,
    ):
        return self.on_batch(teacher, student, Batch(labels, index, mask, sample_weight, training))

    def on_batch(self, teacher, student, batch: Batch) -> Any:
        """The values of the loss."""
        kind = type(self).__name__
        raise NotImplementedError(f"{kind} must implement on_batch(teacher, student, batch).")


def _as_tap(layer: Taps) -> str | list[str] | None:
    """A path, several as a list, or None."""
    return layer if layer is None or isinstance(layer, str) else [str(path) for path in layer]


_MISSING = {
    "labels": "`y` is missing: the loss {loss!r} needs labels. Give them to `fit`.",
    "index": "The loss {loss!r} needs the index of each example. Train on tfkd.with_index(dataset) or on a "
    "data set from tfkd.cache_teacher.",
    "mask": "The loss {loss!r} needs a mask, and none of the layers it uses has one. Start the model with "
    "Masking or Embedding(..., mask_zero=True), or give `mask` the default None.",
    "sample_weight": "`sample_weight` is missing: the loss {loss!r} needs it. Give it to `fit`.",
    "training": "The loss {loss!r} needs `training`. Call it with training=True or training=False.",
}
