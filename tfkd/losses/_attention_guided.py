"""FBKD, attention-guided and non-local distillation of features and relations."""

import keras
from keras import layers, ops

from tfkd._core.checks import check_number
from tfkd.losses._base import Taps, as_float32, check_temperature
from tfkd.losses._features import FeatureLoss, Projector, shape_list
from tfkd.losses._maps import LEFT_OUT, flat_positions, matching_pair, safe_root, without_padding
from tfkd.losses._softened import SoftenedLoss


def attention_guided(
    teacher,
    student,
    attention_weight: float = 4e-3,
    masked_weight: float = 7e-5,
    temperature: float = 0.1,
    mask=None,
):
    """FBKD: distances of attention over positions, of attention over channels, and of masked features.

    Attention is the mean absolute activation, over channels for each position and over positions for each
    channel. Squared differences of features are weighted by two masks: softmaxes of the summed attention of
    both networks, over positions and over channels, times the number of positions or channels. The masks
    have no gradient. Reduction: Euclidean norms over all axes but the first, one value per example. No
    temperature factor; symmetric. Where maps differ in size, the larger is average-pooled.

    Args:
        teacher: the teacher's maps `(batch, height, width, channels)` or `(batch, steps, channels)`.
        student: the student's, with the same number of channels.
        attention_weight: weight of the attention's distances, at least 0.
        masked_weight: weight of the masked features' distance, at least 0.
        temperature: divides the attention; above 0. Lower values sharpen the masks.
        mask: bool `(batch, positions)`, true where a position of `(batch, positions, channels)` counts;
            None for all.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the shapes cannot match or a number is out of its range.

    Example:
        >>> attention_guided(teacher_maps, student_maps)

    Reference:
        Zhang, Ma, "Improve Object Detection with Feature-based Knowledge Distillation: Towards Accurate and
        Efficient Detectors", 2021. Norms are taken per example; mmrazor takes one norm over the batch, uses
        attention without absolute values, and has no channel mask.
    """
    check_number("attention_weight", attention_weight, least=0)
    check_number("masked_weight", masked_weight, least=0)
    check_temperature(temperature)
    teacher, student = (
        without_padding(flat_positions(maps), mask) for maps in matching_pair(teacher, student)
    )
    counts = ops.ones_like(student[..., 0]) if mask is None else ops.cast(mask, "float32")
    of_positions = [ops.mean(ops.abs(maps), axis=2) for maps in (teacher, student)]
    of_channels = [_mean_position(ops.abs(maps), counts) for maps in (teacher, student)]
    attention = _distance(*of_positions) + _distance(*of_channels)
    channels = _shares(sum(of_channels) / temperature) * student.shape[-1]
    scaled = ops.where(counts > 0, sum(of_positions) / temperature, LEFT_OUT)
    positions = _shares(scaled) * ops.sum(counts, axis=1, keepdims=True)
    squares = (teacher - student) ** 2 * positions[..., None] * channels[:, None]
    return attention_weight * attention + masked_weight * safe_root(ops.sum(squares, axis=(1, 2)))


def _mean_position(features, counts):
    """`(batch, channels)`: the mean of features, 0 at padding, over positions that count."""
    return ops.divide_no_nan(ops.sum(features, axis=1), ops.sum(counts, axis=1, keepdims=True))


def _shares(scaled):
    return ops.stop_gradient(ops.softmax(scaled, axis=-1))


def _distance(teacher, student):
    """Euclidean, for each example."""
    return safe_root(ops.sum((teacher - student) ** 2, axis=tuple(range(1, len(student.shape)))))


@keras.saving.register_keras_serializable(package="tfkd")
class AttentionGuided(SoftenedLoss, FeatureLoss):
    """FBKD: `attention_guided` and non-local distillation, as a distiller loss.

    A trained non-local block for each network adds to every position its relations with all others. The
    Euclidean distance between the two results is the third part of the loss.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, whose losses are added.
        student_layer: tap of the student, or a list of the same length.
        attention_weight: weight of the attention's distances, at least 0.
        masked_weight: weight of the masked features' distance, at least 0.
        non_local_weight: weight of the relations' distance, at least 0.
        temperature: divides the attention; above 0.
        projector: see `FeatureLoss`; None or True for a linear projector to the teacher's width.
        **kwargs: `name`.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> tfkd.Distiller(teacher, student, AttentionGuided("block3", "block3"), "published")

    Reference:
        Zhang, Ma, "Improve Object Detection with Feature-based Knowledge Distillation: Towards Accurate and
        Efficient Detectors", 2021. Weights and temperature are for two-stage detectors; one-stage detectors
        have 2e-2, 4e-4, 4e-4 and 0.5. All parts of the loss share one projector; the authors' code has an
        adaptation layer for each. Both non-local blocks are trained, as in that code; they start as
        identities and have no batch normalization. See `attention_guided`.
    """

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        attention_weight: float = 4e-3,
        masked_weight: float = 7e-5,
        non_local_weight: float = 7e-5,
        temperature: float = 0.1,
        projector: Projector = None,
        **kwargs,
    ) -> None:
        super().__init__(
            temperature,
            teacher_layer=teacher_layer,
            student_layer=student_layer,
            projector=projector or True,
            **kwargs,
        )
        self.attention_weight = check_number("attention_weight", attention_weight, least=0)
        self.masked_weight = check_number("masked_weight", masked_weight, least=0)
        self.non_local_weight = check_number("non_local_weight", non_local_weight, least=0)
        self.blocks: list[NonLocal] = []

    def build(self, teacher_shape, student_shape) -> None:
        super().build(teacher_shape, student_shape)
        for i, shape in enumerate(shape_list(teacher_shape)):
            for who in ("teacher", "student"):
                block = NonLocal(name=f"{who}_relations_{i}")
                block.build((None, None, shape[-1]))
                self.blocks.append(block)

    def compare_pairs(self, pairs):
        blocks = iter(self.blocks)
        return sum(self._compare(pair, next(blocks), next(blocks)) for pair in pairs)

    def _compare(self, pair, of_teacher, of_student):
        teacher, student = (flat_positions(maps) for maps in matching_pair(*pair[:2]))
        mask = pair.batch.mask
        guided = attention_guided(
            teacher, student, self.attention_weight, self.masked_weight, self.divisor, mask
        )
        relations = _distance(of_teacher(teacher, mask=mask), of_student(student, mask=mask))
        return guided + self.non_local_weight * relations

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "attention_weight": self.attention_weight,
            "masked_weight": self.masked_weight,
            "non_local_weight": self.non_local_weight,
        }


class NonLocal(keras.Layer):
    """Features `(batch, positions, channels)` plus their relations with each other.

    The relation of two positions is the inner product of their embeddings, divided by the number of
    positions that count. Embeddings have half as many channels. The last layer starts at 0.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        # The mask is an argument.
        self.supports_masking = True

    def build(self, shape: tuple) -> None:
        channels, half = shape[-1], max(1, shape[-1] // 2)
        self.query, self.key, self.value = (
            layers.Dense(half, dtype="float32", name=name) for name in ("query", "key", "value")
        )
        self.outwards = layers.Dense(channels, kernel_initializer="zeros", dtype="float32", name="outwards")
        for layer in (self.query, self.key, self.value):
            layer.build(shape)
        self.outwards.build((*shape[:-1], half))

    def call(self, features, mask=None):
        features = as_float32(features, "features")
        counts = ops.ones_like(features[..., 0]) if mask is None else ops.cast(mask, "float32")
        key = self.key(features) * counts[..., None]
        # Keys and values first: no matrix of all pairs of positions.
        summary = ops.einsum("bpi,bpj->bij", key, self.value(features))
        summary = ops.divide_no_nan(summary, ops.sum(counts, axis=1)[:, None, None])
        related = ops.einsum("bpi,bij->bpj", self.query(features), summary)
        return features + without_padding(self.outwards(related), mask)
