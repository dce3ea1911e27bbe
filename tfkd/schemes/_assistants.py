"""Teacher assistants: networks of intermediate size, for a teacher too large for its student."""

import itertools
import os
from collections.abc import Sequence
from typing import Any

import keras

from tfkd.compression import BridgedModel
from tfkd.distilling._compatibility import check_model
from tfkd.schemes._chain import Chain
from tfkd.students import scale_width, student_named


def assistants(
    teacher: keras.Model,
    student: keras.Model,
    sizes: Sequence[float | str | os.PathLike | keras.Model],
    losses: Any = None,
    loss_weights: Sequence[float] | str | None = None,
    student_loss_weight: float | None = None,
    *,
    temperature: float = 4.0,
    seed: int | None = None,
) -> Chain:
    """Teacher assistants (TAKD): the teacher teaches an assistant, which teaches the student.

    Args:
        teacher: a trained network; a black box works if `sizes` are networks, since only its outputs are
            used.
        student: the built final student; it is trained in place.
        sizes: sizes of the assistants, from large to small, at least one: factors of the teacher's width,
            such as 0.75; names, as for `tfkd.students.student_named`, such as "0.6deep" or "lenet5_half";
            or built networks, which are trained in place.
        losses: knowledge losses of every link, or one; each link trains copies. None for soft targets.
        loss_weights: as for `distillation_loss_weights` of `tfkd.Distiller`.
        student_loss_weight: weight of the labels' loss, in [0, 1]; None for 0.5, or 0 if a recipe makes the
            inputs.
        temperature: temperature of the soft targets if `losses` is None; above 0.
        seed: int seed of random numbers in training; None for a random one. Initial weights follow
            `keras.utils.set_random_seed`, as in Keras.

    Returns:
        A `Chain` to `fit`; its `students` are the assistants and the student.

    Raises:
        TypeError: if `sizes` is not a list.
        ValueError: if there are no sizes, an assistant has more parameters than the network that teaches it
            or fewer than the student, or networks are not compatible.

    Example:
        >>> chain = tfkd.schemes.assistants(teacher, student, sizes=[0.75, 0.5])
        >>> history = chain.fit(x, y, epochs=10, loss=labels_loss, metrics=["accuracy"], backup_dir="chain")
        >>> chain.student.save("student.keras")

    Reference:
        Mirzadeh et al., "Improved Knowledge Distillation via Teacher Assistant", 2020, who searched
        temperatures from 1 to 20. Deviation: their code also averages the divergence over the K classes;
        here it is summed over them, as in their formula. Their weight λ of the soft targets corresponds to
        `student_loss_weight = K (1 - λ) / (K (1 - λ) + λ)` here.
    """
    check_model(teacher, "teacher")
    check_model(student, "student")
    if isinstance(sizes, float | int | str | os.PathLike | keras.Model):
        raise TypeError(f"`sizes` must be a list, such as [0.5]. Received: {sizes!r}.")
    sizes = list(sizes)
    if not sizes:
        raise ValueError("`sizes` is empty. Give at least one assistant, such as sizes=[0.5].")
    # New networks have replicas where the student does.
    with student.distribute_strategy.scope():
        between = [_assistant(size, teacher) for size in sizes]
    _check_sizes([teacher, *between, student])
    return Chain(
        teacher,
        [*between, student],
        losses,
        loss_weights,
        student_loss_weight,
        temperature=temperature,
        seed=seed,
    )


def _assistant(size, teacher):
    if isinstance(size, keras.Model):
        return size
    if isinstance(size, (str, os.PathLike)):
        return student_named(size, teacher)
    return scale_width(teacher, size)


def _check_sizes(networks):
    """Raises ValueError unless sizes decrease; a black box has no known size."""
    counts = [_parameters(network) for network in networks]
    for (larger, smaller), (before, after) in zip(
        itertools.pairwise(networks), itertools.pairwise(counts), strict=True
    ):
        if before and after > before:
            named = [f"{net.name} {count:,}" for net, count in zip(networks, counts, strict=True)]
            raise ValueError(
                f"`sizes` must decrease from the teacher to the student, but {smaller.name!r} has "
                f"{after:,} parameters, more than the {before:,} of {larger.name!r}, which teaches it. "
                f"Received, in order: {', '.join(named)}. Order `sizes` from large to small, and choose "
                "them between teacher and student."
            )


def _parameters(network):
    """The weights of a network, without tfmot's additional ones."""
    plain = network.plain() if isinstance(network, BridgedModel) else None
    return (plain or network).count_params()
