"""What is found out about networks of all kinds, and that no probe ends an inspection."""

import json
import shlex

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfkd
from tests import transformers
from tests.conftest import CLASSES, SHAPE
from tfkd.pipelines import Finding, Inspection, _inspected_network, inspect_model

pytestmark = pytest.mark.filterwarnings("ignore:.*on synthetic images it")
EVERYTHING = (
    "parameters",
    "flops",
    "tflite",
    "scaling",
    "task",
    "thinning",
    "pruning",
    "quantization",
    "time",
)


def is_known(finding):
    return not finding.text.startswith("not known")


@pytest.fixture(scope="module")
def of_file(teacher_file):
    return inspect_model(teacher_file)


def test_a_file_of_images(of_file, teacher_file, trained):
    assert all(is_known(getattr(of_file, name)) for name in EVERYTHING), of_file.rows()
    assert of_file.format.value == "keras_3" and of_file.architecture.value == "functional"
    assert of_file.inputs.value == [{"name": "image", "shape": [None, *SHAPE], "dtype": "float32"}]
    assert of_file.outputs.value[0]["shape"] == [None, CLASSES]
    assert of_file.parameters.value == trained.count_params()
    assert of_file.flops.value == tfkd.analysis.count_flops(trained)
    assert of_file.normalizations.value == 1
    assert of_file.task.value == "classification" and "softmax" in of_file.task.text
    assert of_file.tflite.value["bytes"] > 4 * of_file.parameters.value
    assert of_file.thinning.value == "inherited" and "--inherit" in of_file.command.text
    assert of_file.pruning.value["not"] == of_file.quantization.value["not"] == []
    assert of_file.recipe.value == "guided_prior" and of_file.time.value["seconds"] > 0
    words = shlex.split(of_file.command.text)
    assert words[:2] == ["tfkd-data-free", f"--teacher={teacher_file}"] and "--student=0.5x" in words


def test_text_json_and_html(of_file, tmp_path):
    text = of_file.summary()
    assert "classification" in text and text.splitlines()[-1] == of_file.command.text
    path = tmp_path / "found.json"
    of_file.write_json(path)
    stored = json.loads(path.read_text())
    assert stored["parameters"] == {"text": of_file.parameters.text, "value": of_file.parameters.value}
    of_file.report(tmp_path / "found.html")
    html = (tmp_path / "found.html").read_text()
    assert "tfkd-data-free --teacher=" in html and f"{of_file.parameters.value:,}" in html


def test_names_of_strangers_command_neither_terminal_nor_browser(tmp_path):
    evil = Finding("\x1b[2J<script>alert(1)</script>")
    inspection = Inspection(**dict.fromkeys(Inspection.names(), evil), notes=("\x1b]0;x\x07",))
    assert "\x1b" not in inspection.summary() and "\x07" not in inspection.summary()
    inspection.report(tmp_path / "found.html")
    assert "<script>" not in (tmp_path / "found.html").read_text()


def test_a_range_that_is_given_is_kept_and_a_probe_that_fails_says_why(trained, monkeypatch):
    def broken(*args):
        raise RuntimeError("the converter\ndied")

    monkeypatch.setattr(_inspected_network, "file_of", broken)
    inspection = inspect_model(trained, teacher_options={"input_range": (0, 255)})
    assert inspection.tflite == Finding("not known: the converter died")
    assert is_known(inspection.flops)
    assert inspection.scaling.text.startswith("as given")
    assert "--input_range=0,255" in shlex.split(inspection.command.text)
    assert inspection.format.value == "model"


def test_a_sequential_in_a_sequential():
    body = keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(4, 3, activation="relu")])
    body.add(layers.GlobalAveragePooling2D())
    head = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax")])
    inspection = inspect_model(keras.Sequential([keras.Input((16, 16, 3)), body, head]))
    assert (
        inspection.architecture.value == "Sequential" and "2 of them models" in inspection.architecture.text
    )
    assert inspection.parameters.value == 4 * 28 + 15 and is_known(inspection.tflite)


def test_a_model_of_texts():
    inspection = inspect_model(transformers.own(1))
    assert {each["name"] for each in inspection.inputs.value} == set(transformers.TEXT)
    assert "token ids" in inspection.scaling.text and inspection.recipe.value == "procedural_text"
    assert shlex.split(inspection.command.text)[:2] == ["tfkd-distill", "--task=text"]
    assert inspection.thinning.value is None and is_known(inspection.pruning)


def test_a_black_box():
    teacher = tfkd.BlackBoxTeacher(lambda x: np.full((len(x), 3), 1 / 3), (8, 8, 1), 3)
    inspection = inspect_model(teacher)
    assert inspection.thinning.value is None and "black box" in inspection.pruning.text
    assert "black box" in inspection.recipe.text and inspection.recipe.value == "procedural"
    assert not is_known(inspection.time)


def test_vectors_and_series():
    for shape in ((6,), (20, 3)):
        inputs = keras.Input(shape)
        x = layers.Flatten()(layers.Conv1D(4, 3)(inputs) if len(shape) == 2 else inputs)
        inspection = inspect_model(keras.Model(inputs, layers.Dense(3)(x)))
        assert inspection.scaling.value["sure"] is False and is_known(inspection.flops)
        assert any("scaling is not certain" in note for note in inspection.notes)


class Unknown(keras.Model):
    def __init__(self):
        super().__init__(name="unknown")
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(ops.reshape(x, (-1, 64)))


def test_a_model_of_code_is_not_known_in_parts():
    model = Unknown()
    model(np.zeros((1, 8, 8), "float32"))
    inspection = inspect_model(model)
    assert "subclass Unknown" in inspection.architecture.text and inspection.parameters.value == 195
    assert not is_known(inspection.flops) and not is_known(inspection.thinning)
    assert any("cannot be used as a teacher" in note for note in inspection.notes)


def test_an_interruption_ends_an_inspection(monkeypatch):
    def interrupted(*args):
        raise RuntimeError("original error replaced by KeyboardInterrupt")

    monkeypatch.setattr(_inspected_network, "architecture_of", interrupted)
    with pytest.raises(RuntimeError, match="KeyboardInterrupt"):
        inspect_model(tfkd.BlackBoxTeacher(lambda x: np.full((len(x), 3), 1 / 3), (8, 8, 1), 3))


def test_files_that_are_not_there_or_not_models(tmp_path):
    with pytest.raises(FileNotFoundError, match="`teacher`"):
        inspect_model(tmp_path / "none.keras")
    (tmp_path / "no.keras").write_text("no model")
    with pytest.raises(ValueError, match="`teacher`"):
        inspect_model(tmp_path / "no.keras")
