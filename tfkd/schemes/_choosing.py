"""Choosing a teacher by its students' results, not by its own."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfkd._core.checks import check_choice, check_int
from tfkd._core.copies import clone, fresh_metrics
from tfkd._core.seeding import seeded
from tfkd.datafree import Recipe
from tfkd.distilling import Distiller
from tfkd.distilling._compatibility import check_model
from tfkd.losses import SoftTargets
from tfkd.losses._features import as_list
from tfkd.losses._keras_losses import as_knowledge_loss
from tfkd.schemes._data_free import DataFree
from tfkd.schemes._stages import Stage, Stages
from tfkd.teachers import load_teacher


@dataclasses.dataclass(frozen=True)
class TeacherChoice:
    """The teacher whose student was best.

    Args:
        teacher: the chosen network.
        index: its index among the candidates.
        table: a row for each candidate, in order: its `"name"`, and under `"teacher"` and `"student"` the
            monitored value of the candidate itself and of the student it taught.
    """

    teacher: keras.Model
    index: int
    table: list[dict[str, Any]]

    def __str__(self) -> str:
        """The table as text, with the choice marked."""
        width = max(len(row["name"]) for row in self.table)
        lines = [f"  {'':{width}}  teacher  student"]
        for i, row in enumerate(self.table):
            sign = "*" if i == self.index else " "
            lines.append(f"{sign} {row['name']:{width}}  {row['teacher']:7.4f}  {row['student']:7.4f}")
        return "\n".join(lines)


def choose_teacher(
    candidates: Sequence[str | os.PathLike | keras.Model],
    make_student: Callable[[], keras.Model],
    x: Any = None,
    y: Any = None,
    *,
    validation_data: Any,
    loss: Any,
    epochs: int = 1,
    losses: Any = None,
    loss_weights: Sequence[float] | str | None = None,
    student_loss_weight: float | None = None,
    recipe: Recipe | None = None,
    optimizer: keras.optimizers.Optimizer | str | None = None,
    metrics: Sequence[Any] = ("accuracy",),
    monitor: str = "accuracy",
    mode: str = "max",
    seed: int = 0,
    backup_dir: str | os.PathLike | None = None,
    **kwargs,
) -> TeacherChoice:
    """Chooses the teacher whose student is best after a short distillation (ESKD).

    Each candidate trains a new student with the same initial weights. The candidate whose student has the
    best value on the validation data after the last epoch is chosen. Since the choice uses these data,
    report the final student's accuracy on others.

    Args:
        candidates: files that `tfkd.load_teacher` reads, such as those of `tfkd.callbacks.KeepEpochs`, or
            networks that return logits; at least one. Only one file at a time is in memory.
        make_student: a function that returns a new, built student each time.
        x: data, as in `keras.Model.fit`; None to train without data, by a `recipe`.
        y: labels, as in `keras.Model.fit`.
        validation_data: held-out data with labels, as in `keras.Model.fit`.
        loss: the labels' loss.
        epochs: epochs of each short distillation, at least 1.
        losses: knowledge losses, or one; each student uses copies. None for soft targets at temperature 4.
        loss_weights: as for `distillation_loss_weights` of `tfkd.Distiller`.
        student_loss_weight: weight of the labels' loss, in [0, 1]; None for 0.5, or for 0 with a recipe.
        recipe: a `tfkd.datafree` recipe, which makes the students' inputs, in addition to those in `x` or
            instead of them, and defines what they minimize; None to train on `x`.
        optimizer: a Keras optimizer, or its name; each student starts with a fresh copy. None for Adam, or
            the recipe's.
        metrics: metrics of the networks' outputs.
        monitor: name of the value that decides: "loss" or a metric's.
        mode: "max" if higher is better, "min" if lower. If students are equal, the first one's teacher is
            chosen.
        seed: int seed of the students' initial weights, unless initializers have their own seeds.
        backup_dir: folder from which the same call resumes after an interruption; None for no backup.
        **kwargs: passed to `Stages.fit`: `batch_size`, `verbose`, `callbacks` and so on.

    Returns:
        The chosen teacher, its index and the values of all candidates.

    Raises:
        TypeError: if `candidates` or `metrics` is not a list, or `make_student` not a function.
        ValueError: if there are no candidates or validation data, the value is not among those measured, no
            student has a finite one, or both `losses` and a recipe are given.

    Example:
        >>> choice = tfkd.schemes.choose_teacher(
        ...     kept.files, make_network, x, y, validation_data=held_out, loss=labels_loss
        ... )
        >>> print(choice)
        >>> tfkd.Distiller(choice.teacher, student, tfkd.losses.SoftTargets(4.0))

    Reference:
        Cho, Hariharan, "On the Efficacy of Knowledge Distillation", 2019, where teachers trained for 35 or
        50 epochs teach some students better than one trained for 200.
    """
    if isinstance(candidates, str | os.PathLike | keras.Model):
        raise TypeError(f"`candidates` must be a list of files or networks. Received: {candidates!r}.")
    if isinstance(make_student, keras.Model) or not callable(make_student):
        raise TypeError(
            "`make_student` must be a function that returns a new, built network each time. Received: "
            f"{make_student!r} of type {type(make_student)}."
        )
    if isinstance(metrics, str):
        raise TypeError(f"`metrics` must be a list, such as ['accuracy']. Received: {metrics!r}.")
    if validation_data is None:
        raise ValueError(
            "`validation_data` is missing: it is needed to compare students. Give held-out data."
        )
    candidates = list(candidates)
    if not candidates:
        raise ValueError("`candidates` is empty. Give at least one file or network.")
    check_choice("mode", mode, ("max", "min"))
    check_int("seed", seed, least=0)
    if recipe is not None and not (losses is None and loss_weights is None):
        raise ValueError(
            "`recipe` defines what students minimize, but `losses` are given, too. Leave `losses` out; the "
            "recipe takes `student_loss`, `temperature` and `features`."
        )
    table = []
    for number, candidate in enumerate(candidates):
        teacher = _as_teacher(candidate)
        with seeded(seed):
            student = make_student()
        if recipe is None:
            copies = [clone(as_knowledge_loss(each)) for each in as_list(losses or SoftTargets(4.0))]
            stage = Stage(copies, epochs, loss_weights, student_loss_weight, optimizer=optimizer or "adam")
        else:
            made_by = DataFree(recipe)
            stage = Stage(
                None, epochs, None, student_loss_weight or 0.0, optimizer=optimizer, scheme=made_by
            )
        Stages([stage], seed).fit(
            *(teacher, student, x, y),
            loss=loss,
            metrics=list(metrics),
            backup_dir=None if backup_dir is None else os.path.join(backup_dir, str(number)),
            **kwargs,
        )
        values = [
            _measured(network, loss, metrics, validation_data, kwargs.get("batch_size"), monitor)
            for network in (teacher, student)
        ]
        table.append({"name": _name(candidate), "teacher": values[0], "student": values[1]})
    index = _best([row["student"] for row in table], monitor, mode)
    return TeacherChoice(_as_teacher(candidates[index]), index, table)


def _as_teacher(candidate):
    if isinstance(candidate, (str, os.PathLike)):
        return load_teacher(candidate)
    check_model(candidate, "candidates")
    return candidate


def _name(candidate):
    return os.fspath(candidate) if isinstance(candidate, (str, os.PathLike)) else candidate.name


def _measured(network, loss, metrics, data, batch_size, monitor):
    """A value of a network on the validation data; the network's own compilation is kept."""
    judged = Distiller(None, network, [], None, 1.0)
    judged.compile("sgd", loss, fresh_metrics(list(metrics)))
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    values = judged.evaluate(
        *(x, y, batch_size),
        sample_weight=sample_weight,
        verbose=0,
        return_dict=True,
    )
    if monitor not in values:
        raise ValueError(f"`monitor` must be one of {sorted(values)}. Received: monitor={monitor!r}.")
    return float(values[monitor])


def _best(values, monitor, mode):
    """The index of the best value; values that are not finite are never the best."""
    finite = np.isfinite(values)
    if not finite.any():
        raise ValueError(
            f"No student has a finite {monitor!r} after its distillation: {values}. A lower learning rate "
            "usually helps."
        )
    values = np.asarray(values)
    return int(np.argmax(np.where(finite, values if mode == "max" else -values, -np.inf)))
