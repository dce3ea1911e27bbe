"""distil_with_data: distils teachers on data into a student and its TFLite file."""

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfkd._core import progress
from tfkd._core.checks import check_int, check_number
from tfkd._core.graphs import copy_weights
from tfkd.callbacks import KeepLastGood
from tfkd.losses import KnowledgeLoss
from tfkd.pipelines._boards import training_curves
from tfkd.pipelines._by_name import losses_named, optimizer_named
from tfkd.pipelines._course import Course, Taught
from tfkd.pipelines._data_of_run import load_data_of_run
from tfkd.pipelines._evaluation import check_better_than_chance
from tfkd.pipelines._machine import device, versions
from tfkd.pipelines._networks import Source, as_student, as_teacher, named
from tfkd.pipelines._progress import ShownProgress
from tfkd.pipelines._requirements import check_labels, check_outputs
from tfkd.pipelines._result_files import read, write
from tfkd.pipelines._results import Distilled
from tfkd.pipelines._run_folder import RunFolder
from tfkd.pipelines._saving import FolderCheck
from tfkd.pipelines._scheme import Scheme
from tfkd.pipelines._scheme_inputs import check_needs
from tfkd.pipelines._schemes import SCHEMES, scheme_named
from tfkd.pipelines._settings import Request, teller
from tfkd.pipelines._taught_outcome import TaughtOutcome
from tfkd.pipelines._team import Team
from tfkd.pipelines._training_log import TrainingLog
from tfkd.tasks import task_of

Data = str | os.PathLike | tuple[np.ndarray, np.ndarray]


def distil_with_data(
    teacher: Source | Sequence[Source] | None = None,
    students: Source | Sequence[Source] | None = None,
    scheme: str = "distil",
    *,
    training_data: Data,
    scheme_options: Mapping[str, Any] | Sequence[str] | None = None,
    losses: str | KnowledgeLoss | Sequence[str | KnowledgeLoss] | None = None,
    loss_weights: Sequence[float] | str | None = None,
    student_loss_weight: float | None = None,
    teacher_options: Mapping[str, Any] | None = None,
    inherit: bool = False,
    validation_split: float = 0.1,
    unlabelled_data: str | os.PathLike | np.ndarray | None = None,
    epochs: int = 10,
    batch_size: int = 128,
    optimizer: str = "adam",
    learning_rate: float = 1e-3,
    seed: int = 0,
    evaluation_data: Data | None = None,
    tflite: str | None = "int8",
    min_agreement: float = 0.9,
    labels: Sequence[str] | None = None,
    folder: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    jit_compile: bool | str = "auto",
    strategy: tf.distribute.Strategy | None = None,
    verbose: int = 0,
    flags: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> Distilled | None:
    """Trains a student on data by a scheme of `tfkd.schemes`, and makes its TFLite file.

    This is the function behind the program `tfkd-distill`. A fraction of the training data is held out for
    validation after every epoch, for choices that a scheme makes, and for checking the TFLite file.
    `evaluation_data` is used only at the end.

    `seed` also seeds Keras, NumPy and Python, like `keras.utils.set_random_seed`. A resumed run ends with
    the same weights on the same machine.

    Args:
        teacher: a file or a Keras model, as for `tfkd.load_teacher`; several for the scheme "ensemble";
            None if the scheme needs none.
        students: a Keras model, which is trained in place, or an argument of `tfkd.students.student_named`;
            several for "mutual". None for "0.5x", or in "generations" for networks like the teacher.
        scheme: "distil", "mutual", "self", "ensemble", "assistants", "generations", "eskd" or
            "noisy_student".
        training_data: inputs and labels; an npz file with `x_train` and `y_train`; a folder with one folder
            of images per class, in the order of `labels` if these are their names, otherwise sorted; or a
            TFRecord file, or a pattern of such files, whose examples have "image" or "image/encoded" and
            "label" or "image/class/label". Images are resized to the network's size and scaled to [0, 1].
        scheme_options: options of the scheme by name, or `key=value` strings.
        losses: distillation losses; or their names in snake case, with options after colons, such as
            "soft_targets:temperature=4,hint:teacher_layer=conv2:student_layer=conv2", or JSON. None for the
            scheme's.
        loss_weights: one for each loss, or "published"; None for the scheme's.
        student_loss_weight: weight of the labels' loss, in [0, 1]; None for the scheme's.
        teacher_options: arguments of `tfkd.load_teacher`, such as `{"input_range": (0, 255)}`.
        inherit: whether to initialize scaled students ("0.5x") from the teacher's weights.
        validation_split: fraction of the training data to hold out, above 0 and below 1.
        unlabelled_data: more inputs for "noisy_student": an array, an npz file with `x_train`, a folder of
            images, or TFRecord files.
        epochs: number of epochs for each trained network.
        batch_size: examples in an update.
        optimizer: a Keras optimizer by name, with options after colons: "sgd:momentum=0.9".
        learning_rate: peak learning rate, above 0; warm-up over the first 5 % of updates, then cosine
            decay.
        seed: int seed of all randomness.
        evaluation_data: like `training_data`, with `x_test` and `y_test` in an npz file: for evaluation
            only. If it takes more than 2 GiB, a sample is used.
        tflite: kind of TFLite file, one of `tfkd.export.QUANTIZATIONS`; None for none.
        min_agreement: fraction of held-out inputs, in [0, 1], on which the file must agree with the
            student; otherwise the result has the next best kind of file that does, and `problem` says why.
        labels: names of the classes in order, to store in the file; None for the names of the training
            data's folders.
        folder: where to write `student.keras`, `student.tflite`, `metrics.json`, `report.html`,
            `MODEL_CARD.md`, `model_card.json`, `calibration.npz` from training inputs
            (`tfkd.export.read_calibration`), TensorBoard's events and, if a scheme trains several networks,
            `students`; None to write nothing.
        resume: whether to continue an interrupted run in `folder`; it ends with the same weights.
        overwrite: whether to replace a run in `folder`.
        jit_compile: as for `tfkd.Distiller.compile`.
        strategy: a `tf.distribute` strategy under which copies of the networks train; None for one device.
            For the schemes "distil" and "eskd". Each batch is divided among the replicas. With several
            workers, only the chief measures, prints and writes; each other worker keeps what it needs to
            resume in `state` within its `folder`.
        verbose: 0 prints nothing.
        flags: values of all flags of the command line, for the records; None if there was none.
        command: the command line itself, or None.

    Returns:
        A `Distilled`; None in a worker that is not the chief.

    Raises:
        FileNotFoundError: if a file does not exist.
        ImportError: if a package for files or reports is not installed.
        RuntimeError: if another worker has ended.
        ValueError: if an argument is invalid, something the scheme needs is missing, another run is writing
            to the folder, or the teacher is no better than chance.
        OSError: if the folder cannot be written, or is removed during the run.

    Example:
        >>> distilled = tfkd.pipelines.distil_with_data(
        ...     "teacher.keras", "0.5x", training_data=(x, y), losses="soft_targets:temperature=4"
        ... )
        >>> options = {"sizes": ("0.5x",)}
        >>> assisted = tfkd.pipelines.distil_with_data(
        ...     "teacher.keras", "0.25x", "assistants", training_data="train.npz", scheme_options=options
        ... )
    """
    request = Request(distil_with_data, locals())
    team = Team(strategy)
    verbose = verbose if team.is_chief else 0
    start, say = time.perf_counter(), teller(verbose)
    chosen_scheme, knowledge = scheme_named(scheme, scheme_options), losses_named(losses)
    check_int("epochs", epochs)
    check_int("batch_size", batch_size)
    optimizer_named(optimizer, check_number("learning_rate", learning_rate, above=0))
    check_number("min_agreement", min_agreement, least=0, most=1)
    check_outputs(tflite, folder)
    if resume and folder is None:
        raise ValueError("`resume` needs the `folder` of the interrupted run.")
    teachers, wanted = _listed(teacher), _listed(students)
    check_needs(
        scheme, chosen_scheme, teachers, wanted, unlabelled_data, student_loss_weight=student_loss_weight
    )
    if strategy is not None and not chosen_scheme.under_strategies:
        able = " or ".join(repr(name) for name, each in SCHEMES.items() if each.under_strategies)
        raise ValueError(
            f"`strategy`: scheme {scheme!r} trains on one device. Leave the strategy out, or use {able}."
        )
    opened = (
        team.folder(folder, request.settings, resume, overwrite) if folder else contextlib.nullcontext()
    )
    with opened as place, team.together(), progress.showing(verbose):
        if team.chief_says(bool(resume and place and place.finished)):
            assert place
            say(f"The run in {place.path!r} is complete; nothing to resume.")
            team.finish([place])
            return read(place) if team.is_chief else None
        keras.utils.set_random_seed(seed)
        loaded = []
        for each in teachers:
            say(f"loading the teacher: {named(each)}")
            loaded.append(as_teacher(each, teacher_options))
        make = _makers(wanted, loaded, inherit, chosen_scheme)
        # Determines shapes and classes.
        model = loaded[0] if loaded else make[0]()
        task = task_of(model)
        check_labels(labels, model)
        data = load_data_of_run(
            training_data,
            evaluation_data,
            unlabelled_data,
            validation_split,
            labels,
            model,
            task,
            seed,
            say,
        )
        for each in loaded:
            check_better_than_chance(each, data.measured, "teacher", say, data.measured_of)
        if description := team.description():
            say(description)
        if place:
            team.begin(place)
        log = TrainingLog(say)
        with data.readable(), ShownProgress(verbose) as epochs_shown:
            checks = [FolderCheck(place)] if place else []
            course = Course(
                teachers=[team.replicated(each) for each in loaded],
                make_students=[functools.partial(_replicated, each, team) for each in make],
                data=data,
                losses=knowledge,
                loss_weights=loss_weights,
                student_loss_weight=student_loss_weight,
                task=task,
                epochs=epochs,
                batch_size=batch_size,
                optimizer=optimizer,
                learning_rate=learning_rate,
                seed=seed,
                jit_compile=jit_compile,
                callbacks=[
                    *checks,
                    KeepLastGood(),
                    log,
                    *training_curves(place if team.is_chief else None),
                    epochs_shown,
                ],
                backup_dir=place.file("state/scheme") if place else None,
            )
            # Students start the same, regardless of how many random numbers reading the data took.
            keras.utils.set_random_seed(seed)
            taught = chosen_scheme.run(course)
        history = log.rows(taught.history)
        if not team.is_chief:
            team.finish([place] if place else [])
            return None
        if strategy is not None:
            taught = _plain(taught, make[0](), loaded)
        if place:
            _save(place, taught, history)
        say("measuring the student")
        teacher_files = ", ".join(map(named, teachers))
        outcome = TaughtOutcome(taught, task, data, {"teacher": teacher_files, "student": "student.keras"})
        names = data.whole.class_names if labels is None else labels
        variants, chosen = outcome.files(tflite, names, min_agreement, say)
        metrics = {
            **outcome.metrics(),
            "scheme": {"name": scheme, "options": vars(chosen_scheme)},
            "tflite": chosen.metrics,
            "variants": variants,
            "problem": log.stopped(history) or chosen.problem,
            "epochs": len(history),
            "replicas": team.replicas,
            **data.counts(),
            "class_names": names,
            "seed": seed,
            "device": device(),
            **request.records,
            "versions": versions(),
            "training_seconds": log.seconds(history),
            "wall_seconds": time.perf_counter() - start + log.earlier_seconds(history),
        }
        write_report = outcome.reporter()
        result = Distilled(
            student=taught.student,
            history=history,
            metrics=metrics,
            tflite=chosen.content,
            tflite_check=chosen.check,
            calibration=chosen.calibration,
            problem=metrics["problem"],
            folder=place.path if place else None,
            write_report=lambda path: write_report(path, metrics, history),
        )
        if place:
            write(result, place, taught.student, "student", task)
        team.finish([place] if place else [])
        return result


def _listed(sources: Any) -> list[Source]:
    if sources is None:
        return []
    return [sources] if isinstance(sources, str | os.PathLike | keras.Model) else list(sources)


def _makers(
    wanted: Sequence[Source], teachers: Sequence[keras.Model], inherit: bool, scheme: Scheme
) -> list[Callable[[], keras.Model]]:
    """A function for each requested kind of student; by default a half-width one."""
    if not wanted and scheme.default_student is not None:
        wanted = [scheme.default_student]
    teacher = teachers[0] if teachers else None
    return [functools.partial(as_student, each, teacher, inherit) for each in wanted]


def _replicated(make: Callable[[], keras.Model], team: Team) -> keras.Model:
    return team.replicated(make())


def _plain(taught: Taught, student: keras.Model, teachers: Sequence[keras.Model]) -> Taught:
    """The result of a scheme run under a strategy, with networks outside the strategy."""
    copy_weights(taught.student, student)
    return dataclasses.replace(taught, student=student, teacher=teachers[0])


def _save(place: RunFolder, taught: Taught, history: list[dict]) -> None:
    place.save_model("student.keras", taught.student)
    for name, network in taught.networks.items():
        place.save_model(f"students/{name}.keras", network)
    place.write_json("history.json", history)
