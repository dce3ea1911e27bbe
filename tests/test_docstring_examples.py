"""The examples in docstrings run, and show what comes out."""

import pytest

from tests.examples import finding, running, worlds
from tests.examples.short import short_training as short_training

pytestmark = [pytest.mark.slow, pytest.mark.eager]

# Numbers that the authors of examples measured, on networks of their own.
MEASURED = {
    "tfkd.analysis.agreement",
    "tfkd.analysis.expected_calibration_error",
    "tfkd.analysis.fidelity",
    "tfkd.compression.sparsity",
    "tfkd.tasks.Segmentation",
    "tfkd.tasks.SentenceEmbedding",
}
# What is not run, and why.
WHOLE_JOB = "a whole job, which tests/pipelines and tests/searching run at a size for tests"
NOT_RUN = {
    "tfkd.export.read_calibration": "reads what a whole job has left",
    "tfkd.search": WHOLE_JOB,
    "tfkd.searching.SearchResult": WHOLE_JOB,
    "tfkd.text.exact_gelu": "downloads a network",
}
EXAMPLES = finding.in_docstrings()
NOT_RUN |= {name: WHOLE_JOB for name in EXAMPLES if name.startswith("tfkd.pipelines.")}


def runs(name: str) -> bool:
    """Whether the example of a name is run here."""
    return name not in NOT_RUN


# The stand-ins for trained networks are not trained, and runs are cut short.
@pytest.mark.filterwarnings("ignore::tfkd.teachers.TeacherWarning", "ignore::tfkd.datafree.HealthWarning")
@pytest.mark.parametrize("name", [name for name in EXAMPLES if runs(name)])
def test_example_runs(name, tmp_path, monkeypatch, short_training):
    monkeypatch.chdir(tmp_path)
    module, _, _ = name.rpartition(".")
    names = worlds.names_for(EXAMPLES[name], worlds.world_of(name), module)
    running.run_session(EXAMPLES[name], names, any_fractions=name in MEASURED)


def test_what_is_left_out_or_measured_has_an_example():
    assert {*NOT_RUN, *MEASURED, *worlds.WORLDS} - {*EXAMPLES, *worlds.PACKAGES} == set()
