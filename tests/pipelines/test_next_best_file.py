"""Nobody leaves without a file: where the kind that was asked for does not hold, the next best one does."""

import dataclasses
import json
import os

import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tests.conftest import small_network
from tfkd.datafree import Procedural
from tfkd.pipelines import compress, distil
from tfkd.pipelines._variants import Variants

pytestmark = [
    pytest.mark.program,
    # One step teaches nothing.
    pytest.mark.filterwarnings("ignore::tfkd.datafree.HealthWarning"),
    pytest.mark.filterwarnings("ignore::tfkd.datafree.ObjectiveWarning"),
]
QUICK = Procedural(epochs=1, steps_per_epoch=1, batch_size=8, memory=0, refine_steps=0)


@pytest.fixture
def agreeing(monkeypatch):
    """Has files of some kinds agree with their networks to a given share."""
    export = tfkd.export.export_tflite

    def set_shares(**shares):
        def exported(model, path, quantization, **options):
            check = export(model, path, quantization, **options)
            return dataclasses.replace(check, agreement=shares.get(quantization, check.agreement))

        monkeypatch.setattr(tfkd.export, "export_tflite", exported)

    return set_shares


@pytest.mark.parametrize(
    ("shares", "kind"),
    [
        ({"int8": 0.5}, "dynamic"),
        ({"int8": 0.5, "dynamic": 0.6}, "float16"),
        ({"int8": 0.5, "dynamic": 0.6, "float16": 0.7}, "float32"),
    ],
)
def test_the_next_best_kind_is_written_and_the_reason_said(shares, kind, teacher, agreeing, tmp_path):
    agreeing(**shares)
    compressed = compress(teacher, min_agreement=0.8, folder=tmp_path / "out", recipe=QUICK)
    assert compressed.problem.startswith(f"the TFLite file is {kind} instead of int8, ")
    reason = "the int8 file and its model agree on 50.0% of synthesized inputs, below `min_agreement` 80.0%"
    assert reason in compressed.problem
    assert compressed.metrics["tflite"]["quantization"] == kind
    assert (tmp_path / "out/model.tflite").read_bytes() == compressed.tflite
    assert compressed.summary().startswith(f"Attention: {compressed.problem}")
    page = (tmp_path / "out/report.html").read_text()
    assert page.index("Attention: the TFLite file is") < page.index("Variants</h2>")
    tried = [row["quantization"] for row in compressed.metrics["variants"] if row["name"] == "written file"]
    assert tried == ["int8", "dynamic", "float16", "float32"][: tried.index(kind) + 1]


def test_a_quantization_aware_student_becomes_the_next_best_kind_of_its_plain_model(teacher, agreeing):
    agreeing(int8=0.5)
    compressed = compress(teacher, quantize=True, min_agreement=0.8, recipe=QUICK)
    assert compressed.metrics["tflite"]["quantization"] == "dynamic"
    x = np.random.default_rng(0).random((4, 12, 12, 1)).astype("float32")
    outputs = tfkd.export.run_tflite(compressed.tflite, x)
    np.testing.assert_allclose(outputs, compressed.model(x), atol=0.5)


def test_where_no_kind_holds_the_reason_is_there_and_the_rest_too(teacher, agreeing, tmp_path):
    agreeing(**dict.fromkeys(("int8", "dynamic", "float16", "float32"), 0.5))
    compressed = compress(teacher, min_agreement=0.6, folder=tmp_path / "out", recipe=QUICK)
    assert compressed.problem.startswith("there is no TFLite file: the int8 file and its model agree")
    assert compressed.tflite is None and compressed.tflite_check is None
    assert {"model.keras", "metrics.json", "report.html"} <= set(os.listdir(tmp_path / "out"))


def recurrent():
    inputs = keras.Input((40, 3))
    return keras.Model(inputs, layers.Dense(3)(layers.LSTM(4)(inputs)), name="recurrent")


def test_a_converter_that_dies_leaves_a_file(tmp_path):
    distilled = distil(recurrent(), recurrent(), QUICK, folder=tmp_path / "out")
    assert "the TFLite file is dynamic instead of int8" in distilled.problem
    assert "the converter crashed" in distilled.problem
    assert tfkd.export.run_tflite(distilled.tflite, np.zeros((2, 40, 3), "float32")).shape == (2, 3)


def test_results_are_there_before_anything_is_converted(teacher, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    asked = {"recipe": QUICK, "folder": tmp_path / "out", "seed": 3}
    monkeypatch.setattr(Variants, "add", interrupted)
    keras.utils.set_random_seed(0)
    with pytest.raises(KeyboardInterrupt):
        distil(teacher, small_network(4), **asked)
    left = set(os.listdir(tmp_path / "out"))
    assert {"student.keras", "metrics.json", "report.html"} <= left and "student.tflite" not in left
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert not metrics["complete"] and "before its TFLite file was made" in metrics["problem"]
    monkeypatch.undo()
    keras.utils.set_random_seed(0)
    distilled = distil(teacher, small_network(4), resume=True, **asked)
    assert distilled.tflite is not None and distilled.metrics["complete"]


@pytest.mark.parametrize("tflite", ["int8", "float32"])
def test_a_file_that_holds_is_what_was_asked_for(teacher, tflite):
    distilled = distil(teacher, small_network(4), QUICK, tflite=tflite, min_agreement=0.0)
    assert distilled.problem is None and distilled.metrics["tflite"]["quantization"] == tflite
    assert not distilled.summary().startswith("Attention")
    with pytest.raises(ValueError, match="`min_agreement` must be between 0 and 1"):
        distil(teacher, small_network(4), QUICK, min_agreement=2)


def test_only_the_kind_that_was_asked_for_learns_its_rounding(monkeypatch):
    learned = {}

    def add(self, described, model, quantization, calibration=None, learn_rounding=False):
        learned[quantization] = learn_rounding
        raise RuntimeError("no disk")

    monkeypatch.setattr(Variants, "add", add)
    variants = Variants(None, None, None, None, tfkd.tasks.Classification((4,)))
    variants.choose({}, small_network(), "int8", 0.9, lambda line: None, learn_rounding=True)
    assert learned == {"int8": True, "dynamic": False, "float16": False, "float32": False}
