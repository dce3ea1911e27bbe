"""Model cards: the facts of a run, once, as JSON and as Markdown."""

import json

import numpy as np
import pytest

from tests.conftest import CLASSES, SHAPE, small_network
from tests.export import run_metrics
from tests.export.test_text import X, bilstm
from tfkd import export
from tfkd.export._card_facts import card_facts
from tfkd.export._model_card import write_model_card
from tfkd.tasks import Classification, MultiLabel, TextClassification

pytest.importorskip("jinja2")

TASK = Classification((CLASSES,))
PIPELINES = {
    "distil": run_metrics.metrics_of,
    "distil_with_data": run_metrics.metrics_with_data,
    "compress": run_metrics.compression_metrics,
    "search": run_metrics.search_metrics,
}
SIZES = {"student.keras": 1234, "student.tflite": 567}


def facts_of(metrics, task=TASK, model=None, tflite=None):
    return card_facts(metrics, model or small_network(4), task, tflite, SIZES)


def written(folder, facts):
    write_model_card(folder, facts)
    assert json.loads((folder / "model_card.json").read_text()) == facts
    return (folder / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("scores", [None, {"accuracy": 0.5}], ids=["unmeasured", "measured"])
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_markdown_says_what_json_says(tmp_path, pipeline, scores):
    metrics = PIPELINES[pipeline](TASK, scores)
    facts = facts_of(metrics)
    text = written(tmp_path, facts)
    assert facts["name"] == "net" and facts["parameters"] == small_network(4).count_params()
    assert facts["inputs"] == [
        {"name": "image", "shape": list(SHAPE), "dtype": "float32", "values": "in [0, 1]"}
    ]
    assert facts["outputs"] == {"shape": [CLASSES], "meaning": TASK.outputs_are}
    assert facts["origin"]["pipeline"] == pipeline and f"    {metrics['command']}\n" in text
    assert facts["origin"]["teacher"] in ("net", "net.keras") and "/" not in facts["origin"]["teacher"]
    for sentence in facts["limits"]:
        assert f"- {sentence}\n" in text
    for each in facts["figures"]:
        value = f"{each['value']:.4g}"
        assert f"| {each['of']} | {each['name']} | {value} | {each['on']} |\n" in text
    assert "| `student.keras` | 1,234 |" in text and facts["license"] in text
    assert "None" not in text


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_limits_say_what_was_learned_from_and_measured_on(pipeline):
    without_data = pipeline != "distil_with_data"
    unmeasured = facts_of(PIPELINES[pipeline](TASK))
    limits = " ".join(unmeasured["limits"])
    assert ("It has never seen real data" in limits) == without_data
    assert ("No real data was given, so" in limits) == without_data
    assert all(each["name"] != "accuracy" for each in unmeasured["figures"])
    measured = facts_of(PIPELINES[pipeline](TASK, {"accuracy": 0.5}))
    assert "No real data was given" not in " ".join(measured["limits"])
    scored = [each for each in measured["figures"] if each["name"] == "accuracy"]
    assert {each["of"] for each in scored} > {"TFLite file"}
    assert all(each["value"] == 0.5 and each["on"].startswith("50 ") for each in scored)


def test_real_data_beside_synthesized_inputs_are_no_secret(tmp_path):
    facts = facts_of(run_metrics.compression_metrics(TASK, training_images=8))
    assert not any("never seen real data" in each for each in facts["limits"])
    assert "Compressed. Trained by distillation from net.keras on real data." in written(tmp_path, facts)


def test_what_is_only_converted_has_learned_nothing(tmp_path):
    facts = facts_of(run_metrics.compression_metrics(TASK, stages=[]))
    assert (
        not any("learned" in each for each in facts["limits"]) and facts["origin"]["learned_from"] is None
    )
    assert "Trained" not in written(tmp_path, facts)


def test_what_was_not_found_or_done_comes_first():
    findings = {"findings": [{"epoch": 3, "message": "the inputs are all of one class."}]}
    limits = facts_of(run_metrics.metrics_of(TASK, problem="it broke", health=findings))["limits"]
    assert limits[0] == "Attention: it broke." and limits[-1].startswith("Epoch 3: the inputs")
    held_out = run_metrics.metrics_with_data(TASK, agreement_on="held-out training examples")
    assert any("looks slightly better" in each for each in facts_of(held_out)["limits"])


def test_without_teacher_and_file(tmp_path):
    metrics = run_metrics.metrics_with_data(
        MultiLabel((CLASSES,)), {"accuracy": 0.5}, teacher=None, agreement=None, tflite=None
    )
    facts = facts_of(metrics, MultiLabel((CLASSES,)))
    text = written(tmp_path, facts)
    assert {each["of"] for each in facts["figures"]} == {"student"} and facts["tflite"] is None
    assert "teacher" not in " ".join(facts["limits"]) and "| TFLite file" not in text
    assert "a sigmoid turns them into probabilities" in text and "Multi label" in text


def test_a_file_says_what_it_takes(tmp_path):
    model, labels = small_network(4), ["a|b", "<b>", "c_d", "e"]
    images = np.random.default_rng(0).uniform(size=(16, *SHAPE)).astype("float32")
    export.export_tflite(model, tmp_path / "m.tflite", verification_data=images, labels=labels, task=TASK)
    metrics = run_metrics.metrics_of(TASK, class_names=labels)
    facts = facts_of(metrics, model=model, tflite=(tmp_path / "m.tflite").read_bytes())
    assert facts["tflite"]["labels"] == facts["labels"] == labels
    assert facts["tflite"]["inputs"] == [{"name": "image", "shape": list(SHAPE), "dtype": "float32"}]
    assert [each["shape"] for each in facts["tflite"]["outputs"]] == [[CLASSES]]
    text = written(tmp_path, facts)
    assert r"outputs: a\|b, \<b\>, c\_d, e." in text and "Inputs are in [0.0, 1.0]." in text


def test_a_file_of_texts_says_how_long_they_are(tmp_path):
    model, task = bilstm(), TextClassification((3,))
    export.export_tflite(model, tmp_path / "m.tflite", verification_data=X, task=task)
    facts = facts_of(
        run_metrics.metrics_with_data(task, {"accuracy": 0.5}, pipeline="distil_text"),
        task,
        model,
        (tmp_path / "m.tflite").read_bytes(),
    )
    assert {each["values"] for each in facts["inputs"]} == {"integers"}
    assert facts["tflite"]["length"] == 12
    text = written(tmp_path, facts)
    assert "Texts are 12 tokens long." in text and "held-out texts" in text
