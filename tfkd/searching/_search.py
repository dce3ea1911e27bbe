"""search: the best student within a budget."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence

import keras

from tfkd._core.checks import check_int
from tfkd._core.fingerprints import fingerprint
from tfkd._core.graphs import has_graph
from tfkd._core.keras_versions import check_keras_3
from tfkd.datafree import Procedural, Recipe
from tfkd.losses import KnowledgeLoss
from tfkd.searching._budget import Budget
from tfkd.searching._lessons import Examples, Lesson, LessonOnData, LessonWithoutData
from tfkd.searching._record import Record
from tfkd.searching._result import SearchResult
from tfkd.searching._space import Point, Space, changed, space_of
from tfkd.searching._strategies import Proposals, check_strategy
from tfkd.searching._trials import PATIENCE, Trials
from tfkd.tasks import Task, as_task, task_of


def search(
    teacher: keras.Model,
    space: Mapping[str, Sequence],
    budget: Budget | None = None,
    *,
    build: Callable[[Point], keras.Model] | None = None,
    inherit: bool = False,
    trials: int = 20,
    strategy: str = "random",
    training_data: Examples | None = None,
    validation_data: Examples | None = None,
    validation_share: float = 0.2,
    losses: KnowledgeLoss | Sequence[KnowledgeLoss] | None = None,
    student_loss_weight: float = 0.5,
    recipe: Recipe | None = None,
    epochs: int | None = None,
    batch_size: int = 128,
    optimizer: keras.optimizers.Optimizer | str | None = None,
    learning_rate: float = 2e-3,
    task: Task | type[Task] | str | None = None,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
    jit_compile: bool | str = "auto",
    verbose: int = 1,
) -> SearchResult:
    """Searches for the student that learns best from a teacher within a budget.

    Each trial builds a student, trains it briefly and evaluates it on held-out inputs: on examples held out
    from the training data, by the task's main figure; or, without data, on synthetic inputs, by agreement
    with the teacher. The cost of a point is measured first; points over the budget are not tried. Students
    are saved, so the best one need not be trained again, although longer training will improve it.

    To resume an interrupted search, or to add trials or change the budget or the choices, call it again
    with the same `folder`. No point is trained twice, and the trials are the same as without the
    interruption, since a trial's random numbers depend only on its point and `seed`. (Times of files are
    measured once per point.) A trial also seeds Keras, NumPy and Python, like
    `keras.utils.set_random_seed`.

    Args:
        teacher: a trained network that returns logits or numbers, as from `tfkd.load_teacher`.
        space: names and the choices for each. Without `build` these are changes to the teacher's own
            architecture, with None for no change: "width" (factors, `tfkd.students.scale_width`), "depth"
            (fractions of the residual blocks, `scale_depth`), "kernel" (sizes, `with_kernel_size`) and
            "exit" (layers after which the student ends, `up_to_layer`).
        budget: limits on the student's cost; None for no limit.
        build: a function that makes an untrained student from a dictionary with one choice for each name,
            and raises `ValueError` if there is none; None for the teacher's architecture.
        inherit: whether students of the teacher's architecture start with its weights.
        trials: number of students to train, at least 1; fewer if the space has fewer within the budget.
        strategy: how the next point is chosen, as in keras-tuner: "random", "grid" (in the order of the
            choices) or "bayesian" (Gaussian process, upper confidence bound).
        training_data: float inputs `(n, ...)` and labels; None to search without data.
        validation_data: inputs and labels for evaluating students, never test data; None to hold out a
            fraction of the training data.
        validation_share: that share, in (0, 1).
        losses: distillation losses on data; each trial gets copies. None for soft targets of the task at
            temperature 4.
        student_loss_weight: weight of the labels' loss on data, in [0, 1].
        recipe: recipe for training without data; None for `tfkd.datafree.Procedural()`.
        epochs: of each trial; None for 3 on data, and the recipe's without.
        batch_size: batch size on data; a recipe has its own.
        optimizer: optimizer on data; each trial gets a copy; None for Adam with cosine decay to 0.
        learning_rate: peak rate of that Adam, above 0.
        task: the task of the outputs; None for `tfkd.tasks.task_of(teacher)`.
        seed: int seed of all random numbers, at least 0.
        folder: folder for students and `search.json`; results of an earlier search in it are reused. None
            for a temporary folder that lives as long as the result.
        jit_compile: as for `keras.Model.compile`; as for `DataFreeDistiller.compile` without data.
        verbose: 0 prints nothing, 1 a line for each trial.

    Returns:
        A `tfkd.searching.SearchResult`.

    Raises:
        FloatingPointError: if no student's outputs were finite.
        ImportError: if keras-tuner is not installed, or `ai_edge_litert` for a budget of milliseconds.
        TypeError: if space, data, `build` or its result has the wrong type.
        ValueError: if an argument is invalid, nothing in the space is within the budget (the message gives
            the smallest cost), or the folder belongs to another search.
        OSError: if the folder cannot be written.

    Example:
        >>> found = tfkd.search(
        ...     teacher,
        ...     {"width": [0.25, 0.5, 0.75], "kernel": [3, 5]},
        ...     tfkd.searching.Budget(milliseconds=0.2),
        ...     training_data=(x_train, y_train),
        ...     folder="runs/search",
        ... )
        >>> found.best.point
        >>> student = found.student()

    Reference:
        The strategies are keras-tuner's (O'Malley et al., 2019). Tan et al., "MnasNet", 2019, for times
        measured on the device as part of a search; here they are a limit, not a part of the objective.
    """
    check_int("trials", trials)
    check_int("seed", seed, least=0)
    check_strategy(strategy)
    budget = Budget() if budget is None else budget
    _check_kinds(teacher, budget)
    found_task = task_of(teacher) if task is None else as_task(task, teacher.output_shape[1:])
    points = space_of(teacher, space, build, inherit)
    _check_data(training_data, validation_data, losses, recipe)
    lesson: Lesson
    if training_data is not None:
        lesson = LessonOnData(
            teacher,
            found_task,
            training_data,
            validation_data,
            validation_share,
            losses=losses,
            student_loss_weight=student_loss_weight,
            epochs=3 if epochs is None else epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            learning_rate=learning_rate,
            jit_compile=jit_compile,
            seed=seed,
        )
    else:
        recipe = Procedural() if recipe is None else recipe
        recipe = recipe if epochs is None else recipe.with_options(epochs=epochs)
        lesson = LessonWithoutData(
            teacher, found_task, _any_student(teacher, points, seed), recipe, jit_compile, seed
        )
    settings = {
        "teacher": fingerprint(teacher),
        "seed": seed,
        "inherit": inherit,
        "build": None if build is None else getattr(build, "__qualname__", type(build).__name__),
        **lesson.describe(),
    }
    scratch = tempfile.TemporaryDirectory() if folder is None else None
    place = scratch.name if folder is None and scratch else os.fspath(folder or "")
    tried = Trials(points, budget, lesson, Record(place, settings), seed, verbose)
    # The first timed network is the reference for all others.
    figures = tried.teachers_figures(teacher) if has_graph(teacher) else None
    return SearchResult(
        trials=tried.run(Proposals(points, strategy, seed), trials),
        objective=lesson.objective,
        budget=budget,
        teacher=figures,
        over_budget=len(tried.over_budget),
        impossible=tried.impossible,
        folder=place,
        _scratch=scratch,
    )


def _check_kinds(teacher, budget):
    if not isinstance(budget, Budget):
        raise TypeError(
            f"`budget` must be a tfkd.searching.Budget. Received: {budget!r} of type {type(budget)}."
        )
    check_keras_3("teacher", teacher)
    if not isinstance(teacher, keras.Model):
        raise TypeError(f"`teacher` must be a keras.Model. Received: {teacher!r} of type {type(teacher)}.")


def _any_student(teacher: keras.Model, space: Space, seed: int) -> keras.Model:
    """A student for making inputs, independent of the choices; for a black box, the first point's."""
    keras.utils.set_random_seed(seed)
    if has_graph(teacher):
        return changed(teacher, {}, inherit=False)
    reason = None
    for number in range(min(space.size, PATIENCE)):
        try:
            return space.student(space.point_number(number))
        except ValueError as error:
            reason = error
    raise ValueError(f"`space`: none of its points has a student. The last one: {reason}") from reason


def _check_data(training_data, validation_data, losses, recipe):
    """Rejects arguments that apply only with data, or only without."""
    if training_data is None:
        for name, value in (("validation_data", validation_data), ("losses", losses)):
            if value is not None:
                raise ValueError(
                    f"`{name}` was given without `training_data`. Give both, or neither, to search "
                    "without data by a `recipe`."
                )
    elif recipe is not None:
        raise ValueError(
            "`recipe` is for a search without data. Leave out either `recipe` or `training_data`; `losses` "
            "define training on data."
        )
