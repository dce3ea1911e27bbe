"""VID, variational information distillation: predicting the teacher's features."""

import math

import keras
from keras import layers, ops

from tfkd._core.checks import check_number
from tfkd.losses._base import Taps, as_float32
from tfkd.losses._features import FeatureLoss, Projector, float32_stack, shape_list
from tfkd.losses._maps import matching_pair, per_example_mean

_EPSILON = 1e-5


def variational_information(teacher, mean, variance, mask=None):
    """VID: negative log-likelihood of the teacher's features under a Gaussian, without its constant.

    Reduction: mean over all axes but the first, one value per example. No temperature. Where maps
    differ in size, the larger is average-pooled. Can be negative.

    Args:
        teacher: the teacher's features `(batch, ..., channels)`.
        mean: the Gaussian's mean, predicted from the student, with the same number of channels.
        variance: above 0, `(channels,)` or of the mean's shape.
        mask: bool `(batch, positions)`, true where a position of `(batch, positions, channels)` counts;
            None for all.

    Returns:
        A float32 tensor `(batch,)`.

    Raises:
        ValueError: if the shapes cannot match.

    Example:
        >>> variational_information([[1.0, 2.0]], [[0.0, 2.0]], [1.0, 1.0])  # [0.25]

    Reference:
        Ahn et al., "Variational Information Distillation for Knowledge Transfer", 2019.
    """
    teacher, mean = matching_pair(teacher, mean)
    variance = as_float32(variance, "variance")
    return per_example_mean(0.5 * ((teacher - mean) ** 2 / variance + ops.log(variance)), mask)


@keras.saving.register_keras_serializable(package="tfkd")
class VariationalInformation(FeatureLoss):
    """VID: `variational_information` as a distiller loss, with trained regressors and variances.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, whose losses are added.
        student_layer: tap of the student, or a list of the same length.
        initial_variance: initial variance of every channel, above 1e-5.
        projector: predicts the mean from the student's features; None or True for three 1x1 convolutions
            with ReLUs between, or see `FeatureLoss`.
        **kwargs: `name`.

    Raises:
        ValueError: if the variance is out of its range.

    Example:
        >>> tfkd.Distiller(teacher, student, VariationalInformation("block3", "block3"))

    Reference:
        Ahn et al., "Variational Information Distillation for Knowledge Transfer", 2019, as in RepDistiller,
        which pools larger student maps before the regressor; here they are pooled after it.
    """

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        initial_variance: float = 5.0,
        projector: Projector = None,
        **kwargs,
    ) -> None:
        super().__init__(teacher_layer, student_layer, projector or True, **kwargs)
        self.initial_variance = check_number("initial_variance", initial_variance, above=_EPSILON)
        self.log_scales: list = []

    def build(self, teacher_shape, student_shape) -> None:
        super().build(teacher_shape, student_shape)
        start = math.log(math.expm1(self.initial_variance - _EPSILON))
        self.log_scales = [
            self.add_weight(
                shape=(shape[-1],),
                initializer=keras.initializers.Constant(start),
                name=f"log_scale_{i}",
            )
            for i, shape in enumerate(shape_list(teacher_shape))
        ]

    def make_projector(self, channels: int, rank: int) -> keras.Layer:
        convolution = (layers.Conv2D, {"kernel_size": 1}) if rank == 4 else (layers.Dense, {})
        kind, options = convolution
        options = {**options, "use_bias": False, "dtype": "float32"}
        hidden = [kind(channels, activation="relu", **options) for _ in range(2)]
        return float32_stack([*hidden, kind(channels, **options)], "regressor")

    def compare_pairs(self, pairs):
        return sum(
            variational_information(t, s, ops.softplus(scale) + _EPSILON, batch.mask)
            for (t, s, batch), scale in zip(pairs, self.log_scales, strict=True)
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "initial_variance": self.initial_variance}
