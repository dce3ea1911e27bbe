"""What losses on inner features have in common: pairs of layers, projectors, padding masks."""

from collections.abc import Sequence

import keras
from keras import layers, ops

from tfkd.losses._base import KnowledgeLoss

Projector = bool | keras.Layer | Sequence[keras.Layer] | None


class FeatureLoss(KnowledgeLoss):
    """A loss on one pair of layers, or summed over several pairs.

    Subclasses implement `compare(teacher, student)` for one pair. Positions that a Keras mask leaves
    out are set to zero in both.

    Args:
        teacher_layer: tap of the teacher, or a list of taps.
        student_layer: as many of the student.
        projector: what the student's features go through before they are compared: True for a trained
            1x1 convolution (maps) or `Dense` layer to the teacher's width, a layer of your own, or one
            for each pair; None for nothing. Trained and saved with the distiller, no part of the
            student.
        **kwargs: `name`.

    Raises:
        TypeError: if a projector is no layer.
        ValueError: if there are not as many student as teacher layers, or projectors as pairs.
    """

    # Whether the value is a mean over positions, which padding must not dilute.
    averages_positions = False

    def __init__(self, teacher_layer=None, student_layer=None, projector: Projector = None, **kwargs):
        super().__init__(teacher_layer, student_layer, **kwargs)
        counts = [1 if isinstance(t, str | None) else len(t) for t in (teacher_layer, student_layer)]
        if counts[0] != counts[1] or not counts[0]:
            raise ValueError(
                "`teacher_layer` and `student_layer` must name as many layers each. Received: "
                f"teacher_layer={teacher_layer!r}, student_layer={student_layer!r}."
            )
        self.projector = _checked_projector(projector, counts[0])
        self.projectors: list[keras.Layer] = []

    def build(self, teacher_shape, student_shape):
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
        """The projector that `projector=True` stands for."""
        return linear_projector(channels, rank)

    def call(self, teacher, student, mask=None, training=None):
        return sum(
            self._unpadded(self.compare(t, s), m)
            for t, s, m in self.pairs(teacher, student, mask, training)
        )

    def pairs(self, teacher, student, mask=None, training=None):
        """Pairs of features `(teacher, projected student, mask)`, padding set to zero."""
        teachers, students = as_list(teacher), as_list(student)
        masks = as_list(mask) if isinstance(mask, list | tuple) else [mask] * len(teachers)
        for i, (t, s, m) in enumerate(zip(teachers, students, masks, strict=True)):
            if self.projectors:
                s = self.projectors[i](ops.cast(s, "float32"), training=training)
            # A mask is about positions; features that have none left need none.
            m = m if m is not None and len(s.shape) == 3 else None
            if m is not None:
                t, s = (ops.where(ops.cast(m, "bool")[..., None], v, ops.zeros_like(v)) for v in (t, s))
            yield t, s, m

    def compare(self, teacher, student):
        """The loss of one pair."""
        raise NotImplementedError

    def _unpadded(self, values, mask, at_padding=0.0):
        """Means over positions without the padding, where each position has the value `at_padding`."""
        if mask is None or not self.averages_positions:
            return values
        share = ops.mean(ops.cast(mask, "float32"), axis=-1)
        return ops.divide_no_nan(values - (1 - share) * at_padding, share)

    def get_config(self):
        projector = self.projector
        if projector not in (None, True):
            projector = keras.saving.serialize_keras_object(projector)
        return {**super().get_config(), "projector": projector}

    @classmethod
    def from_config(cls, config):
        projector = config.get("projector")
        if projector not in (None, True):
            projector = keras.saving.deserialize_keras_object(projector)
        return cls(**{**config, "projector": projector})


class RelationLoss(FeatureLoss):
    """A loss on how the examples of a batch relate; a scalar.

    A sample weight counts an example as that many copies of itself, so weight 0 leaves it out.
    Subclasses implement `compare(teacher, student, sample_weight)`.
    """

    def call(self, teacher, student, mask=None, sample_weight=None, training=None):
        return sum(
            self.compare(t, s, sample_weight) for t, s, _ in self.pairs(teacher, student, mask, training)
        )


def linear_projector(channels: int, rank: int) -> keras.Layer:
    """A 1x1 convolution for maps, else a `Dense` layer, to `channels`."""
    if rank == 4:
        return layers.Conv2D(channels, 1, dtype="float32", name="projector")
    return layers.Dense(channels, dtype="float32", name="projector")


def normalized_projector(channels: int, rank: int) -> keras.Layer:
    """A 1x1 convolution, or `Dense` layer, without bias and a batch normalization."""
    options = {"use_bias": False, "dtype": "float32"}
    linear = layers.Conv2D(channels, 1, **options) if rank == 4 else layers.Dense(channels, **options)
    normalization = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype="float32")
    return float32_stack([linear, normalization], "projector")


def float32_stack(stack: Sequence[keras.Layer], name: str | None = None) -> keras.Sequential:
    """Layers one after another, in float32 whatever the global policy."""
    model = keras.Sequential(stack, name=name)
    # Or the model itself would round what comes in to the policy's precision.
    model.autocast = False
    return model


def halving_sum(values):
    """The sum in which the last value counts 1, the one before it a half, and so on."""
    return sum(value / 2**i for i, value in enumerate(reversed(list(values))))


def check_several(teacher_layer) -> None:
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


def _checked_projector(projector, pairs):
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
