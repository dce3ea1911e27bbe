"""ReviewKD, knowledge review: fused student stages match the teacher's at several scales."""

import keras
from keras import layers, ops

from tfkd._core.checks import check_int
from tfkd.losses._base import Taps
from tfkd.losses._features import FeatureLoss, float32_stack, shape_list
from tfkd.losses._maps import average_pool_to, check_maps, matching_pair, per_example_mean

_GRIDS = (4, 2, 1)


def review_kd(teacher, student):
    """ReviewKD: mean squared difference of maps, also pooled to 4x4, 2x2 and 1x1 with halving weights.

    Divided by the sum of the weights; grids not smaller than the map are skipped. Reduction: mean over all
    axes but the first, one value per example. No temperature; symmetric.

    Args:
        teacher: the teacher's maps `(batch, height, width, channels)`.
        student: the student's, with the same number of channels; the larger map is average-pooled first.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the shapes cannot match.

    Example:
        >>> review_kd(teacher_maps, student_maps)

    Reference:
        Chen et al., "Distilling Knowledge via Knowledge Review", 2021, the hierarchical context loss
        (HCL).
    """
    teacher, student = matching_pair(as_maps(teacher), as_maps(student))
    total, weight, weights = per_example_mean((teacher - student) ** 2), 1.0, 1.0
    for grid in _GRIDS:
        if grid >= teacher.shape[1]:
            continue
        weight /= 2
        weights += weight
        pooled = [average_pool_to(maps, grid, min(grid, maps.shape[2])) for maps in (teacher, student)]
        total += weight * per_example_mean((pooled[0] - pooled[1]) ** 2)
    return total / weights


def as_maps(features):
    """Embeddings `(batch, channels)` as maps of one pixel; maps stay."""
    features = ops.convert_to_tensor(features)
    return features[:, None, None, :] if len(features.shape) == 2 else features


# Registered under its old name, for files saved earlier.
@keras.saving.register_keras_serializable(package="tfkd", name="Review")
class ReviewKD(FeatureLoss):
    """ReviewKD: `review_kd` of fused student stages, as a distiller loss.

    From the deepest stage up, each stage of the student is fused by attention with the result of the deeper
    stages, and compared with the teacher's stage (ABF).

    Args:
        teacher_layer: taps of the teacher's stages, from shallow to deep; embeddings of rank 2 count as
            maps of one pixel.
        student_layer: the same number from the student.
        width: number of channels in which stages are fused; None for the channels of the student's deepest
            stage, at most 512.
        **kwargs: `name`.

    Raises:
        ValueError: if the numbers of layers differ.

    Example:
        >>> stages = ["stage1", "stage2", "stage3"]
        >>> tfkd.Distiller(teacher, student, ReviewKD(stages, stages))

    Reference:
        Chen et al., "Distilling Knowledge via Knowledge Review", 2021. Published with weight 5 on CIFAR, 1
        on ImageNet, and a warm-up of 20 epochs: `tfkd.callbacks.WeightSchedule(warm_up=20)`.
    """

    def __init__(
        self, teacher_layer: Taps, student_layer: Taps, width: int | None = None, **kwargs
    ) -> None:
        super().__init__(teacher_layer, student_layer, **kwargs)
        if self.projector is not None:
            raise ValueError(
                "`ReviewKD` takes no `projector`: its fusion brings the student's stages to the teacher's "
                "widths. Leave it out."
            )
        self.width = width if width is None else check_int("width", width)
        self.fusions: list[Fusion] = []

    def build(self, teacher_shape, student_shape) -> None:
        shapes = [shape_list(shape) for shape in (teacher_shape, student_shape)]
        teachers, students = ([(s[0], 1, 1, s[1]) if len(s) == 2 else s for s in side] for side in shapes)
        for pair in zip(teachers, students, strict=True):
            check_maps(*pair)
        width = self.width or min(512, students[-1][-1])
        deepest = len(students) - 1
        self.fusions = [Fusion(width, t[-1], fuse=i < deepest) for i, t in enumerate(teachers)]
        for fusion, shape in zip(self.fusions, students, strict=True):
            fusion.build(shape)

    def compare_pairs(self, pairs):
        carried, total = None, 0.0
        for (t, s, batch), fusion in zip(reversed(pairs), reversed(self.fusions), strict=True):
            t, s = as_maps(t), ops.cast(as_maps(s), "float32")
            output, carried = fusion(s, carried, size=t.shape[1:3], training=batch.training)
            total += review_kd(t, output)
        return total

    def get_config(self) -> dict:
        config = {**super().get_config(), "width": self.width}
        del config["projector"]
        return config


class Fusion(keras.Layer):
    """Attention-based fusion of one stage with the result of the deeper stages.

    Args:
        width: channels of the fused features.
        channels: channels of the output.
        fuse: whether there is a deeper stage to fuse.
        **kwargs: `name`.
    """

    def __init__(self, width: int, channels: int, fuse: bool, **kwargs) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.width, self.channels, self.fuse = width, channels, fuse
        self.inwards, self.outwards = _convolution(width, 1), _convolution(channels, 3)
        self.attention = layers.Conv2D(2, 1, activation="sigmoid", dtype="float32") if fuse else None

    def build(self, shape: tuple) -> None:
        self.inwards.build(shape)
        self.outwards.build((*shape[:-1], self.width))
        if self.attention is not None:
            self.attention.build((*shape[:-1], 2 * self.width))

    def call(self, stage, carried, size, training: bool | None = None):
        stage = self.inwards(stage, training=training)
        if self.attention is not None:
            carried = _nearest(carried, stage.shape[1:3])
            share = self.attention(ops.concatenate([stage, carried], axis=-1))
            stage = stage * share[..., :1] + carried * share[..., 1:]
        stage = _nearest(stage, size)
        return self.outwards(stage, training=training), stage


def _convolution(channels, kernel):
    return float32_stack(
        [
            layers.Conv2D(channels, kernel, padding="same", use_bias=False, dtype="float32"),
            layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype="float32"),
        ]
    )


def _nearest(maps, size):
    """Nearest-neighbour resizing of maps."""
    for axis, wanted in zip((1, 2), size, strict=True):
        now = maps.shape[axis]
        if now != wanted:
            # Not a resize op: XLA has no gradient for it.
            maps = ops.take(maps, [i * now // wanted for i in range(wanted)], axis=axis)
    return maps
