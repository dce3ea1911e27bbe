"""ICKD, inter-channel correlation: how similar channels are, per example."""

from collections.abc import Sequence

import keras
from keras import ops

from tfkd._core.checks import check_int
from tfkd.losses._base import Taps, as_float32
from tfkd.losses._features import FeatureLoss, Projector, normalized_projector
from tfkd.losses._maps import check_maps, flat_positions, l2_normalized, matching_pair, without_padding


def inter_channel_correlation(teacher, student, grid: Sequence[int] = (1, 1), mask=None):
    """ICKD: squared difference of the channels' correlation matrices with normalized rows.

    The matrix holds the inner products of all pairs of channels over positions; each row is divided by its
    Euclidean norm. Reduction: summed over the matrix, divided by the number of channels, mean over patches,
    one value per example. No temperature; symmetric. Where maps differ in size, the larger is
    average-pooled.

    Args:
        teacher: the teacher's maps `(batch, height, width, channels)` or `(batch, steps, channels)`.
        student: the student's, with the same number of channels.
        grid: rows and columns of patches, each with its own matrix, for dense predictions; they must divide
            height and width. (1, 1) for whole maps.
        mask: bool `(batch, positions)`, true where a position of `(batch, positions, channels)` counts;
            None for all.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the shapes cannot match, or the grid does not divide the maps.

    Example:
        >>> inter_channel_correlation([[[1.0, 1.0]]], [[[1.0, 0.0]]])  # [0.7928...]

    Reference:
        Liu et al., "Exploring Inter-Channel Correlation for Diversity-preserved Knowledge Distillation",
        2021. As in the authors' code, which the published weight belongs to; the paper's formula does not
        normalize the rows and divides by the square of the number of channels. A row of zeros stays 0.
    """
    teacher, student = matching_pair(teacher, student)
    cells = [_cells(maps, *grid) for maps in (teacher, student)]
    values = 0.0
    for t, s in zip(*cells, strict=True):
        t, s = (_correlations(without_padding(flat_positions(maps), mask)) for maps in (t, s))
        values += ops.sum((t - s) ** 2, axis=(1, 2))
    return values / (teacher.shape[-1] * len(cells[0]))


def _cells(maps, rows, columns):
    """The patches of maps; whole maps for a grid of (1, 1)."""
    if (rows, columns) == (1, 1):
        return [maps]
    check_maps(maps.shape, maps.shape)
    height, width = maps.shape[1:3]
    if None in (height, width) or height % rows or width % columns:
        raise ValueError(
            f"`grid` must divide the maps' height and width. Received: grid={(rows, columns)}, maps of "
            f"shape {tuple(maps.shape)}. Choose divisors, or (1, 1) for whole maps."
        )
    return [cell for row in ops.split(maps, rows, axis=1) for cell in ops.split(row, columns, axis=2)]


def _correlations(features):
    """`(batch, channels, channels)` of features `(batch, positions, channels)`."""
    features = as_float32(features, "features")
    return l2_normalized(ops.einsum("bpi,bpj->bij", features, features), axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class InterChannelCorrelation(FeatureLoss):
    """ICKD: `inter_channel_correlation` as a distiller loss.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, whose losses are added.
        student_layer: tap of the student, or a list of the same length.
        grid: rows and columns of patches, for dense predictions; (1, 1) for whole maps.
        projector: see `FeatureLoss`; None or True for a 1x1 convolution to the teacher's width, with batch
            normalization.
        **kwargs: `name`.

    Raises:
        ValueError: if the grid is not two integers of at least 1.

    Example:
        >>> tfkd.Distiller(teacher, student, InterChannelCorrelation("block3", "block3"), "published")

    Reference:
        Liu et al., "Exploring Inter-Channel Correlation for Diversity-preserved Knowledge Distillation",
        2021. See `inter_channel_correlation`.
    """

    published_weight = 2.5

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        grid: Sequence[int] = (1, 1),
        projector: Projector = None,
        **kwargs,
    ) -> None:
        super().__init__(teacher_layer, student_layer, projector or True, **kwargs)
        rows, columns = grid
        self.grid = [check_int("grid", rows), check_int("grid", columns)]

    def make_projector(self, channels: int, rank: int) -> keras.Layer:
        return normalized_projector(channels, rank)

    def compare(self, teacher, student, batch):
        return inter_channel_correlation(teacher, student, self.grid, batch.mask)

    def get_config(self) -> dict:
        return {**super().get_config(), "grid": self.grid}
