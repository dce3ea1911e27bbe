"""Base class of losses on inner features: pairs of layers, projectors, padding masks."""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import layers, ops
from typing_extensions import Self

from tfkd._core.keras_internals import with_mask
from tfkd.losses._base import Batch, BatchLoss, Taps
from tfkd.losses._maps import without_padding
from tfkd.losses._relations import per_row

Projector = bool | keras.Layer | Sequence[keras.Layer] | None


class Pair(NamedTuple):
    """The values compared at one pair of layers.

    Args:
        teacher: the teacher's features, 0 at padding.
        student: the student's, projected, 0 at padding.
        batch: the rest of the batch: the mask of these features, weights of examples `(batch,)`.
    """

    teacher: Any
    student: Any
    batch: Batch


class FeatureLoss(BatchLoss):
    """A loss on one pair of layers, or summed over several pairs.

    Subclasses implement `compare(teacher, student, batch)` for one pair, which returns one float32 value
    per example (or per position), or a scalar where the method is defined on the batch. `batch` is a
    `Batch`. For features `(batch, positions, channels)` with padding, `batch.mask` marks the positions that
    count, and both networks' features are 0 elsewhere. Sums over positions therefore need no mask, but
    statistics do. `batch.sample_weight` is `(batch,)`: if the loss is a scalar, an example of weight w must
    count as w copies; values per example are weighted afterwards.

    Args:
        teacher_layer: tap of the teacher, or a list of taps.
        student_layer: the same number from the student.
        projector: applied to the student's features before the comparison: True for a trained 1x1
            convolution (maps) or `Dense` layer to the teacher's width, a layer of your own, or one for each
            pair; None for no projector. It is trained and saved with the distiller and is not part of the
            student.
        **kwargs: `name`.

    Raises:
        TypeError: if a projector is not a layer; when a subclass is defined, if its `compare` does not take
            `(teacher, student, batch)`.
        ValueError: if the numbers of student layers, teacher layers or projectors differ.

    Example:
        >>> class Nearest(FeatureLoss):
        ...     def compare(self, teacher, student, batch):
        ...         teacher, student = as_float32_pair(teacher, student)
        ...         return ops.sum(ops.abs(teacher - student), axis=(1, 2))
    """

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        received = tuple(inspect.signature(cls.compare).parameters)
        if received != ("self", "teacher", "student", "batch"):
            raise TypeError(
                f"{cls.__name__}.compare must take (self, teacher, student, batch); batch.sample_weight "
                f"holds the weights of the examples. Received: ({', '.join(received)})."
            )

    def __init__(
        self, teacher_layer: Taps = None, student_layer: Taps = None, projector: Projector = None, **kwargs
    ) -> None:
        super().__init__(teacher_layer, student_layer, **kwargs)
        self.projector = _checked_projector(projector, count_pairs(teacher_layer, student_layer))
        self.projectors: list[keras.Layer] = []

    def build(self, teacher_shape, student_shape) -> None:
        if self.projector is None:
            return
        pairs = list(zip(shape_list(teacher_shape), shape_list(student_shape), strict=True))
        if self.projector is True:
            self.projectors = [self.make_projector(t[-1], len(s)) for t, s in pairs]
        else:
            self.projectors = as_list(self.projector)
        for projector, (_, shape) in zip(self.projectors, pairs, strict=True):
            if not projector.built:
                projector.build(shape)

    def make_projector(self, channels: int, rank: int) -> keras.Layer:
        """The projector for `projector=True`."""
        return linear_projector(channels, rank)

    def on_batch(self, teacher, student, batch: Batch):
        return self.compare_pairs(self.pairs(teacher, student, batch))

    def compare_pairs(self, pairs: list[Pair]):
        """The loss of all pairs of layers: the sum of `compare`."""
        return sum(self.compare(*pair) for pair in pairs)

    def compare(self, teacher, student, batch: Batch):
        """The loss of one pair of layers."""
        raise NotImplementedError(f"{type(self).__name__} must implement compare(teacher, student, batch).")

    def pairs(self, teacher, student, batch: Batch) -> list[Pair]:
        """The values to compare: the student's features projected, padding set to zero."""
        teachers, students = as_list(teacher), as_list(student)
        pairs = []
        for i, (t, s, mask) in enumerate(zip(teachers, students, masks_of(batch, students), strict=True)):
            # A mask covers positions; features without positions need none.
            mask = mask if len(s.shape) == 3 else None
            if self.projectors:
                # The mask is for a batch normalization among the layers.
                s = with_mask(ops.cast(s, "float32"), mask)
                s = self.projectors[i](s, training=batch.training)
            own = batch._replace(mask=mask)
            if batch.sample_weight is not None:
                own = own._replace(sample_weight=per_row(batch.sample_weight, 1, mask))
            pairs.append(Pair(without_padding(t, mask), without_padding(s, mask), own))
        return pairs

    def get_config(self) -> dict:
        projector = self.projector
        if projector not in (None, True):
            projector = keras.saving.serialize_keras_object(projector)
        return {**super().get_config(), "projector": projector}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        projector = config.get("projector")
        if projector not in (None, True):
            projector = keras.saving.deserialize_keras_object(projector)
        return cls(**{**config, "projector": projector})


def count_pairs(teacher_layer: Taps, student_layer: Taps) -> int:
    """The number of pairs of layers; raises ValueError if the lists differ in length."""
    counts = [1 if isinstance(t, str | None) else len(t) for t in (teacher_layer, student_layer)]
    if counts[0] != counts[1] or not counts[0]:
        raise ValueError(
            "`teacher_layer` and `student_layer` must name the same number of layers. Received: "
            f"teacher_layer={teacher_layer!r}, student_layer={student_layer!r}."
        )
    return counts[0]


def masks_of(batch: Batch, layers: list) -> list:
    """The mask of each of several layers."""
    return list(batch.mask) if isinstance(batch.mask, list | tuple) else [batch.mask] * len(layers)


def linear_projector(channels: int, rank: int) -> keras.Layer:
    """A 1x1 convolution for maps, otherwise a `Dense` layer, to `channels`."""
    if rank == 4:
        return layers.Conv2D(channels, 1, dtype="float32", name="projector")
    return layers.Dense(channels, dtype="float32", name="projector")


def normalized_projector(channels: int, rank: int) -> keras.Layer:
    """A 1x1 convolution or `Dense` layer without bias, followed by batch normalization."""
    options = {"use_bias": False, "dtype": "float32"}
    linear = layers.Conv2D(channels, 1, **options) if rank == 4 else layers.Dense(channels, **options)
    normalization = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype="float32")
    return float32_stack([linear, normalization], "projector")


def float32_stack(stack: Sequence[keras.Layer], name: str | None = None) -> keras.Sequential:
    """A sequence of layers in float32, regardless of the global policy."""
    model = keras.Sequential(stack, name=name)
    # Otherwise the model itself would cast its inputs to the policy's precision.
    model.autocast = False
    # As its layers do; otherwise Keras would warn about the mask that the model passes to them.
    model.supports_masking = True
    return model


def halving_sum(values):
    """The weighted sum: weight 1 for the last value, 1/2 for the one before, and so on."""
    return sum(value / 2**i for i, value in enumerate(reversed(list(values))))


def check_several(teacher_layer: Taps) -> None:
    """Raises ValueError if these are not at least two layers."""
    if teacher_layer is None or isinstance(teacher_layer, str) or len(teacher_layer) < 2:
        raise ValueError(
            "`teacher_layer` must be a list of at least two layers, from low to high. Received: "
            f"teacher_layer={teacher_layer!r}."
        )


def as_list(values) -> list:
    """A list or tuple as a list, anything else as a list of one."""
    return list(values) if isinstance(values, list | tuple) else [values]


def shape_list(shape) -> list:
    """One shape, or several, as a list of shapes."""
    return [shape] if not shape or not isinstance(shape[0], list | tuple) else list(shape)


def _checked_projector(projector: Projector, pairs: int) -> Projector:
    if projector is None or projector is False:
        return None
    if projector is True:
        return True
    for layer in as_list(projector):
        if not isinstance(layer, keras.Layer):
            raise TypeError(
                "`projector` must be True, None, a Keras layer, or a list of layers. Received: "
                f"{projector!r} of type {type(projector)}."
            )
    if len(as_list(projector)) != pairs:
        raise ValueError(
            f"`projector` must be one layer for each of the {pairs} pairs of layers. Received: "
            f"{len(as_list(projector))}. projector=True makes them."
        )
    return projector
