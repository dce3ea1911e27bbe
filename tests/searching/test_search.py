"""search: trials within the budget, on data and without, that are never run twice."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import tfkd
from tests.cli import running
from tests.conftest import blobs, small_network
from tfkd._core.asking import answers
from tfkd.datafree import Procedural
from tfkd.searching import Budget, SearchResult, Trial, _trials
from tfkd.searching._lessons import LessonOnData
from tfkd.searching._trials import seed_of

pytestmark = pytest.mark.slow

SPACE = {"width": [0.25, 0.5, 1], "kernel": [None, 5]}
QUICK = {"epochs": 1, "batch_size": 32, "verbose": 0}
RECIPE = Procedural(epochs=1, steps_per_epoch=3, batch_size=16, memory=0, refine_steps=0)


@pytest.fixture(scope="module")
def examples():
    return blobs(160, seed=5)


@pytest.fixture(scope="module")
def found(teacher, examples, tmp_path_factory):
    """All students of a small space within a budget that leaves two of six out."""
    folder = tmp_path_factory.mktemp("search")
    budget = Budget(parameters=3000)
    return tfkd.search(teacher, SPACE, budget, training_data=examples, folder=folder, **QUICK)


def figures(result):
    """What a search has found, but for how long it took."""
    rows = result.describe()
    for trial in rows["trials"]:
        del trial["seconds"]
    return rows


def weights(result):
    return [result.student(trial).get_weights() for trial in result.trials]


def assert_same(result, expected):
    assert figures(result) == figures(expected)
    for ours, theirs in zip(weights(result), weights(expected), strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine, other)


def test_all_that_is_within_the_budget_is_tried_once(found, teacher):
    assert sorted((trial.point["width"], str(trial.point["kernel"])) for trial in found.trials) == [
        (0.25, "5"),
        (0.25, "None"),
        (0.5, "5"),
        (0.5, "None"),
    ]
    assert found.over_budget == 2 and found.impossible == [] and found.objective == "accuracy"
    for trial in found.trials:
        student = found.student(trial)
        assert trial.parameters == student.count_params() <= 3000
        assert trial.milliseconds is None and trial.flops > 0
    assert found.teacher.parameters == teacher.count_params() and found.teacher.objective > 0.9


def test_students_are_judged_by_examples_that_they_have_not_seen(found, examples):
    x, y = examples
    order = np.random.default_rng(0).permutation(len(x))
    held_out = order[: len(x) // 5]
    for trial in found.trials:
        right = answers(found.student(trial), x[held_out]).argmax(-1) == y[held_out]
        assert trial.objective == pytest.approx(right.mean())


def test_the_best_comes_first_in_the_table_and_is_loaded(found):
    assert found.best.objective == max(trial.objective for trial in found.trials)
    lines = found.table().splitlines()
    assert lines[0].startswith("| student | accuracy | parameters |") and len(lines) == 2 + 5
    scores = [float(line.split("|")[2]) for line in lines[2:]]
    assert scores == sorted(scores, reverse=True)
    assert found.student().count_params() == found.best.parameters
    with open(os.path.join(found.folder, "search.json"), encoding="utf-8") as file:
        assert len(json.load(file)["points"]) == 1 + 6


def trial(objective, parameters, name="a"):
    return Trial(
        point={"name": name},
        objective=objective,
        parameters=parameters,
        flops=None,
        milliseconds=None,
        seconds=1.0,
        student="x.keras",
    )


def result(*trials):
    return SearchResult(
        trials=trials,
        objective="accuracy",
        budget=Budget(),
        teacher=None,
        over_budget=0,
        impossible=[],
        folder="nowhere",
    )


def test_pareto_front_by_definition():
    rng = np.random.default_rng(0)
    trials = [trial(float(objective), int(cost)) for objective, cost in rng.integers(1, 9, (40, 2))]
    front = result(*trials, trial(None, 1)).front
    for each in trials:
        beaten = any(
            other.objective >= each.objective
            and other.parameters <= each.parameters
            and (other.objective, other.parameters) != (each.objective, each.parameters)
            for other in trials
        )
        values = (each.objective, each.parameters)
        assert beaten != (values in [(other.objective, other.parameters) for other in front])
    assert [each.parameters for each in front] == sorted({each.parameters for each in front})


def test_of_equally_good_ones_the_cheapest_is_the_best():
    assert result(trial(0.9, 5), trial(0.9, 3, "b"), trial(0.1, 1)).best.point == {"name": "b"}


def test_pareto_plot_is_a_picture(found, tmp_path):
    for quantity in (None, "flops"):
        found.pareto_plot(tmp_path / "front.png", quantity)
        assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="`quantity`: milliseconds were not measured for all trials"):
        found.pareto_plot(tmp_path / "none.png", "milliseconds")
    with pytest.raises(ValueError, match="`quantity` must be one of 'parameters'"):
        found.pareto_front("bytes")
    with pytest.raises(ValueError, match="`trial` must be one of `trials`"):
        found.student(found.teacher)


def test_nothing_is_trained_again(found, teacher, examples, monkeypatch):
    """Not for fewer trials, another budget, other choices or another strategy."""
    monkeypatch.setattr(LessonOnData, "teach", lambda *arguments: pytest.fail("trained"))
    options = {"training_data": examples, "folder": found.folder, **QUICK}
    assert_same(tfkd.search(teacher, SPACE, Budget(parameters=3000), **options), found)
    less = tfkd.search(teacher, SPACE, Budget(parameters=1000), strategy="grid", trials=2, **options)
    known = {str(each.point): each.objective for each in found.trials}
    assert [each.objective for each in less.trials] == [known[str(each.point)] for each in less.trials]
    assert len(less.trials) == 2 and all(each.parameters <= 1000 for each in less.trials)
    other = tfkd.search(teacher, {"kernel": [None], "width": [0.5]}, **options)
    assert [each.objective for each in other.trials] == [known[str({"width": 0.5, "kernel": None})]]


@pytest.mark.slow
def test_an_error_in_mid_trial_loses_that_trial_only(found, teacher, examples, tmp_path, monkeypatch):
    options = {"training_data": examples, "folder": tmp_path, **QUICK}
    teach, taught = LessonOnData.teach, []

    def broken(lesson, student, seed):
        teach(lesson, student, seed)
        taught.append(seed)
        if len(taught) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(LessonOnData, "teach", broken)
    with pytest.raises(KeyboardInterrupt):
        tfkd.search(teacher, SPACE, Budget(parameters=3000), **options)
    # What a killed search had begun to write goes.
    (tmp_path / ".trial_003-abcdefgh.keras").write_bytes(b"half")
    (tmp_path / "mine.txt").write_text("stays")
    keras.utils.set_random_seed(99)
    assert_same(tfkd.search(teacher, SPACE, Budget(parameters=3000), **options), found)
    assert len(taught) == 5 and taught[2] == taught[3]
    assert sorted(os.listdir(tmp_path)) == [
        "mine.txt",
        "search.json",
        *(f"trial_00{number}.keras" for number in range(1, 5)),
    ]


PROGRAM = """
import sys, keras, tfkd
from tests.conftest import blobs
tfkd.search(
    keras.models.load_model(sys.argv[1]), {"width": [0.25, 0.5, 1], "kernel": [None, 5]},
    tfkd.searching.Budget(parameters=3000), training_data=blobs(160, seed=5), folder=sys.argv[2],
    epochs=1, batch_size=32, verbose=0,
)
"""


@pytest.mark.kill
def test_a_killed_search_goes_on_to_the_same_end(teacher, examples, tmp_path):
    teacher.save(tmp_path / "logits.keras")
    loaded = keras.models.load_model(tmp_path / "logits.keras")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(tmp_path / "logits.keras"), str(tmp_path / "killed")]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    running.kill_command_once_there(tmp_path / "killed" / "trial_002.keras", command, environment)
    assert not (tmp_path / "killed" / "trial_004.keras").exists()
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    options = {"training_data": examples, **QUICK}
    budget = Budget(parameters=3000)
    whole = tfkd.search(loaded, SPACE, budget, folder=tmp_path / "whole", **options)
    killed = tfkd.search(loaded, SPACE, budget, folder=tmp_path / "killed", **options)
    assert len(whole.trials) == len(killed.trials) == 4
    for ours, theirs in zip(killed.trials, whole.trials, strict=True):
        assert (ours.point, ours.parameters, ours.flops) == (theirs.point, theirs.parameters, theirs.flops)
        # Another process has other threads, so sums may round otherwise.
        assert ours.objective == pytest.approx(theirs.objective, abs=0.04)


@pytest.mark.slow
def test_without_data_the_agreement_with_the_teacher_counts(teacher, tmp_path):
    options = {"recipe": RECIPE, "verbose": 0, "trials": 2, "seed": 3}
    space = {"width": [0.5], "exit": [None, "relu1"]}
    first = tfkd.search(teacher, space, folder=tmp_path, **options)
    assert first.objective == "agreement" and first.teacher.objective == 1.0
    assert {trial.point["exit"] for trial in first.trials} == {None, "relu1"}
    assert all(0 < trial.objective < 1 for trial in first.trials)
    again = tfkd.search(teacher, space, **options)
    # In a folder that lives as long as the result.
    assert os.path.isdir(again.folder)
    assert_same(again, first)
    # Judged on the same inputs, whatever there is to choose from.
    other = tfkd.search(teacher, {"exit": ["relu1"], "width": [0.5]}, **options)
    known = {str(sorted(trial.point.items())): trial.objective for trial in first.trials}
    assert other.best.objective == known[str(sorted(other.best.point.items()))]


def test_students_of_a_build_function_and_points_without_one(teacher, examples):
    def build(point):
        if point["width"] == 3:
            raise ValueError("three is no width")
        return small_network(point["width"])

    space = {"width": [2, 3, 4]}
    found = tfkd.search(teacher, space, build=build, training_data=examples, **QUICK)
    assert sorted(trial.point["width"] for trial in found.trials) == [2, 4]
    assert found.impossible == [({"width": 3}, "three is no width")] and found.over_budget == 0
    with pytest.raises(ValueError, match=r"`space`: none of the points .* width=3: three is no width"):
        tfkd.search(teacher, {"width": [3]}, build=build, training_data=examples, **QUICK)
    black_box = tfkd.BlackBoxTeacher(lambda x: x[:, 0, :4, 0], teacher.input_shape[1:], 4)
    with pytest.raises(ValueError, match="`space`: none of its points has a student"):
        tfkd.search(black_box, {"width": [3]}, build=build, recipe=RECIPE, verbose=0)


def test_a_black_box_as_teacher(teacher, examples):
    asked = tfkd.BlackBoxTeacher(
        lambda x: teacher.predict(x, verbose=0), teacher.input_shape[1:], 4, from_logits=True
    )
    build = {"training_data": examples, "build": lambda point: small_network(point["width"])}
    found = tfkd.search(asked, {"width": [2]}, **build, **QUICK)
    assert found.teacher is None and len(found.trials) == 1 and found.best.objective > 0


def test_numbers_are_judged_by_the_variance_that_is_explained():
    x = np.random.default_rng(0).uniform(size=(60, 3)).astype("float32")
    y = (x @ np.float32([1.0, -2.0, 0.5]))[:, None]
    layers = [keras.Input((3,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)]
    teacher = keras.Sequential(layers)
    found = tfkd.search(teacher, {"width": [0.5]}, training_data=(x, y), learning_rate=0.05, **QUICK)
    held_out = np.random.default_rng(0).permutation(60)[:12]
    answered = answers(found.student(), x[held_out])
    explained = 1 - np.mean((answered - y[held_out]) ** 2) / np.var(y[held_out])
    assert found.objective == "r2" and found.best.objective == pytest.approx(explained, rel=1e-4)
    with pytest.raises(ValueError, match="has no figure to maximize for these data"):
        tfkd.search(teacher, {"width": [0.5]}, training_data=(x, 0 * y), **QUICK)


def test_feature_losses_and_other_optimizers(teacher, examples):
    losses = [tfkd.losses.SoftTargets(2.0), tfkd.losses.Hint("conv2", "conv2", projector=True)]
    options = {"training_data": examples, "losses": losses, "optimizer": keras.optimizers.SGD(0.01, 0.9)}
    found = tfkd.search(
        teacher, {"width": [0.5]}, inherit=True, student_loss_weight=0.0, **options, **QUICK
    )
    assert len(found.trials) == 1 and found.trials[0].objective > 0.25


def test_validation_data_of_ones_own(teacher, examples):
    judging = blobs(50, seed=9)
    options = {"training_data": examples, "validation_data": judging, **QUICK}
    found = tfkd.search(teacher, {"width": [0.5]}, **options)
    right = answers(found.student(), judging[0]).argmax(-1) == judging[1]
    assert found.best.objective == pytest.approx(right.mean())


def test_a_budget_that_excludes_everything(teacher, examples):
    options = {"training_data": examples, **QUICK}
    message = (
        r"`budget`: none of the points tried \(6\) costs at most 600 parameters; the closest "
        r"has 682 parameters. Raise the budget to that, or add smaller choices to `space`."
    )
    with pytest.raises(ValueError, match=message):
        tfkd.search(teacher, SPACE, Budget(parameters=600), **options)
    # What the message says works.
    found = tfkd.search(teacher, SPACE, Budget(parameters=682), **options)
    assert [trial.point for trial in found.trials] == [{"width": 0.25, "kernel": None}]


def test_milliseconds_limit_a_search(teacher, examples, monkeypatch, tmp_path):
    """With a clock of our own: a parameter takes a microsecond."""

    def timed(meter, model, cost):
        return type(cost)(parameters=cost.parameters, flops=cost.flops, milliseconds=cost.parameters / 1000)

    monkeypatch.setattr(_trials.Meter, "_timed", timed)
    options = {"training_data": examples, "folder": tmp_path, **QUICK}
    found = tfkd.search(teacher, SPACE, Budget(milliseconds=1.0), **options)
    assert sorted(trial.milliseconds for trial in found.trials) == [0.682, 0.842]
    assert found.over_budget == 4 and found.teacher.milliseconds > 1
    assert found.front[0].milliseconds == 0.682
    monkeypatch.setattr(_trials.Meter, "_timed", lambda *arguments: pytest.fail("timed again"))
    assert figures(tfkd.search(teacher, SPACE, Budget(milliseconds=1.0), **options)) == figures(found)


def test_students_that_are_not_finite(teacher, examples):
    options = {"training_data": examples, **QUICK}
    with pytest.raises(FloatingPointError, match="the outputs of none of 1 students are finite"):
        tfkd.search(teacher, {"width": [0.5]}, learning_rate=1e30, **options)


def test_folders_of_other_searches(found, teacher, examples, tmp_path):
    options = {"training_data": examples, "folder": found.folder, "verbose": 0, "batch_size": 32}
    with pytest.raises(
        ValueError, match=r"has trials of another search: `epochs` was 1, now 2\. Use the same"
    ):
        tfkd.search(teacher, SPACE, epochs=2, **options)
    (tmp_path / "search.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged, or not from a tfkd search"):
        tfkd.search(teacher, SPACE, training_data=examples, folder=tmp_path, **QUICK)


def test_seeds_of_trials():
    assert seed_of({"a": 1, "b": 2}, 0) == seed_of({"b": 2, "a": 1}, 0)
    assert len({seed_of({"a": a}, seed) for a in range(3) for seed in range(3)}) == 9
    assert 0 <= seed_of({"a": 1}, 0) < 2**31


X, Y = blobs(20)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"trials": 0}, ValueError, "`trials` must be an integer of at least 1"),
        ({"seed": -1}, ValueError, "`seed` must be an integer of at least 0"),
        ({"strategy": "best"}, ValueError, "`strategy` must be one of"),
        ({"budget": 300}, TypeError, "`budget` must be a tfkd.searching.Budget"),
        ({"teacher": "teacher.keras"}, TypeError, "`teacher` must be a keras.Model"),
        ({"training_data": None, "losses": []}, ValueError, "`losses` was given without `training_data`"),
        ({"training_data": None, "validation_data": (X, Y)}, ValueError, "`validation_data` was given"),
        ({"recipe": RECIPE}, ValueError, "`recipe` is for a search without data"),
        ({"training_data": X}, TypeError, r"`training_data` must be \(inputs, labels\)"),
        ({"training_data": (X, None)}, TypeError, "Leave it out to search without data"),
        ({"training_data": (X[:, :3], Y)}, ValueError, "`training_data`: inputs must be floats of shape"),
        ({"training_data": (X.astype(int), Y)}, ValueError, "inputs must be floats of shape"),
        (
            {"training_data": (X, Y + 4)},
            ValueError,
            "the labels of `training_data` must be 20 class indices",
        ),
        ({"validation_data": (X, Y[:3])}, ValueError, "the labels of `validation_data`"),
        ({"validation_share": 0.99}, ValueError, "leaves none for training"),
        ({"validation_share": 1}, ValueError, "`validation_share` must be above 0 and below 1"),
        ({"epochs": 0}, ValueError, "`epochs` must be an integer of at least 1"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be an integer"),
        ({"learning_rate": 0}, ValueError, "`learning_rate` must be above 0"),
        ({"student_loss_weight": 2}, ValueError, "`student_loss_weight` must be"),
    ],
)
def test_bad_input(teacher, options, error, message):
    arguments = {"teacher": teacher, "space": {"width": [0.5]}, "training_data": (X, Y), "verbose": 0}
    with pytest.raises(error, match=message):
        tfkd.search(**{**arguments, **options})
