"""What a run was asked for: compared, recorded, repeated."""

import pathlib

import numpy as np

from tests.conftest import small_network
from tfkd.datafree import Procedural
from tfkd.pipelines._settings import Request
from tfkd.searching import Budget


def pipeline(
    teacher, students="0.5x", *, seed=0, options=None, folder=None, resume=False, flags=None, command=None
):
    return Request(pipeline, locals())


def test_a_call_is_written_as_it_can_be_repeated():
    request = pipeline("t's.keras", ["0.5x", pathlib.Path("s.keras")], seed=1, folder="out", resume=True)
    (called, written) = request.records["command"].split("(", 1)
    assert called == "tfkd.pipelines.pipeline" and request.records["pipeline"] == "pipeline"
    arguments = {"teacher": "t's.keras", "students": ["0.5x", "s.keras"], "seed": 1, "folder": "out"}
    assert eval(f"dict({written}") == arguments
    assert request.records["flags"] == {}
    assert request.settings["students"] == ["0.5x", "s.keras"] and "folder" not in request.settings


def test_objects_stand_in_angle_brackets():
    network, pair = small_network(4), (np.zeros(3), 0.5)
    command = pipeline(network, pair, options={"recipe": None, "a": True}).records["command"]
    expected = f"teacher=<{type(network).__name__} {network.name}>, students=[<ndarray>, 0.5], "
    assert command == f"tfkd.pipelines.pipeline({expected}options={{'recipe': None, 'a': True}})"


def test_recipes_and_budgets_are_written_with_what_was_changed():
    recipe, budget = Procedural(refine_steps=1).with_options(epochs=3), Budget(parameters=9)
    command = pipeline(recipe, options={"budget": budget}).records["command"]
    written = command.removeprefix("tfkd.pipelines.pipeline(")
    again = eval(f"dict({written}", {"Procedural": Procedural, "Budget": Budget})
    assert again == {"teacher": recipe, "options": {"budget": budget}}
    assert len(written) < 100


def test_a_command_line_counts_for_more_than_the_call():
    request = pipeline("t", flags={"teacher": "t", "seed": 0}, command="tfkd-data-free --teacher=t")
    assert request.settings == request.records["flags"] == {"teacher": "t", "seed": 0}
    assert request.records["command"] == "tfkd-data-free --teacher=t"
