"""Generations: networks of one kind, each taught by the previous one."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfkd._core.checks import check_int
from tfkd._core.copies import remade
from tfkd._core.graphs import copy_input_statistics, has_graph, trainable_config
from tfkd.distilling._compatibility import check_model
from tfkd.schemes._chain import Chain


def generations(
    teacher: keras.Model | None,
    make_student: Callable[[], keras.Model] | None = None,
    n: int = 3,
    losses: Any = None,
    loss_weights: Sequence[float] | str | None = None,
    student_loss_weight: float | None = None,
    *,
    temperature: float = 1.0,
    tolerance: float = 0.0,
    k: int = 3,
    seed: int | None = None,
) -> Chain:
    """Born-again networks (BAN): each generation is taught by the previous one, often surpassing it.

    All generations are available afterwards, for instance to average them. With a `tolerance`, the first
    teacher is trained to leave probability to classes that resemble the right one.

    Args:
        teacher: a trained network; a black box works with `make_student`, since only its outputs are used.
            None to first train a network from `make_student` on labels.
        make_student: a function that returns a new, built network each time; None for newly initialized
            networks of the teacher's architecture.
        n: number of generations taught by a teacher, at least 1.
        losses: knowledge losses of every generation, or one; each trains copies. None for soft targets.
        loss_weights: as for `distillation_loss_weights` of `tfkd.Distiller`.
        student_loss_weight: weight of the labels' loss if there is a teacher, in [0, 1]; None for 0.5, or 0
            if a recipe makes the inputs.
        temperature: temperature of the soft targets if `losses` is None; above 0.
        tolerance: weight of `tfkd.losses.ScoreDifference` in training the first teacher, at least 0; it and
            the labels' loss each count by half. 0 for labels alone.
        k: how many of the highest class probabilities `ScoreDifference` compares, at least 2.
        seed: int seed of random numbers in training; None for a random one. Initial weights follow
            `keras.utils.set_random_seed`, as in Keras.

    Returns:
        A `Chain` to `fit`; its `students` are the generations, preceded by the first teacher if that is
        also trained.

    Raises:
        ValueError: if `n` is below 1, there is neither a teacher nor `make_student`, the teacher's
            architecture cannot be rebuilt, or `tolerance` is given with a trained teacher.

    Example:
        >>> chain = tfkd.schemes.generations(None, make_network, n=2, tolerance=0.5)
        >>> history = chain.fit(x, y, epochs=10, loss=labels_loss, metrics=["accuracy"], backup_dir="chain")
        >>> chain.student.save("student.keras")

    Reference:
        Furlanello et al., "Born Again Neural Networks", 2018: labels and soft targets at temperature 1,
        here with equal weights. Yang et al., "Training Deep Neural Networks in Generations: A More Tolerant
        Teacher Educates Better Students", 2018, for `tolerance`.
    """
    check_int("n", n, remedy="`n` is the number of generations that are taught.")
    if teacher is not None:
        check_model(teacher, "teacher")
    if make_student is None:
        make = _like(teacher)
    elif callable(make_student) and not isinstance(make_student, keras.Model):
        make = make_student
    else:
        raise TypeError(
            "`make_student` must be a function that returns a new network each time. Received: "
            f"{make_student!r} of type {type(make_student)}. For networks like the teacher, use None."
        )
    return Chain(
        teacher,
        [make() for _ in range(n if teacher is not None else n + 1)],
        losses,
        loss_weights,
        student_loss_weight,
        temperature=temperature,
        tolerance=tolerance,
        k=k,
        seed=seed,
    )


def _like(teacher):
    """A function that makes newly initialized networks of a teacher's architecture."""
    if teacher is None:
        raise ValueError(
            "`make_student` is missing: without a teacher there is no architecture to copy. Give a "
            "function that returns a new network each time."
        )
    if not has_graph(teacher):
        raise ValueError(
            f"`make_student` is missing: {teacher.name!r} of type {type(teacher)} is neither functional "
            "nor a built Sequential model, so its architecture cannot be rebuilt. Give a function that "
            "returns a new network each time."
        )

    numbers = itertools.count(1)

    def make():
        student = keras.models.clone_model(
            teacher,
            clone_function=lambda layer: remade(layer, trainable_config(layer)),
            recursive=True,
        )
        student.trainable, student.name = True, f"{teacher.name}_{next(numbers)}"
        copy_input_statistics(teacher, student)
        return student

    return make
