"""tfkd-compress as users start it: by flags."""

import dataclasses
import functools
import json
import os
import re

import keras
import numpy as np
import pytest
from absl import app

import tfkd
from tests.cli import running
from tests.conftest import blobs, small_network
from tfkd.cli import compress
from tfkd.compression import sparsity

FAST = (
    "--epochs=2",
    "--steps_per_epoch=2",
    "--batch_size=16",
    "--memory=32",
    "--seed=1",
    # What refines images takes longest to trace.
    "--recipe_options=refine_steps=0",
)


run = functools.partial(running.run, compress)


@pytest.fixture(scope="module")
def finished(teacher_file, eval_file, tmp_path_factory):
    """A run with all three stages."""
    folder = tmp_path_factory.mktemp("compress") / "out"
    stages = ("--prune=0.6", "--cluster=8", "--quantize", "--min_agreement=0.8", "--labels=a,b,c,d")
    stages += ("--recipe_options=warmup_steps=2",)
    model = (f"--model={teacher_file}", f"--eval_data={eval_file}", f"--output_dir={folder}")
    return folder, run(*model, *stages, *FAST)


def zeros_of_layers(model):
    """The share of zeros in each kernel."""
    return [np.mean(layer.kernel.numpy() == 0) for layer in model.layers if hasattr(layer, "kernel")]


def test_everything_is_written(finished):
    folder, done = finished
    assert set(os.listdir(folder)) == {
        "run.json",
        "metrics.json",
        "report.html",
        "model.keras",
        "model.tflite",
    }
    assert "quantization-aware: 2 epochs" in done.stdout and "clustered, int8" in done.stdout


def test_metrics_tell_the_truth(finished, eval_file):
    folder, _ = finished
    metrics = json.loads((folder / "metrics.json").read_text())
    names = [(row["name"], row["quantization"]) for row in metrics["variants"]]
    assert names == [
        ("original", "float32"),
        ("original", "int8"),
        ("original, calibrated by noise", "int8"),
        ("pruned", "float32"),
        ("pruned", "int8"),
        ("clustered", "float32"),
        ("clustered", "int8"),
        ("written file", "int8"),
    ]
    content = (folder / "model.tflite").read_bytes()
    written = metrics["variants"][-1]
    assert written["size_bytes"] == len(content)
    arrays = np.load(eval_file)
    x = arrays["x_test"][..., None].astype("float32") / 255
    predicted = tfkd.export.run_tflite(content, x).argmax(-1)
    assert written["accuracy"] == pytest.approx(np.mean(predicted == arrays["y_test"]))
    assert tfkd.export.read_metadata(content)["labels"] == ["a", "b", "c", "d"]
    model = keras.models.load_model(folder / "model.keras")
    assert metrics["sparsity"] == pytest.approx(sparsity(model)) and sparsity(model) >= 0.59
    values = model.get_layer("logits").kernel.numpy()
    assert len(np.unique(values)) <= 8
    # Zeros are spread by what weights matter.
    assert np.ptp(zeros_of_layers(model)) > 0.1
    assert [stage["name"] for stage in metrics["stages"]] == ["pruned", "clustered", "quantization-aware"]
    # Half of the first stage's steps warm up; the others go on with what it made, and are as long.
    assert all(stage["updates"] == 2 * 6 and stage["seconds"] > 0 for stage in metrics["stages"])


def test_report_is_self_contained(finished):
    folder, _ = finished
    html = (folder / "report.html").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert html.count("data:image/png;base64,") == 1
    assert not re.search(r'(src|href)=(?!"data:)', html)
    for row in metrics["variants"]:
        assert (
            f"<td>{row['name']}, {row['quantization']}</td><td>{100 * row['accuracy']:.2f} %</td>" in html
        )


def test_without_stages_or_data_the_model_is_only_converted(teacher_file, tmp_path):
    done = run(f"--model={teacher_file}", "--tflite=float16", f"--output_dir={tmp_path / 'out'}", *FAST)
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert [row["name"] for row in metrics["variants"]] == ["original", "written file"]
    assert metrics["stages"] == [] and metrics["variants"][0]["accuracy"] is None
    assert "No real data was given" in (tmp_path / "out/report.html").read_text()
    assert "written file, float16" in done.stdout


def test_with_data_and_another_teacher(teacher_file, tmp_path):
    x, y = blobs(64)
    np.savez(tmp_path / "train.npz", x_train=x, y_train=y)
    small_network(4, name="smaller").save(tmp_path / "model.keras")
    flags = (
        f"--model={tmp_path / 'model.keras'}",
        f"--teacher={teacher_file}",
        f"--train_data={tmp_path / 'train.npz'}",
        "--prune=0.5",
        "--prune_distribution=uniform",
        "--tflite=none",
        f"--output_dir={tmp_path / 'out'}",
    )
    run(*flags, *FAST)
    assert set(os.listdir(tmp_path / "out")) == {"run.json", "metrics.json", "report.html", "model.keras"}
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    # As long as without data, so that pruning comes to its end.
    assert metrics["stages"][0]["updates"] == 2 * 2 * 6
    assert metrics["sparsity"] == pytest.approx(0.5, abs=0.02)
    assert np.ptp(zeros_of_layers(keras.models.load_model(tmp_path / "out/model.keras"))) < 0.05
    again = run(*flags, *FAST, status=2)
    assert "is not empty; replace it with --overwrite" in again.stderr


def test_a_file_that_disagrees_costs_no_result(teacher_file, tmp_path, monkeypatch):
    verify = tfkd.export._tflite.verify_tflite
    monkeypatch.setattr(
        tfkd.export.tflite,
        "verify_tflite",
        lambda *arguments: dataclasses.replace(verify(*arguments), agreement=0.5),
    )
    flags = ("--min_agreement=0.6", f"--output_dir={tmp_path / 'out'}", *FAST)
    done = run(f"--model={teacher_file}", *flags, status=1)
    assert "there is no model.tflite: The int8 TFLite file" in done.stderr
    assert "50.00% of images, below `min_agreement` 60.00%" in done.stderr
    assert "Attention: there is no model.tflite" in (tmp_path / "out/report.html").read_text()
    assert {"model.keras", "metrics.json"} <= set(os.listdir(tmp_path / "out"))


def test_students_learn_without_dropout(tmp_path):
    network = small_network()
    x = keras.layers.Dropout(0.5, name="drop")(network.get_layer("flat").output)
    keras.Model(network.inputs, keras.layers.Dense(4)(x)).save(tmp_path / "model.keras")
    out = tmp_path / "out"
    for flags, rate in ((("--tflite=float32",), 0.5), (("--tflite=none", "--prune=0.3"), 0.0)):
        run(f"--model={tmp_path / 'model.keras'}", f"--output_dir={out}", "--overwrite", *flags, *FAST)
        assert keras.models.load_model(out / "model.keras").get_layer("drop").rate == rate


def test_a_black_box_teaches(teacher_file, teacher, tmp_path):
    tfkd.export.export_tflite(teacher, tmp_path / "teacher.tflite")
    flags = (f"--model={teacher_file}", f"--teacher={tmp_path / 'teacher.tflite'}", "--tflite=none")
    run(*flags, "--prune=0.3", f"--output_dir={tmp_path / 'out'}", *FAST)
    assert json.loads((tmp_path / "out/metrics.json").read_text())["sparsity"] > 0.28


def test_bad_input_ends_with_one_message(teacher_file, eval_file, tmp_path):
    inputs = keras.Input((12, 12, 1))
    x = keras.layers.Flatten()(keras.layers.UpSampling2D()(keras.ops.sin(inputs)))
    keras.Model(inputs, keras.layers.Dense(4)(x)).save(tmp_path / "sine.keras")
    good = {"model": teacher_file, "output_dir": tmp_path / "out", "epochs": 1, "steps_per_epoch": 1}
    for changes, message in (
        ({"model": tmp_path / "none.keras"}, "there is no file"),
        ({"model": tmp_path / "sine.keras", "quantize": "true"}, "has no counterpart in tf_keras"),
        ({"quantize": "true", "tflite": "float16"}, "--quantize trains for an int8 file"),
        ({"train_data": eval_file}, "--train_data: .* lacks x_train and y_train"),
        ({"recipe": "nothing"}, "Unknown recipe"),
        ({"prune": 0.5, "learning_rate": 1e30}, "no longer finite in epoch 1"),
        ({"prune": 0.5, "recipe_options": "warmup_steps=1"}, "warmup_steps must be below the 1 steps"),
    ):
        flags = [f"--{name}={value}" for name, value in {**good, **changes}.items()]
        done = run(*flags, "--overwrite", status=2)
        assert re.search(message, done.stderr) and "Traceback" not in done.stderr
        assert not (tmp_path / "out/metrics.json").exists()


def test_what_is_missing_is_said():
    with pytest.raises(app.UsageError, match="tfkd-compress needs --model and --output_dir"):
        run()
