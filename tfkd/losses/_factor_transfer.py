"""FT, factor transfer: the teacher's features, compressed by an autoencoder."""

import keras
from keras import layers, ops
from typing_extensions import Self

from tfkd._core.checks import check_number
from tfkd.losses._attention_transfer import attention_map
from tfkd.losses._base import KnowledgeLoss, Taps, as_float32
from tfkd.losses._features import FeatureLoss, float32_stack
from tfkd.losses._hint import hint
from tfkd.losses._maps import check_maps, flat_positions, per_example_mean, pooled_pair


def factor_transfer(teacher, student, power: float = 1.0):
    """FT: mean difference, to a power, of normalized factor strengths.

    A factor's strength is the mean over channels of the squares, divided by its Euclidean norm over
    positions. Reduction: mean over positions, one value per example. No temperature; symmetric. Where
    maps differ in size, the larger is average-pooled; channels may differ.

    Args:
        teacher: the paraphrased maps of the teacher `(batch, height, width, channels)`.
        student: the translated maps of the student.
        power: exponent of the absolute difference, at least 1.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the features have no positions or the power is below 1.

    Example:
        >>> factor_transfer(teacher_factors, student_factors)

    Reference:
        Kim, Park, Kwak, "Paraphrasing Complex Network: Network Compression via Factor Transfer", 2018, as
        in RepDistiller.
    """
    check_number("power", power, least=1)
    teacher, student = (flat_positions(maps) for maps in pooled_pair(teacher, student))
    difference = ops.abs(attention_map(teacher) - attention_map(student))
    return per_example_mean(difference if power == 1 else difference**power)


@keras.saving.register_keras_serializable(package="tfkd")
class FactorTransfer(FeatureLoss):
    """FT: `factor_transfer` as a distiller loss, with the teacher's paraphraser and a translator.

    The paraphraser is trained first, in a stage with `paraphrasing()` alone; this loss does not change it.

    Args:
        teacher_layer: tap of one layer of the teacher.
        student_layer: tap of one layer of the student.
        power: exponent of the absolute difference, at least 1.
        rate: width of the factors as a fraction of the teacher's width, above 0.
        **kwargs: `name`.

    Raises:
        ValueError: if a number is not positive, or there are several layers.

    Example:
        >>> transfer = FactorTransfer("block3", "block3")
        >>> paraphrasing = tfkd.schemes.Stage(
        ...     transfer.paraphrasing(), epochs=30, student_loss_weight=0.0, trainable=[]
        ... )
        >>> tfkd.schemes.Stages([paraphrasing, tfkd.schemes.Stage(transfer, 240, "published")])

    Reference:
        Kim, Park, Kwak, "Paraphrasing Complex Network: Network Compression via Factor Transfer", 2018. Both
        have RepDistiller's layers, except the batch normalizations in its translator.
    """

    published_weight = 200.0

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        power: float = 1.0,
        rate: float = 0.5,
        **kwargs,
    ) -> None:
        super().__init__(teacher_layer, student_layer, **kwargs)
        if self.projector is not None or not isinstance(teacher_layer, str | None):
            raise ValueError(
                "`FactorTransfer` takes one pair of layers and no projector: it has its own translator. "
                f"Received: teacher_layer={teacher_layer!r}, projector={self.projector!r}."
            )
        self.power = check_number("power", power, least=1)
        self.rate = check_number("rate", rate, above=0)

    def build(self, teacher_shape, student_shape) -> None:
        check_maps(teacher_shape, student_shape)
        factors = max(1, int(teacher_shape[-1] * self.rate))
        self.paraphraser = Paraphraser(factors, name="paraphraser")
        self.paraphraser.build(teacher_shape)
        self.translator = _convolutions(layers.Conv2D, [student_shape[-1], factors, factors])
        self.translator.build(student_shape)

    def compare(self, teacher, student, batch):
        factors = ops.stop_gradient(self.paraphraser.encoder(as_float32(teacher, "teacher")))
        translated = self.translator(as_float32(student, "student"))
        return factor_transfer(factors, translated, self.power)

    def paraphrasing(self) -> "Paraphrasing":
        """The loss that trains the paraphraser: the reconstruction error of the teacher's features."""
        return Paraphrasing(self)

    def get_config(self) -> dict:
        config = {**super().get_config(), "power": self.power, "rate": self.rate}
        del config["projector"]
        return config


@keras.saving.register_keras_serializable(package="tfkd")
class Paraphrasing(KnowledgeLoss):
    """Trains the paraphraser of a `FactorTransfer`: the mean squared error of its reconstruction.

    Args:
        transfer: the loss whose paraphraser is trained.
        **kwargs: `name`.

    Example:
        >>> paraphrasing = FactorTransfer("block3", "block3").paraphrasing()
        >>> tfkd.schemes.Stage(paraphrasing, epochs=30, student_loss_weight=0.0, trainable=[])

    Reference:
        Kim, Park, Kwak, "Paraphrasing Complex Network: Network Compression via Factor Transfer", 2018.
    """

    def __init__(self, transfer: FactorTransfer, **kwargs) -> None:
        taps = {"teacher_layer": transfer.teacher_layer, "student_layer": transfer.student_layer}
        super().__init__(**{**kwargs, **taps})
        self.transfer = transfer

    def build(self, teacher_shape, student_shape) -> None:
        if not self.transfer.built:
            self.transfer.build(teacher_shape, student_shape)

    def call(self, teacher, student):
        return hint(teacher, self.transfer.paraphraser(as_float32(teacher, "teacher")))

    def get_config(self) -> dict:
        return {"name": self.name, "transfer": keras.saving.serialize_keras_object(self.transfer)}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        transfer = keras.saving.deserialize_keras_object(config["transfer"])
        return cls(transfer, name=config["name"])


class Paraphraser(keras.Layer):
    """Convolutional autoencoder of feature maps with a bottleneck.

    Args:
        factors: channels of the bottleneck.
        **kwargs: `name`.
    """

    def __init__(self, factors: int, **kwargs) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.factors = factors

    def build(self, shape: tuple) -> None:
        self.encoder = _convolutions(layers.Conv2D, [shape[-1], self.factors, self.factors])
        self.decoder = _convolutions(layers.Conv2DTranspose, [self.factors, shape[-1], shape[-1]])
        self.encoder.build(shape)
        self.decoder.build((*shape[:-1], self.factors))

    def call(self, features):
        return self.decoder(self.encoder(features))


def _convolutions(kind, widths):
    """3x3 convolutions, each with a leaky ReLU."""
    stack = []
    for width in widths:
        stack += [
            kind(width, 3, padding="same", dtype="float32"),
            layers.LeakyReLU(0.1, dtype="float32"),
        ]
    return float32_stack(stack)
