"""distil_with_data: training data and teachers in, a student and its TFLite file out, by any scheme."""

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
    """Teaches a student on training data by a scheme of `tfkd.schemes`, and makes its TFLite file.

    What the program `tfkd-distill` does. A share of the training data is held out: it measures every epoch,
    chooses where a scheme chooses, and judges the TFLite file. `evaluation_data` measures at the end alone.

    `seed` seeds Keras, NumPy and Python, too, as `keras.utils.set_random_seed` does. An interrupted run
    goes on to the same weights on the same machine.

    Args:
        teacher: a file or a Keras model, as `tfkd.load_teacher` takes them; several for the scheme
            "ensemble"; None where a scheme needs none.
        students: a Keras model, which is trained in place, or what `tfkd.students.student_named` takes;
            several for "mutual". None for "0.5x", or in "generations" for networks like the teacher.
        scheme: "distil", "mutual", "self", "ensemble", "assistants", "generations", "eskd" or
            "noisy_student".
        training_data: inputs and labels; an npz file with `x_train` and `y_train`; a folder with a folder
            of images for each class, in the order of `labels` if these are their names, else sorted; or a
            TFRecord file, or a pattern of such files, whose examples have
            "image" or "image/encoded" and "label" or "image/class/label". Images are brought to the
            network's size and to [0, 1].
        scheme_options: options of the scheme by name, or `key=value` strings.
        losses: distillation losses; or their names in snake case, with options behind colons, such as
            "soft_targets:temperature=4,hint:teacher_layer=conv2:student_layer=conv2", or JSON. None for the
            scheme's.
        loss_weights: one for each loss, or "published"; None for the scheme's.
        student_loss_weight: share of the labels' loss, in [0, 1]; None for the scheme's.
        teacher_options: arguments of `tfkd.load_teacher`, such as `{"input_range": (0, 255)}`.
        inherit: whether students by a factor ("0.5x") begin with the teacher's weights.
        validation_split: share of the training data that is held out, above 0 and below 1.
        unlabelled_data: more inputs for "noisy_student": an array, an npz file with `x_train`, a folder of
            images, or TFRecord files.
        epochs: for each network that is trained.
        batch_size: examples in an update.
        optimizer: an optimizer of Keras by name, with options behind colons: "sgd:momentum=0.9".
        learning_rate: its peak rate, above 0; it rises for the first 5 % of updates, and falls as a cosine.
        seed: what all randomness follows from.
        evaluation_data: like `training_data`, with `x_test` and `y_test` in an npz file: for evaluation
            only. What takes more than 2 GiB is measured by a sample.
        tflite: kind of TFLite file, one of `tfkd.export.QUANTIZATIONS`; None for none.
        min_agreement: share of held-out inputs, in [0, 1], on which the file has to answer as the student;
            where it does not, the next best kind of file that does is the result's, and the reason is its
            `problem`.
        labels: names of the classes in their order, for the file to carry; None for those of the training
            data's folders.
        folder: where to write `student.keras`, `student.tflite`, `metrics.json`, `report.html`,
            `MODEL_CARD.md`, `model_card.json`, of training inputs `calibration.npz`
            (`tfkd.export.read_calibration`), TensorBoard's events and, where a scheme trains several
            networks, `students`; None for nowhere.
        resume: whether to go on with a run in `folder` that was interrupted, to the same weights.
        overwrite: whether to replace a run in `folder`.
        jit_compile: as of `tfkd.Distiller.compile`.
        strategy: of `tf.distribute`, under which copies of the networks train; None for one device. For the
            schemes "distil" and "eskd". Each batch is divided among the replicas. Of several workers the
            chief alone measures, prints and writes, and each other one keeps what it needs to go on in
            `state` within its `folder`.
        verbose: 0 prints nothing.
        flags: the values of all flags that this was asked for by, for records; None if there were none.
        command: the command line, likewise.

    Returns:
        A `Distilled`; None in a worker that is not the chief.

    Raises:
        FileNotFoundError: if a file is not there.
        ImportError: if what files or reports need is not installed.
        RuntimeError: if another worker has ended.
        ValueError: if an argument does not fit, the scheme needs what is not given, another run is writing
            to the folder, or the teacher is no better than chance.
        OSError: if the folder cannot be written, or is removed in mid-run.

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
        raise ValueError("`resume` needs a `folder`: the one of the run that was interrupted.")
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
        # What says shapes and classes.
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
            # Students begin alike, whatever was drawn to read the data.
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
    """What makes each kind of student that was asked for; the first is half as wide unless it is said."""
    if not wanted and scheme.default_student is not None:
        wanted = [scheme.default_student]
    teacher = teachers[0] if teachers else None
    return [functools.partial(as_student, each, teacher, inherit) for each in wanted]


def _replicated(make: Callable[[], keras.Model], team: Team) -> keras.Model:
    return team.replicated(make())


def _plain(taught: Taught, student: keras.Model, teachers: Sequence[keras.Model]) -> Taught:
    """What came of a scheme under a strategy, with networks outside of it."""
    copy_weights(taught.student, student)
    return dataclasses.replace(taught, student=student, teacher=teachers[0])


def _save(place: RunFolder, taught: Taught, history: list[dict]) -> None:
    place.save_model("student.keras", taught.student)
    for name, network in taught.networks.items():
        place.save_model(f"students/{name}.keras", network)
    place.write_json("history.json", history)
