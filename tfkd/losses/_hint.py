"""FitNets hints: the student's features match the teacher's."""

from collections.abc import Sequence

import keras
from keras import ops

from tfkd._core.replicas import mean_of_all
from tfkd.losses._base import Taps, as_float32
from tfkd.losses._features import FeatureLoss, Projector, as_list
from tfkd.losses._maps import matching_pair, per_example_mean


def hint(teacher, student, mask=None):
    """FitNets: mean squared difference of features.

    Reduction: mean over all axes but the first, one value per example. No temperature; symmetric.
    Where maps differ in size, the larger is average-pooled.

    Args:
        teacher: the teacher's features `(batch, ..., channels)`.
        student: the student's, with the same number of channels.
        mask: bool `(batch, positions)`, true where a position of `(batch, positions, channels)` counts;
            None for all.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the shapes cannot match.

    Example:
        >>> hint([[1.0, 2.0]], [[0.0, 0.0]])  # [2.5]

    Reference:
        Romero et al., "FitNets: Hints for Thin Deep Nets", 2015. The paper uses half the squared distance,
        summed; the mean is RepDistiller's, with weight 100. RepDistiller's regressor has batch
        normalization and a ReLU; projector=True makes a linear one.
    """
    teacher, student = matching_pair(teacher, student)
    return per_example_mean((teacher - student) ** 2, mask)


@keras.saving.register_keras_serializable(package="tfkd")
class Hint(FeatureLoss):
    """FitNets: `hint` as a distiller loss, usually in a first stage that trains up to the guided layer.

    Args:
        teacher_layer: tap of the teacher (the hint), or a list of taps, whose losses are added.
        student_layer: tap of the student (the guided layer), or as many.
        projector: see `FeatureLoss`; True trains a regressor to the teacher's width.
        channels: which of the teacher's channels are compared, a list for each pair; None for all. For a
            thinned student, `tfkd.students.kept_channels` returns them.
        relative: whether each pair's distance is divided by the mean square of the teacher's features in
            the batch, so that layers of any scale count equally; 0 if those features are all 0. Under
            `tf.distribute`, replicas exchange this one number.
        **kwargs: `across_replicas`, `name`.

    Raises:
        ValueError: if the number of channel lists differs from the number of pairs, or a projector is given
            as well.

    Example:
        >>> tfkd.Distiller(teacher, student, Hint("block2", "block2", projector=True), [100.0])

    Reference:
        Romero et al., "FitNets: Hints for Thin Deep Nets", 2015. See `hint`.
    """

    published_weight = 100.0

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        projector: Projector = None,
        channels: Sequence[Sequence[int]] | None = None,
        relative: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(teacher_layer, student_layer, projector, **kwargs)
        if channels is not None and len(channels) != len(as_list(teacher_layer)):
            raise ValueError(
                f"`channels` must be a list for each of the {len(as_list(teacher_layer))} pairs of layers. "
                f"Received: {len(channels)}."
            )
        if channels is not None and self.projector is not None:
            raise ValueError(
                "`projector` must be None if `channels` is given: the student's own channels are compared "
                f"with them. Received: projector={projector!r}."
            )
        self.channels = channels
        self.relative = relative

    def pairs(self, teacher, student, batch):
        if self.channels is not None:
            chosen = zip(as_list(teacher), self.channels, strict=True)
            teacher = [ops.take(features, channels, axis=-1) for features, channels in chosen]
        return super().pairs(teacher, student, batch)

    def compare(self, teacher, student, batch):
        distance = hint(teacher, student, batch.mask)
        if not self.relative:
            return distance
        # Padding is 0 in both.
        mean = mean_of_all if self.across_replicas else ops.mean
        share = 1.0 if batch.mask is None else mean(ops.cast(batch.mask, "float32"))
        return ops.divide_no_nan(distance * share, mean(as_float32(teacher, "teacher") ** 2))

    def get_config(self) -> dict:
        return {**super().get_config(), "channels": self.channels, "relative": self.relative}
