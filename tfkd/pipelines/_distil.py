"""distil: distils a teacher into smaller students and their TFLite files, without data."""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfkd._core import progress
from tfkd._core.checks import check_number
from tfkd._core.keras_versions import check_keras_3
from tfkd._core.names import numbered
from tfkd.datafree import Recipe
from tfkd.pipelines._automatic import AutomaticRecipe, as_recipe_or_auto, chosen_recipe
from tfkd.pipelines._evaluation import evaluation_examples
from tfkd.pipelines._networks import Source, as_student, as_teacher, named
from tfkd.pipelines._one_student import StudentRuns
from tfkd.pipelines._requirements import check_labels, check_outputs
from tfkd.pipelines._result_files import read
from tfkd.pipelines._results import Distilled
from tfkd.pipelines._settings import Request, teller
from tfkd.pipelines._shared_warm_up import SharedWarmUp, check_something_to_teach
from tfkd.pipelines._team import Team
from tfkd.students._by_name import is_shallower


def distil(
    teacher: Source,
    students: Source | Sequence[Source] = "0.5x",
    recipe: Recipe | AutomaticRecipe | str = "auto",
    *,
    teacher_options: Mapping[str, Any] | None = None,
    inherit: bool = False,
    seed: int = 0,
    evaluation_data: str | os.PathLike | tuple[np.ndarray, np.ndarray] | None = None,
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
) -> Distilled | list[Distilled] | None:
    """Distils a trained network into students without data, and makes their TFLite files.

    This is the function behind the program `tfkd-data-free`. The teacher is loaded; each student is trained
    with the recipe, measured, given the batch statistics that agree best with the teacher, and converted to
    a TFLite file that is run and compared. Several students share the recipe's warm-up: each continues with
    the generators, chains and memory of the run before it, and has the same number of training steps.

    `seed` also seeds Keras, NumPy and Python, like `keras.utils.set_random_seed`.

    Args:
        teacher: a file or a Keras model, as for `tfkd.load_teacher`. A model that already returns logits is
            used unchanged.
        students: one or several students. Each is a Keras model, which is trained in place, or an argument
            of `tfkd.students.student_named`: a `.keras` file, "0.5x", "0.6deep", "resnet20" and so on.
        recipe: a `tfkd.datafree` recipe, or the name of one; "auto" for the one that suits the teacher, as
            chosen by `tfkd.datafree.choose_recipe`.
        teacher_options: arguments of `tfkd.load_teacher`, such as `{"input_range": (0, 255)}`.
        inherit: whether to initialize scaled students ("0.5x") from the teacher's weights.
        seed: int seed of all randomness.
        evaluation_data: an npz file with `x_test` and `y_test`, or these two arrays: for evaluation only,
            never for training or model selection.
        tflite: kind of TFLite file, one of `tfkd.export.QUANTIZATIONS`; None for none.
        min_agreement: fraction of synthesized inputs, in [0, 1], on which the TFLite file must agree with
            the student; otherwise the result has the next best kind of file that does, and `problem` says
            why.
        labels: names of the classes in order, to store in the TFLite file.
        folder: where to write `student.keras`, `student.tflite`, `calibration.npz`
            (`tfkd.export.read_calibration`), `metrics.json`, `report.html`, `MODEL_CARD.md` and
            `model_card.json`, pictures and TensorBoard's events; None to write nothing. Several students
            get one subfolder each.
        resume: whether to continue an interrupted run in `folder`; it ends with the same weights.
        overwrite: whether to replace a run in `folder`.
        jit_compile: as for `tfkd.DataFreeDistiller.compile`.
        strategy: a `tf.distribute` strategy under which copies of teacher and student train; None for one
            device. Only one student is allowed. Each replica makes and trains on its own `batch_size`
            inputs. With several workers, only the chief measures, prints and writes; each other worker
            keeps what it needs to resume in `state` within its `folder`.
        verbose: as in `keras.Model.fit`; 0 prints nothing.
        flags: values of all flags of the command line, for the records; None if there was none.
        command: the command line itself, or None.

    Returns:
        A `Distilled`, or a list of them if several students were given; None in a worker that is not the
        chief.

    Raises:
        FileNotFoundError: if a file does not exist.
        ImportError: if a package for files or reports is not installed.
        RuntimeError: if another worker has ended.
        ValueError: if an argument is invalid, another run is writing to the folder, or the teacher is no
            better than chance or its outputs are not finite.
        OSError: if the folder cannot be written, or is removed during the run.

    Example:
        >>> distilled = tfkd.pipelines.distil("teacher.keras", "0.5x", inherit=True, seed=1)
        >>> distilled.student.save("student.keras")
        >>> pathlib.Path("student.tflite").write_bytes(distilled.tflite)
        >>> half, quarter = tfkd.pipelines.distil("teacher.keras", ["0.5x", "0.25x"], "recovery")
    """
    request = Request(distil, locals())
    team = Team(strategy)
    verbose = verbose if team.is_chief else 0
    start, say, recipe = time.perf_counter(), teller(verbose), as_recipe_or_auto(recipe)
    check_keras_3("students", students)
    several = not isinstance(students, (str, os.PathLike, keras.Model))
    students = _listed(students) if several else [students]
    if strategy is not None and len(students) > 1:
        raise ValueError(
            f"`strategy` takes one student at a time. Received: {len(students)}. Call `distil` once per "
            "student, each with its own `folder`."
        )
    check_outputs(tflite, folder)
    if resume and folder is None:
        raise ValueError("`resume` needs the `folder` of the interrupted run.")
    with contextlib.ExitStack() as open_folders:
        open_folders.enter_context(team.together())
        open_folders.enter_context(progress.showing(verbose))
        folders = [
            open_folders.enter_context(team.folder(place, request.settings, resume, overwrite))
            if place
            else None
            for place in _places(folder, students, several)
        ]
        complete = [each for each in folders if each is not None and each.finished]
        if team.chief_says(resume and len(complete) == len(folders)):
            say(f"The run in {os.fspath(folder or '')!r} is complete; nothing to resume.")
            results = [read(each) for each in complete]
        else:
            keras.utils.set_random_seed(seed)
            say(f"loading the teacher: {named(teacher)}")
            loaded = as_teacher(teacher, teacher_options)
            check_labels(labels, loaded)
            shallower = all(isinstance(each, str) and is_shallower(each) for each in students)
            chosen, reason = chosen_recipe(recipe, loaded, inherit, shallower)
            say(f"recipe {chosen.name}: {reason}")
            if description := team.description():
                say(description)
            if len(students) > 1:
                check_something_to_teach(chosen)
            runs = StudentRuns(
                teacher=loaded,
                warm_up=SharedWarmUp(team.replicated(loaded), chosen, seed),
                team=team,
                data=evaluation_examples(evaluation_data, loaded, "teacher", say),
                teacher_file=named(teacher),
                tflite=tflite,
                min_agreement=check_number("min_agreement", min_agreement, least=0, most=1),
                labels=labels,
                jit_compile=jit_compile,
                records={"seed": seed, "recipe_reason": reason, **request.records},
                verbose=verbose,
                say=say,
            )
            results = []
            for number, (student, each) in enumerate(zip(students, folders, strict=True)):
                if number:
                    # A student starts with the same weights, whether or not others came before it.
                    keras.utils.set_random_seed(seed)
                    start = time.perf_counter()
                say(f"building the student: {named(student)}")
                results.append(runs.result(as_student(student, loaded, inherit), each, start))
        team.finish([each for each in folders if each is not None])
    if not team.is_chief:
        return None
    return results if several else results[0]


def _listed(students):
    students = list(students)
    if not students:
        raise ValueError("`students` must contain at least one student. Received: an empty list.")
    return students


def _places(folder, students, several):
    """The folder of each student's run, or None."""
    if folder is None:
        return [None] * len(students)
    if not several:
        return [folder]
    stems = [os.path.basename(named(student)).removesuffix(".keras") for student in students]
    return [os.path.join(folder, name) for name in numbered(stems)]
