"""What every knowledge loss has in common: where it looks, and that it computes in float32."""

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

_LOGITS_REMEDY = "For logits, give the student as many outputs as the teacher has classes."


def as_float32(values, argument: str) -> Any:
    """Casts to float32; eagerly also checks that all values are finite.

    Args:
        values: any numbers.
        argument: their name in messages.

    Returns:
        A float32 tensor.

    Raises:
        ValueError: if a value is NaN or infinite; inside a graph values cannot be looked at.

    Example:
        >>> as_float32(ops.ones((2, 3), "bfloat16"), "student").dtype
        tf.float32
    """
    values = ops.cast(values, "float32")
    if tf.executing_eagerly() and not bool(ops.all(ops.isfinite(values))):
        raise ValueError(
            f"`{argument}` must be finite. Received: NaN or infinite values. Look for a diverged or badly "
            "loaded network; masked logits need a large negative number such as -1e9 instead of -inf."
        )
    return values


def as_float32_pair(teacher, student, remedy: str = _LOGITS_REMEDY) -> tuple[Any, Any]:
    """Casts both to float32 and checks that their shapes agree.

    Args:
        teacher: the teacher's values, any float dtype.
        student: the student's values, of the same shape.
        remedy: what to do about shapes that differ.

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
        loss: its class, for the message.
        logits: of teacher or student.
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
            "build the last layers of teacher and student without an activation, that of the teacher with "
            "its weights."
        )
    raise ValueError(
        f"`distillation_losses`: {loss} compares softmaxes, and that of one output is always 1, so it "
        f"would teach nothing. Received: outputs of shape {tuple(logits.shape)}. For a binary classifier "
        f"or a mask use tfkd.losses.BernoulliTargets on logits: {remedy}"
    )


def check_temperature(temperature: float, name: str = "temperature") -> float:
    """The temperature; raises a ValueError if it is not above 0 and finite. Tensors pass as they are."""
    if tf.is_tensor(temperature):
        return temperature
    hint = "1 keeps the probabilities, 4 is a common softening."
    return check_number(name, temperature, above=0, remedy=hint)


class Batch(NamedTuple):
    """What a loss may look at besides the values of teacher and student.

    Args:
        labels: of the examples; None if the data hold none.
        index: of each example in the data set `(batch,)`; None if the data hold none.
        mask: which positions count, `(batch, positions)`; one for each layer where a loss looks at
            several; None if all count.
        sample_weight: weights of the examples `(batch,)` or of positions; None for 1 each.
        training: whether the step trains.
    """

    labels: Any = None
    index: Any = None
    mask: Any = None
    sample_weight: Any = None
    training: bool | None = None


class KnowledgeLoss(keras.Layer):
    """One way of transferring knowledge; a layer, so that trainable parts are tracked and saved.

    Subclasses implement `call(teacher, student, ...)`, which returns one float32 value per example (or
    per token), or a scalar where the method is defined on the batch. Further parameters of `call` are
    filled by the distiller according to their names, which are those of `Batch`: `labels`, `index` (of
    the example in the data set), `mask` (true where a position counts), `sample_weight`, `training`.
    Those without a default must be there, or the distiller says what is missing; another name is an
    error. `as_float32_pair` casts and checks what comes in; `tfkd.testing.check_loss` tests a loss.

    Args:
        teacher_layer: tap of the teacher: a layer's path, `:input` appended for inputs; None for the
            model's output; a list of taps where the method compares several.
        student_layer: the same for the student.
        name: names the loss in `History`; defaults to the class's name in snake case.
        across_replicas: whether a loss `over_batch` is computed over the examples of all replicas under
            `tf.distribute`, as one replica with the whole batch computes it, or by each over its own. For
            all, replicas send each other what the taps see of teacher and student, labels, masks and
            weights, and back the gradient by what the student's taps see: an all-reduce of as many numbers
            as these have for the whole batch. Each replica then computes the loss of the whole batch.

    Attributes:
        published_weight: the weight the method was published with, beside a weight of 1 of the labels'
            loss; a distiller uses it if it is given `distillation_loss_weights="published"`.
        uses_teacher: whether the teacher is looked at.
        within_student: whether `teacher_layer` is a tap of the student too; see `tfkd.losses.within`.
        takes_structures: whether `call` takes several outputs at once; else it is called for each
            output of a model with several, and the values are added.
        over_classes: whether outputs are taken for the logits of one softmax, which those of independent
            labels and numbers are not.
        over_batch: whether the value of an example depends on others in the batch, as that of relations
            between examples does.
        needs: names of `Batch` without which the loss cannot be computed, besides the parameters of
            `call` without a default.

    Raises:
        ValueError: where a subclass is defined, if `call` has a parameter, or `needs` a name, that is
            not one of `Batch`.

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
        # Behind self, teacher and student.
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
        # float32 whatever the global policy: distillation losses lose too much in half precision.
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
        """What the loss needs and a batch lacks, by name."""
        return [name for name in self._needed if getattr(batch, name) is None]

    def arguments(self, batch: Batch) -> dict[str, Any]:
        """What `call` takes of a batch, by name.

        Args:
            batch: what there is.

        Returns:
            Keyword arguments of `call`.

        Raises:
            ValueError: if the batch lacks what the loss needs.
        """
        if lacking := self.missing(batch):
            raise ValueError(_MISSING[lacking[0]].format(loss=self.name))
        return {name: getattr(batch, name) for name in self._taken}

    def counted(self, student, batch: Batch) -> Any:
        """Which positions the mean of values `(batch, positions)` counts.

        Args:
            student: the student's values.
            batch: what else there is.

        Returns:
            A mask `(batch, positions)`; here that of the batch. None for all.
        """
        return batch.mask

    @property
    def title(self) -> str:
        """What messages call the loss: the class that a user has given."""
        return type(self).__name__

    def computed(self) -> list["KnowledgeLoss"]:
        """The losses that have the options, such as a temperature: itself, or those it is made of."""
        return [self]

    def constants(self) -> dict[str, Any]:
        """The options that a traced step holds as constants: when one changes, it is traced again."""
        return self.get_config()

    def compute_mask(self, *args, **kwargs):
        """Losses have no mask, whatever they were computed from."""
        return None

    def build(self, teacher_shape=None, student_shape=None) -> None:
        """Makes trainable parts for features of these shapes."""

    def bind(self, teacher: keras.Model | None, student: keras.Model) -> None:
        """Takes what it needs from the models themselves; called once when a distiller is built."""

    def get_config(self) -> dict:
        return {
            "name": self.name,
            "teacher_layer": self.teacher_layer,
            "student_layer": self.student_layer,
            "across_replicas": self.across_replicas,
        }


class BatchLoss(KnowledgeLoss):
    """A loss that takes all there is of a batch at once: subclasses implement `on_batch`."""

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
    "mask": "The loss {loss!r} needs a mask, and no layer it looks at has one. Let the model begin with "
    "Masking or with Embedding(..., mask_zero=True), or give `mask` the default None.",
    "sample_weight": "`sample_weight` is missing: the loss {loss!r} needs it. Give it to `fit`.",
    "training": "The loss {loss!r} needs `training`. Call it with training=True or training=False.",
}
