"""What `diagnose` says where something is missing or broken."""

import importlib.metadata

import pytest

from tfkd import pipelines
from tfkd.pipelines import _diagnosis


def fail():
    raise RuntimeError("no such instruction\nand more")


@pytest.fixture
def attempts(monkeypatch):
    replaced = {}
    monkeypatch.setattr(_diagnosis, "_ATTEMPTS", replaced)
    return replaced


def test_what_fails_is_named_with_its_error_and_the_rest_is_tried(attempts):
    tried = []
    attempts.update({"XLA": fail, "a TFLite file": lambda: tried.append(1)})
    diagnosis = pipelines.diagnose()
    assert tried and diagnosis.failures == {"XLA": "RuntimeError: no such instruction"}
    assert diagnosis.problem == "These failed: XLA."
    assert "XLA failed: RuntimeError" in diagnosis.summary()


def test_extras_that_are_missing_or_of_another_version(attempts, monkeypatch):
    if not importlib.metadata.requires("tfkd"):
        pytest.skip("tfkd is not installed, so that nothing says what its extras need")
    known = importlib.metadata.version
    versions = {"keras-tuner": "0.1", "jinja2": None}

    def version(name):
        if name not in versions:
            return known(name)
        if versions[name] is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    before = pipelines.diagnose().missing
    monkeypatch.setattr(importlib.metadata, "version", version)
    missing = pipelines.diagnose().missing
    assert "report" not in before and any("jinja2" in each for each in missing["report"])
    assert any("keras-tuner" in each for each in missing["search"]) and not {"all", "test"} & set(missing)
    assert "pip install 'tfkd[report]'" in pipelines.diagnose().summary()
