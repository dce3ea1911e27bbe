"""MGD, masked generative distillation: the teacher's features generated from masked ones."""

import keras
from keras import layers, ops

from tfkd._core.checks import check_number
from tfkd.losses._base import Taps
from tfkd.losses._features import FeatureLoss, Projector, float32_stack, shape_list
from tfkd.losses._maps import check_maps, matching_pair


def masked_generative(teacher, generated):
    """MGD: squared distance of the teacher's features from those generated out of masked ones.

    Reduction: summed over all axes but the first, one value per example; the mean is the published value.
    No temperature; symmetric. Where maps differ in size, the larger is average-pooled.

    Args:
        teacher: the teacher's features `(batch, ..., channels)`.
        generated: the output of the generation block for the student's masked features, with the same
            number of channels.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the shapes cannot match.

    Example:
        >>> masked_generative([[1.0, 2.0]], [[0.0, 0.0]])  # [5.0]

    Reference:
        Yang et al., "Masked Generative Distillation", 2022.
    """
    teacher, generated = matching_pair(teacher, generated)
    return ops.sum((teacher - generated) ** 2, axis=tuple(range(1, len(generated.shape))))


@keras.saving.register_keras_serializable(package="tfkd")
class MaskedGenerative(FeatureLoss):
    """MGD: `masked_generative` as a distiller loss, with a trained generation block.

    Random positions of the student's maps are set to 0 in all channels; two 3x3 convolutions with a ReLU
    between them generate the teacher's maps from the rest.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, whose losses are added.
        student_layer: tap of the student, or a list of the same length.
        masked: probability that a position is masked (lambda), at least 0 and below 1.
        projector: see `FeatureLoss`.
        seed: int seed of the masks; None for a random one.
        **kwargs: `name`.

    Raises:
        ValueError: if the probability is out of its range; when the loss is built, if features are not
            maps.

    Example:
        >>> mgd = MaskedGenerative("block3", "block3", projector=True)
        >>> tfkd.Distiller(teacher, student, mgd, "published")

    Reference:
        Yang et al., "Masked Generative Distillation", 2022. Weight (alpha) and probability are the paper's
        for classification; for one-stage detectors it uses 2e-5 and 0.65. The authors' code for
        classification masks whole channels instead, with probability 0.15.
    """

    published_weight = 7e-5

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        masked: float = 0.5,
        projector: Projector = None,
        seed: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(teacher_layer, student_layer, projector, **kwargs)
        self.masked = check_number("masked", masked, least=0, below=1)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.generators: list[keras.Layer] = []

    def build(self, teacher_shape, student_shape) -> None:
        shapes = list(zip(shape_list(teacher_shape), shape_list(student_shape), strict=True))
        for pair in shapes:
            check_maps(*pair)
        super().build(teacher_shape, student_shape)
        for teacher, _ in shapes:
            generator = _generation_block(teacher[-1])
            generator.build(teacher)
            self.generators.append(generator)

    def compare_pairs(self, pairs):
        total = 0.0
        for (teacher, student, batch), generator in zip(pairs, self.generators, strict=True):
            teacher, student = matching_pair(teacher, student)
            kept = self._kept(student, batch.training)
            total += masked_generative(teacher, generator(student * kept))
        return total

    def _kept(self, maps, training):
        """`(batch, height, width, 1)`, 0 at masked positions; evaluation always masks the same ones."""
        shape = (*ops.shape(maps)[:3], 1)
        drawn = keras.random.uniform(shape, seed=0 if training is False else self.seed_generator)
        return ops.cast(drawn >= self.masked, "float32")

    def get_config(self) -> dict:
        return {**super().get_config(), "masked": self.masked, "seed": self.seed}


def _generation_block(channels):
    options = {"padding": "same", "dtype": "float32"}
    first = layers.Conv2D(channels, 3, activation="relu", **options)
    return float32_stack([first, layers.Conv2D(channels, 3, **options)], "generation")
