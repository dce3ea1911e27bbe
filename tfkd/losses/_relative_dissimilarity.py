"""Relative dissimilarity: which of two examples is closer to a third, by teachers' votes."""

from collections.abc import Sequence

import keras
from keras import ops

from tfkd._core.checks import check_int, check_number
from tfkd.losses._base import KnowledgeLoss, Taps
from tfkd.losses._features import as_list
from tfkd.losses._maps import without_padding
from tfkd.losses._relational import geometry
from tfkd.losses._relations import example_mean, example_weights, flat_pair, per_row


def relative_dissimilarity(
    teachers: Sequence, student, margin: float = 0.1, triplets=None, sample_weight=None
):
    """Hinge loss on the student's triplet distances, in the order that most teachers give.

    For examples i, j, k and Euclidean distances d, each teacher votes for the smaller of d(i, j) and d(i,
    k). If most vote for d(i, j), the value is max(0, d(i, j) - d(i, k) + margin) in the student's
    distances. Triplets without a majority do not count, nor do those with two examples that are equal for
    all teachers. Reduction: mean over the triplets that count; a scalar, 0 if none does. No temperature;
    distances are not scaled; widths may differ. Memory grows with the cube of the batch, 8 MiB for each
    network at 128 examples, or with the number of given triplets.

    Args:
        teachers: the representations `(batch, ...)` of each teacher.
        student: the student's `(batch, ...)`.
        margin: how clearly the order must be kept, in units of the student's distances, at least 0.
        triplets: int `(n, 3)`, indices i, j, k in the batch; None for all triplets of the batch.
        sample_weight: `(batch,)`; an example of weight w counts as w copies.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: if there is no teacher, batches differ, or the margin is negative.

    Example:
        >>> relative_dissimilarity([first_embeddings, second_embeddings], student_embeddings)

    Reference:
        You, Xu, Xu, Tao, "Learning from Multiple Teacher Networks", 2017. The default margin, the mean over
        triplets and ignoring ties are choices of this project. Averaged soft targets, which the paper adds,
        are `tfkd.losses.WeightedTeachers(tfkd.losses.SoftTargets(temperature), ...)`: the weighted sum of
        the cross-entropies equals the cross-entropy with the mean, so the gradients are the published ones.
    """
    check_number("margin", margin, least=0)
    if not len(teachers):
        raise ValueError("`teachers` is empty. Give at least one teacher's representations.")
    pairs = [flat_pair(teacher, student) for teacher in teachers]
    weights = example_weights(sample_weight, pairs[0][1])
    distances = [geometry(teacher)[1] for teacher, _ in pairs]
    first, second = zip(*(_edges(each, triplets) for each in distances), strict=True)
    votes = sum(ops.sign(ik - ij) for ij, ik in zip(first, second, strict=True))
    apart = ops.logical_and(sum(first) > 0, sum(second) > 0)
    order = ops.where(apart, ops.sign(votes), 0.0)
    near, far = _edges(geometry(pairs[0][1])[1], triplets)
    values = ops.relu(order * (near - far) + margin)
    counted = ops.abs(order) * _triplet_weights(weights, triplets)
    return example_mean(values, counted)


def _edges(distances, triplets):
    """The distances d(i, j) and d(i, k) of the triplets, in shapes that broadcast."""
    if triplets is None:
        return distances[:, :, None], distances[:, None, :]
    i, j, k = ops.unstack(triplets, axis=1)
    n = ops.shape(distances)[0]
    flat = ops.reshape(distances, (-1,))
    return ops.take(flat, i * n + j), ops.take(flat, i * n + k)


def _triplet_weights(weights, triplets):
    if triplets is None:
        return ops.einsum("i,j,k->ijk", weights, weights, weights)
    return ops.prod(ops.take(weights, triplets, axis=0), axis=1)


@keras.saving.register_keras_serializable(package="tfkd")
class RelativeDissimilarity(KnowledgeLoss):
    """`relative_dissimilarity` as a distiller loss with several teachers.

    Args:
        teacher_layer: the tap of each teacher's representations, such as `["first/pool", "second/pool"]` in
            a `tfkd.schemes.EnsembleTeacher`; one tap for one teacher.
        student_layer: the student's tap.
        margin: how clearly the order must be kept, in units of the student's distances, at least 0.
        triplets: number of triplets drawn from each batch, uniformly with replacement, at least 1; None for
            all, whose memory grows with the cube of the batch.
        seed: int seed of the draws; None for a random one.
        **kwargs: `across_replicas`, `name`.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> loss = RelativeDissimilarity(["first/pool", "second/pool"], "pool", triplets=10_000)
        >>> distiller = tfkd.Distiller(ensemble, student, loss)

    Reference:
        You, Xu, Xu, Tao, "Learning from Multiple Teacher Networks", 2017. See `relative_dissimilarity`.
    """

    over_batch = True

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        margin: float = 0.1,
        triplets: int | None = None,
        seed: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(teacher_layer, student_layer, **kwargs)
        self.margin = check_number("margin", margin, least=0)
        self.triplets = None if triplets is None else check_int("triplets", triplets)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, teacher, student, mask=None, sample_weight=None):
        teachers = as_list(teacher)
        masks = mask if isinstance(mask, list) else [mask] * len(teachers)
        own = masks[0] if len(student.shape) == 3 else None
        weights = None if sample_weight is None else per_row(sample_weight, 1, own)
        pairs = zip(teachers, masks, strict=True)
        return relative_dissimilarity(
            [without_padding(t, m) if len(t.shape) == 3 else t for t, m in pairs],
            without_padding(student, own),
            self.margin,
            self._drawn(student),
            weights,
        )

    def _drawn(self, student):
        if self.triplets is None:
            return None
        examples = ops.shape(student)[0]
        places = keras.random.uniform((self.triplets, 3), seed=self.seed_generator)
        places = ops.cast(places * ops.cast(examples, "float32"), "int32")
        # A number just below 1 may round up to the batch size.
        return ops.minimum(places, examples - 1)

    def get_config(self) -> dict:
        own = {"margin": self.margin, "triplets": self.triplets, "seed": self.seed}
        return {**super().get_config(), **own}
