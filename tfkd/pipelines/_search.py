"""search: finds a teacher's best student within a budget, and makes its TFLite file."""

import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfkd import searching
from tfkd._core import progress
from tfkd.datafree import Recipe
from tfkd.export import write_search_report
from tfkd.pipelines._boards import write_trials
from tfkd.pipelines._compression_variants import synthetic_inputs
from tfkd.pipelines._evaluation import evaluation_examples, predict, scores
from tfkd.pipelines._examples import load_examples
from tfkd.pipelines._machine import device, versions
from tfkd.pipelines._networks import Source, as_teacher, named
from tfkd.pipelines._recipes import as_recipe
from tfkd.pipelines._requirements import check_labels, check_outputs
from tfkd.pipelines._result_files import read_searched, write
from tfkd.pipelines._results import Searched
from tfkd.pipelines._run_folder import RunFolder
from tfkd.pipelines._settings import Request, teller
from tfkd.pipelines._variants import Chosen, Variants
from tfkd.searching import Budget
from tfkd.tasks import task_of


def search(
    teacher: Source,
    space: Mapping[str, Sequence],
    budget: Budget | None = None,
    *,
    folder: str | os.PathLike,
    teacher_options: Mapping[str, Any] | None = None,
    inherit: bool = False,
    trials: int = 20,
    strategy: str = "random",
    training_data: str | os.PathLike | tuple[np.ndarray, np.ndarray] | None = None,
    recipe: Recipe | str = "procedural",
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    evaluation_data: str | os.PathLike | tuple[np.ndarray, np.ndarray] | None = None,
    tflite: str | None = "int8",
    min_agreement: float = 0.9,
    labels: Sequence[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    jit_compile: bool | str = "auto",
    verbose: int = 0,
    flags: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> Searched:
    """Searches for the best student within a budget, and makes its TFLite file.

    This is the function behind the program `tfkd-search`. The teacher is loaded, students of its
    architecture are tried as in `tfkd.search`, and the best one is measured, saved and converted after its
    short training. Train it longer with `tfkd.pipelines.distil(teacher, "folder/student.keras")`.

    Args:
        teacher: a file or a Keras model, as for `tfkd.load_teacher`.
        space: choices of "width", "depth", "kernel" and "exit", as for `tfkd.search`.
        budget: limits on the student's cost; None for no limit.
        folder: where to write `student.keras`, `student.tflite`, `calibration.npz`, `metrics.json`,
            `report.html`, `MODEL_CARD.md`, `model_card.json`, `pareto.png`, the trials for TensorBoard and,
            in `search`, all students.
        teacher_options: arguments of `tfkd.load_teacher`, such as `{"input_range": (0, 255)}`.
        inherit: whether to initialize students from the teacher's weights.
        trials: maximum number of students to train.
        strategy: "random", "grid" or "bayesian".
        training_data: an npz file with `x_train` and `y_train`, or these two arrays; a fifth is held out
            for judging students; None to search without data.
        recipe: recipe for training without data; has no effect with `training_data`.
        epochs: epochs of each trial; None for 3 on data, and the recipe's without data.
        batch_size: batch size on data; None for 128.
        seed: int seed of all randomness.
        evaluation_data: an npz file with `x_test` and `y_test`, or these two arrays: to evaluate the best
            student at the end, never to choose one.
        tflite: kind of TFLite file, one of `tfkd.export.QUANTIZATIONS`; None for none.
        min_agreement: fraction of synthesized inputs, in [0, 1], on which the file must agree with the
            student; otherwise the result has the next best kind of file that does.
        labels: names of the classes in order, to store in the file.
        resume: whether to continue an interrupted run in `folder`; completed trials are not repeated.
        overwrite: whether to replace a run in `folder`.
        jit_compile: as for `tfkd.search`.
        verbose: 0 prints nothing.
        flags: values of all flags of the command line, for the records; None if there was none.
        command: the command line itself, or None.

    Returns:
        A `Searched`.

    Raises:
        FileNotFoundError: if a file does not exist.
        FloatingPointError: if no student's outputs were finite.
        ImportError: if a package for search, files or reports is not installed.
        ValueError: if an argument is invalid, nothing is within the budget, another run is writing to the
            folder, or the teacher is no better than chance.
        OSError: if the folder cannot be written.

    Example:
        >>> searched = tfkd.pipelines.search(
        ...     "teacher.keras", {"width": [0.25, 0.5]}, Budget(parameters=20_000), folder="runs/search"
        ... )
        >>> searched.student.count_params()
    """
    request = Request(search, locals())
    start, say, recipe = time.perf_counter(), teller(verbose), as_recipe(recipe)
    check_outputs(tflite, folder)
    with RunFolder(folder, request.settings, resume, overwrite) as place, progress.showing(verbose):
        if resume and place.finished:
            say(f"The run in {place.path!r} is complete; nothing to resume.")
            place.finish()
            return read_searched(place)
        say(f"loading the teacher: {named(teacher)}")
        loaded = as_teacher(teacher, teacher_options)
        check_labels(labels, loaded)
        data = evaluation_examples(evaluation_data, loaded, "teacher", say)
        examples = None
        if training_data is not None:
            examples = load_examples(training_data, loaded, "train", "training_data")
        place.begin()
        found = searching.search(
            loaded,
            space,
            budget,
            inherit=inherit,
            trials=trials,
            strategy=strategy,
            training_data=examples,
            recipe=recipe if examples is None else None,
            epochs=epochs,
            batch_size=128 if batch_size is None else batch_size,
            seed=seed,
            folder=place.file("search"),
            jit_compile=jit_compile,
            verbose=verbose,
        )
        student, task = found.student(), task_of(loaded)
        place.save_model("student.keras", student)
        found.pareto_plot(place.file("pareto.png"))
        write_trials(place, found)
        chosen, synthetic = Chosen(), None
        if tflite is not None:
            say(f"converting the best student to TFLite, {tflite}")
            keras.utils.set_random_seed(seed)
            calibration, synthetic = synthetic_inputs(student, loaded, seed, recipe)
            variants = Variants(data, calibration, synthetic, labels, task)
            chosen = variants.choose({"model": "student"}, student, tflite, min_agreement, say)
        metrics = {
            role: {
                "name": model.name,
                "params": model.count_params(),
                **scores(task, np.empty(0) if data is None else predict(model, data[0]), data),
            }
            for role, model in (("teacher", loaded), ("student", student))
        }
        metrics |= {
            "task": task.name,
            "class_names": labels and list(labels),
            "search": found.describe(),
            "table": found.table(),
            "strategy": strategy,
            "training_images": None if examples is None else len(examples[0]),
            "evaluation_images": None if data is None else len(data[0]),
            "synthetic_images": None if synthetic is None else len(synthetic),
            "tflite": chosen.metrics,
            "problem": chosen.problem,
            "recipe": recipe.describe(),
            "seed": seed,
            "device": device(),
            **request.records,
            "versions": versions(),
            "wall_seconds": time.perf_counter() - start,
        }
        picture = pathlib.Path(place.file("pareto.png")).read_bytes()
        result = Searched(
            student=student,
            metrics=metrics,
            tflite=chosen.content,
            tflite_check=chosen.check,
            calibration=chosen.calibration,
            problem=chosen.problem,
            folder=place.path,
            write_report=lambda path: write_search_report(path, metrics, picture),
        )
        write(result, place, student, "student", task)
        place.finish()
        return result
