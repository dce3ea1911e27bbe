"""TensorBoard's events of runs: curves of several networks and hyperparameters."""

import keras
import pytest

from tests.conftest import blobs, small_network
from tests.pipelines import boards
from tfkd.pipelines._boards import TrainingCurves, training_curves, write_hparams
from tfkd.pipelines._run_folder import RunFolder
from tfkd.schemes import MutualDistiller

SETTINGS = {"seed": 1, "rate": 0.5, "inherit": True, "teacher": "t.keras", "labels": ["a"], "length": None}


def test_hyperparameters_are_written_once(tmp_path):
    with RunFolder(tmp_path, SETTINGS, resume=False, overwrite=False) as folder:
        folder.begin()
        for name in ("dafl", "cmi"):
            write_hparams(folder, recipe={"name": name, "weights": [1, 2]})
    found = boards.hparams(tmp_path / "tensorboard")
    assert found == {
        "seed": 1,
        "rate": 0.5,
        "inherit": True,
        "teacher": "t.keras",
        "labels": '["a"]',
        "recipe.name": "dafl",
        "recipe.weights": "[1, 2]",
    }


def test_networks_after_the_first_have_folders_of_their_own(tmp_path):
    x, y = blobs(16)
    fits = [dict(epochs=2), dict(initial_epoch=2, epochs=3), dict(epochs=1)]
    for fit in fits:
        # Runs that go on have other processes, and so other callbacks.
        model = small_network(2)
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(x, y, validation_data=(x, y), callbacks=[TrainingCurves(str(tmp_path))], verbose=0, **fit)
    for part in ("train", "validation"):
        assert boards.events(tmp_path / part, "epoch_loss") == [0, 1, 2]
        assert boards.events(tmp_path / "network_2" / part, "epoch_loss") == [0]


@pytest.mark.eager
def test_students_that_learn_together_are_one_run(tmp_path):
    mutual = MutualDistiller([small_network(2, name="a"), small_network(2, name="b")])
    mutual.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    mutual.fit(*blobs(16), callbacks=[TrainingCurves(str(tmp_path))], verbose=0)
    assert boards.events(tmp_path / "train", "epoch_loss") == [0]


def test_without_a_folder_there_are_none():
    assert training_curves(None) == []
