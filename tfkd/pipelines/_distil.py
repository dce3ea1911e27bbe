"""distil: a teacher in, smaller students and their TFLite files out, no data."""

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
    """Teaches students what a trained network knows, without data, and makes their TFLite files.

    What the program `tfkd-data-free` does: the teacher is loaded, each student is trained by the recipe,
    measured, given the batch statistics that agree best with the teacher, and converted to a TFLite file
    that is run and compared. Several students share the recipe's warm-up: each goes on with the generators,
    chains and memory that the run before it left, and is taught in as many steps.

    `seed` seeds Keras, NumPy and Python, too, as `keras.utils.set_random_seed` does.

    Args:
        teacher: a file or a Keras model, as `tfkd.load_teacher` takes them. A model that returns logits
            already is taken as it is.
        students: a student, or several of them. Each is a Keras model, which is trained in place, or what
            `tfkd.students.student_named` takes: a `.keras` file, "0.5x", "0.6deep", "resnet20" and so on.
        recipe: a `tfkd.datafree` recipe, or the name of one; "auto" for the one that suits the teacher, as
            `tfkd.datafree.choose_recipe` finds it.
        teacher_options: arguments of `tfkd.load_teacher`, such as `{"input_range": (0, 255)}`.
        inherit: whether to initialize students by a factor ("0.5x") from the teacher's weights.
        seed: what all randomness follows from.
        evaluation_data: an npz file with `x_test` and `y_test`, or these two arrays: for evaluation only,
            never for training or for choosing anything.
        tflite: kind of TFLite file, one of `tfkd.export.QUANTIZATIONS`; None for none.
        min_agreement: share of synthesized inputs, in [0, 1], on which the TFLite file has to answer as the
            student; where it does not, the next best kind of file that does is the result's, and the reason
            is its `problem`.
        labels: names of the classes in their order, for the TFLite file to carry.
        folder: where to write `student.keras`, `student.tflite`, `calibration.npz`
            (`tfkd.export.read_calibration`), `metrics.json`, `report.html`, `MODEL_CARD.md` and
            `model_card.json`, pictures and TensorBoard's events; None for nowhere. Several students get a
            folder each inside of it.
        resume: whether to go on with a run in `folder` that was interrupted, to the same weights.
        overwrite: whether to replace a run in `folder`.
        jit_compile: as `tfkd.DataFreeDistiller.compile` takes it.
        strategy: of `tf.distribute`, under which copies of teacher and student train; None for one device.
            It takes one student. Each replica makes and learns from `batch_size` inputs of its own. Of
            several workers the chief alone measures, prints and writes, and each other one keeps what it
            needs to go on in `state` within its `folder`.
        verbose: as in `keras.Model.fit`; 0 prints nothing.
        flags: the values of all flags that this was asked for by, for records; None if there were none.
        command: the command line, likewise.

    Returns:
        A `Distilled`, or a list of them where several students were given; None in a worker that is not the
        chief.

    Raises:
        FileNotFoundError: if a file is not there.
        ImportError: if what files or reports need is not installed.
        RuntimeError: if another worker has ended.
        ValueError: if an argument does not fit, another run is writing to the folder, or the teacher is no
            better than chance or its answers are not finite.
        OSError: if the folder cannot be written, or is removed in mid-run.

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
            f"`strategy` takes one student at a time. Received: {len(students)}. Call `distil` once for "
            "each, with a `folder` of its own."
        )
    check_outputs(tflite, folder)
    if resume and folder is None:
        raise ValueError("`resume` needs a `folder`: the one of the run that was interrupted.")
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
                    # A student begins with the same weights, whether others came before or not.
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
        raise ValueError("`students` must be at least one student. Received: an empty list.")
    return students


def _places(folder, students, several):
    """The folder of each student's run, or None."""
    if folder is None:
        return [None] * len(students)
    if not several:
        return [folder]
    stems = [os.path.basename(named(student)).removesuffix(".keras") for student in students]
    return [os.path.join(folder, name) for name in numbered(stems)]
