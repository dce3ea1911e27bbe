"""compress: all stages, none, with data and another teacher; what is wrong."""

import json
import os
import re

import keras
import numpy as np
import pytest

import tfkd
from tests import harness
from tests.conftest import blobs, small_network
from tests.datafree.recipes import TINY_GENERATOR
from tfkd.compression import sparsity
from tfkd.datafree import DFAD, Procedural
from tfkd.pipelines import compress
from tfkd.pipelines._run_folder import Interrupted
from tfkd.pipelines._saving import SaveState

pytestmark = pytest.mark.program
# What refines images takes longest to trace.
QUICK = Procedural(epochs=2, steps_per_epoch=2, batch_size=16, memory=32, refine_steps=0)


@pytest.fixture(scope="module")
def asked(teacher_file, eval_file, tmp_path_factory):
    """What a run with all three stages is asked for."""
    return {
        "model": teacher_file,
        "prune": 0.6,
        "cluster": 8,
        "quantize": True,
        "recipe": DFAD(**TINY_GENERATOR, warmup_steps=2),
        "evaluation_data": eval_file,
        "min_agreement": 0.8,
        "labels": ["a", "b", "c", "d"],
        "seed": 1,
        "folder": tmp_path_factory.mktemp("compress") / "out",
    }


@pytest.fixture(scope="module")
def compressed(asked):
    return compress(**asked)


def zeros_of_layers(model):
    """The share of zeros in each kernel."""
    return [np.mean(layer.kernel.numpy() == 0) for layer in model.layers if hasattr(layer, "kernel")]


def test_everything_is_written(compressed):
    assert set(os.listdir(compressed.folder)) == {
        "run.json",
        "metrics.json",
        "report.html",
        "MODEL_CARD.md",
        "model_card.json",
        "model.keras",
        "model.tflite",
        "calibration.npz",
        "tensorboard",
    }
    with open(os.path.join(compressed.folder, "metrics.json"), encoding="utf-8") as file:
        assert json.load(file) == compressed.metrics
    with open(os.path.join(compressed.folder, "model.tflite"), "rb") as file:
        assert file.read() == compressed.tflite
    saved = keras.models.load_model(os.path.join(compressed.folder, "model.keras"))
    for ours, kept in zip(saved.get_weights(), compressed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, kept)


def test_metrics_tell_the_truth(compressed, eval_file):
    metrics = compressed.metrics
    names = [(row["name"], row["quantization"]) for row in metrics["variants"]]
    assert names == [
        ("original", "float32"),
        ("original", "int8"),
        ("original, calibrated on noise", "int8"),
        ("pruned", "float32"),
        ("pruned", "int8"),
        ("clustered", "float32"),
        ("clustered", "int8"),
        ("written file", "int8"),
    ]
    written = metrics["variants"][-1]
    assert written["size_bytes"] == len(compressed.tflite) == compressed.tflite_check.size_bytes
    with np.load(eval_file) as arrays:
        x, y = arrays["x_test"][..., None].astype("float32") / 255, arrays["y_test"]
    predicted = tfkd.export.run_tflite(compressed.tflite, x).argmax(-1)
    assert written["accuracy"] == pytest.approx(np.mean(predicted == y))
    assert tfkd.export.read_metadata(compressed.tflite)["labels"] == ["a", "b", "c", "d"]


def test_zeros_and_clusters_are_there(compressed):
    model = compressed.model
    assert compressed.metrics["sparsity"] == pytest.approx(sparsity(model)) and sparsity(model) >= 0.59
    assert len(np.unique(model.get_layer("logits").kernel.numpy())) <= 8
    # Zeros are spread by what weights matter.
    assert np.ptp(zeros_of_layers(model)) > 0.1


def test_stages_share_the_warm_up(compressed):
    stages = compressed.metrics["stages"]
    assert [stage["name"] for stage in stages] == ["pruned", "clustered", "quantization-aware"]
    # Half of the first stage's steps warm up; the others go on with what it made, and are as long.
    assert all(stage["updates"] == 2 * 2 and stage["seconds"] > 0 for stage in stages)


def test_report_is_self_contained(compressed, tmp_path):
    compressed.report(tmp_path / "mine.html")
    html = (tmp_path / "mine.html").read_text()
    assert html.count("data:image/png;base64,") == 1 and "compressed without data" in html
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    for row in compressed.metrics["variants"]:
        assert (
            f"<td>{row['name']}, {row['quantization']}</td><td>{100 * row['accuracy']:.2f} %</td>" in html
        )
        assert f"{row['name']}, {row['quantization']}" in compressed.summary()


def test_without_stages_data_and_folder_the_model_is_only_converted(teacher, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compressed = compress(teacher, tflite="float16")
    assert [row["name"] for row in compressed.metrics["variants"]] == ["original", "written file"]
    assert compressed.metrics["stages"] == [] and compressed.metrics["variants"][0]["accuracy"] is None
    assert compressed.model is teacher and compressed.tflite_check.agreement > 0.9
    assert os.listdir(tmp_path) == [] and capsys.readouterr().out == ""
    compressed.report("report.html")
    assert "No real data was given" in (tmp_path / "report.html").read_text()


def with_dropout():
    network = small_network(4)
    x = keras.layers.Dropout(0.5, name="drop")(network.get_layer("flat").output)
    return keras.Model(network.inputs, keras.layers.Dense(4, name="logits")(x))


def test_with_data_and_a_black_box_as_teacher(teacher, tmp_path):
    tfkd.export.export_tflite(teacher, tmp_path / "teacher.tflite")
    model = with_dropout()
    before = harness.snapshot(model)
    asked = {
        "teacher": tmp_path / "teacher.tflite",
        "training_data": blobs(64),
        "prune": 0.5,
        "prune_distribution": "uniform",
        "recipe": QUICK,
        "tflite": None,
        "folder": tmp_path / "out",
    }
    compressed = compress(model, **asked)
    assert set(os.listdir(tmp_path / "out")) == {
        "run.json",
        "metrics.json",
        "report.html",
        "MODEL_CARD.md",
        "model_card.json",
        "model.keras",
        "tensorboard",
    }
    # As long as without data, so that pruning comes to its end.
    assert compressed.metrics["stages"][0]["updates"] == 2 * 2 * 6
    assert compressed.metrics["sparsity"] == pytest.approx(0.5, abs=0.02)
    assert np.ptp(zeros_of_layers(compressed.model)) < 0.05
    assert compressed.tflite is None and compressed.problem is None
    assert "with real and synthesized inputs" in (tmp_path / "out/report.html").read_text()
    # Students learn without dropout; the model is as it was.
    assert compressed.model.get_layer("drop").rate == 0.0 and model.get_layer("drop").rate == 0.5
    assert model.trainable
    harness.assert_same_weights(before, model)
    with pytest.raises(
        ValueError, match="is not empty; continue it with `resume`, or replace it with `overwrite`"
    ):
        compress(model, **asked)


def sine():
    inputs = keras.Input((12, 12, 1))
    x = keras.layers.Flatten()(keras.layers.UpSampling2D()(keras.ops.sin(inputs)))
    return keras.Model(inputs, keras.layers.Dense(4)(x))


@pytest.mark.filterwarnings("ignore:.*not finite")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "none.keras"}, FileNotFoundError, "does not exist"),
        ({"model": sine, "quantize": True}, ValueError, "has no counterpart in tf_keras"),
        ({"quantize": True, "tflite": "float16"}, ValueError, "`quantize` trains for an int8 file"),
        ({"learn_rounding": True, "tflite": "float16"}, ValueError, "`learn_rounding` is for .* files"),
        (
            {"learn_rounding": True, "quantize": True, "tflite": "int8"},
            ValueError,
            "`learn_rounding` is for .* `quantize`=True",
        ),
        (
            {"training_data": "a file to evaluate on"},
            ValueError,
            "`training_data`: .* lacks x_train and y_train",
        ),
        ({"recipe": "nothing"}, ValueError, "Unknown recipe"),
        ({"prune": 1.0}, ValueError, "`prune` must be at least 0 and below 1"),
        ({"prune_distribution": "even"}, ValueError, "`prune_distribution` must be one of"),
        ({"cluster": 1}, ValueError, "`cluster` must be an integer of at least 2"),
        ({"prune": 0.5, "learning_rate": 1e30}, FloatingPointError, "no longer finite in epoch 1"),
        (
            {"recipe": DFAD(epochs=1, steps_per_epoch=1, warmup_steps=1)},
            ValueError,
            "`warmup_steps` must be below the 1 steps",
        ),
    ],
)
def test_bad_input(teacher, eval_file, tmp_path, changes, error, message):
    asked = {"model": teacher, "recipe": QUICK, "tflite": None, "folder": tmp_path / "out", **changes}
    asked["model"] = sine() if asked["model"] is sine else asked["model"]
    asked["training_data"] = eval_file if "training_data" in changes else None
    with pytest.raises(error, match=message):
        compress(**asked)
    assert not (tmp_path / "out/metrics.json").exists()


def interrupting(monkeypatch, *counts):
    """Interrupts runs at the ends of some epochs, before their state is saved; a list of all epochs run."""
    epochs, on_epoch_end = [], SaveState.on_epoch_end

    def interrupted(self, epoch, logs=None):
        epochs.append((os.path.basename(self.path).split(".")[0], epoch))
        if len(epochs) in counts:
            raise KeyboardInterrupt
        on_epoch_end(self, epoch, logs)

    monkeypatch.setattr(SaveState, "on_epoch_end", interrupted)
    return epochs


def assert_same_model(ours, expected):
    for weight, other in zip(ours.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


def test_interrupted_stages_go_on_in_their_data_to_the_same_weights(teacher, tmp_path, capsys, monkeypatch):
    asked = {"model": teacher, "training_data": blobs(64), "prune": 0.5, "cluster": 8, "recipe": QUICK}
    asked |= {"tflite": None, "seed": 3}
    whole = compress(**asked)
    epochs = interrupting(monkeypatch, 4)
    with pytest.raises(Interrupted):
        compress(**asked, folder=tmp_path)
    resumed = compress(**asked, folder=tmp_path, resume=True, verbose=2)
    # Each epoch once, but for the one that was lost.
    expected = [(stage, epoch) for stage in ("pruned", "clustered") for epoch in range(2)]
    assert epochs == [*expected, *expected[3:]]
    assert "pruned: 2 epochs, 2 of them done earlier" in capsys.readouterr().out
    assert_same_model(resumed, whole)
    for ours, theirs in zip(resumed.metrics["stages"], whole.metrics["stages"], strict=True):
        for name in ("name", "updates", "loss", "agreement"):
            assert ours[name] == theirs[name]
    assert not (tmp_path / "state").exists()


def test_a_complete_run_is_read_again(compressed, asked, tmp_path, capsys):
    again = compress(**asked, resume=True, verbose=2)
    assert "nothing to resume" in capsys.readouterr().out
    for name in ("metrics", "tflite", "tflite_check", "problem"):
        assert getattr(again, name) == getattr(compressed, name)
    assert_same_model(again, compressed)
    again.report(tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text().count("data:image/png;base64,") == 1
