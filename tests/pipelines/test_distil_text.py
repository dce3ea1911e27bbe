"""distil_text: whole runs from folders, files and words for students; resuming; what is refused."""

import json
import shutil
import sys

import keras
import numpy as np
import pytest

from tests import harness, text_folder
from tests.pipelines import boards
from tests.pipelines.test_distil_with_data import interrupt
from tests.text import small_models
from tfkd import text
from tfkd.export import read_metadata, read_vocabulary
from tfkd.pipelines import _fine_tuning, distil_text
from tfkd.pipelines._run_folder import Interrupted
from tfkd.text import Tokenizer

SHORT = {"student": "1layers", "max_length": 16, "epochs": 2, "learning_rate": 0.01, "teacher_epochs": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an encoder, and files of texts."""
    place = tmp_path_factory.mktemp("texts")
    text_folder.write_folder(place / "encoder")
    texts, labels = text_folder.sentences(240)
    named = np.array(["bad", "good"])[labels]
    text_folder.write_tsv(place / "train.tsv", texts, named)
    text_folder.write_tsv(place / "lines.txt", texts)
    text_folder.write_tsv(place / "more.txt", text_folder.sentences(40, seed=1)[0])
    texts, labels = text_folder.sentences(60, seed=2)
    text_folder.write_tsv(place / "test.tsv", texts, labels)
    return place


@pytest.fixture
def fast_teacher(monkeypatch):
    """So small a teacher learns little at the rate of a real one."""
    monkeypatch.setattr(_fine_tuning, "_RATE", 0.01)


def classifier(place, classes=2):
    """An untrained teacher with a head."""
    keras.utils.set_random_seed(0)
    return text.classifier(text.load(place / "encoder").backbone, classes, name="net")


@pytest.mark.slow
def test_a_folder_and_labels_become_a_classifier(place, tmp_path, fast_teacher, capsys):
    out = tmp_path / "out"
    distilled = distil_text(
        place / "encoder",
        training_data=place / "train.tsv",
        evaluation_data=place / "test.tsv",
        folder=out,
        verbose=2,
        **{**SHORT, "teacher_epochs": 12, "epochs": 4},
    )
    metrics, check = distilled.metrics, distilled.tflite_check
    assert distilled.problem is None and check.agreement > 0.9 and check.latency_ms > 0
    assert metrics["teacher"]["accuracy"] > 0.9 and metrics["student"]["accuracy"] > 0.9
    assert metrics["tflite"]["quantization"] == "dynamic" and metrics["tflite"]["accuracy"] > 0.9
    assert (metrics["training_images"], metrics["validation_images"]) == (216, 24)
    assert (metrics["measured_images"], metrics["agreement_on"]) == (60, "evaluation texts")
    assert metrics["class_names"] == ["bad", "good"] and metrics["scheme"]["name"] == "DistilBERT"
    assert [row["model"] for row in metrics["variants"]] == ["teacher", "student"]
    assert [row["epoch"] for row in distilled.history] == [1, 2, 3, 4]
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert boards.events(out / "tensorboard" / "train", "epoch_loss") == [0, 1, 2, 3]
    described = read_metadata(out / "student.tflite")
    assert described["labels"] == ["bad", "good"] and described["length"] == 16
    assert read_vocabulary(out / "student.tflite") == list(text_folder.VOCABULARY)
    kept, own = (Tokenizer(folder).fingerprint for folder in (out / "tokenizer", place / "encoder"))
    assert kept == own == text.tokenizer_of(distilled.student)
    report = (out / "report.html").read_text()
    assert "<th>teacher</th><th>student</th>" in report and "evaluation texts" in report
    assert (
        any(f">{said} " in report for said in ("good", "bad")) and "largest disagreements first" in report
    )
    card = json.loads((out / "model_card.json").read_text())
    sizes = {each["name"]: each["size_bytes"] for each in card["files"]}
    assert sizes["student.tflite"] == check.size_bytes and any("tokenizer/" in name for name in sizes)
    assert card["tflite"]["length"] == 16 and card["origin"]["pipeline"] == "distil_text"
    printed = capsys.readouterr().out
    assert "fine-tuning the teacher on 216 labelled texts, 12 epochs" in printed
    assert not (out / "state").exists()
    # The teacher that was kept is one for another run, without labels.
    again = distil_text(
        out / "teacher.keras",
        "bilstm",
        training_data=place / "lines.txt",
        tokenizer=out / "tokenizer",
        augment=True,
        recipe_options=["copies=1", "hidden=6", "dense=6"],
        tflite=None,
        max_length=16,
        epochs=1,
    )
    assert again.metrics["scheme"]["name"] == "BERTToBiLSTM" and again.metrics["teacher"]["scores"] == {}
    assert 216 < again.metrics["training_images"] <= 432 and again.metrics["agreement"] is not None
    # And the run itself is read where it is complete.
    given = {**SHORT, "teacher_epochs": 12, "epochs": 4, "folder": out, "resume": True}
    files = {"training_data": place / "train.tsv", "evaluation_data": place / "test.tsv"}
    read = distil_text(place / "encoder", **files, **given)
    harness.assert_same_weights(read.student.get_weights(), distilled.student)


@pytest.mark.slow
def test_a_folder_and_texts_become_an_encoder(place, tmp_path):
    distilled = distil_text(
        place / "encoder",
        "1layersx8",
        training_data=place / "lines.txt",
        unlabelled_data=place / "more.txt",
        folder=tmp_path / "out",
        max_length=16,
        epochs=3,
        learning_rate=0.01,
    )
    metrics = distilled.metrics
    assert metrics["task"] == "sentence_embedding" and metrics["class_names"] is None
    assert metrics["scheme"]["name"] == "EmbeddingDistillation" and metrics["training_images"] == 256
    assert set(metrics["student"]["scores"]) == {"cosine", "rank_correlation"}
    assert metrics["student"]["scores"]["cosine"] > 0.8 and metrics["teacher"]["scores"] == {}
    assert metrics["tflite"]["scores"]["cosine"] > 0.8 and distilled.problem is None
    assert distilled.student.output_shape == (None, text_folder.WIDTH)
    assert "cosine 0." in (tmp_path / "out/report.html").read_text()


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_weights(place, tmp_path, monkeypatch):
    given = {**SHORT, "training_data": place / "train.tsv", "tflite": None}
    whole = distil_text(place / "encoder", **given)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt(patch, 2)
        distil_text(place / "encoder", folder=tmp_path / "out", **given)
    assert (tmp_path / "out/teacher.keras").exists() and not (tmp_path / "out/metrics.json").exists()
    resumed = distil_text(place / "encoder", folder=tmp_path / "out", resume=True, **given)
    harness.assert_same_weights(whole.student.get_weights(), resumed.student)


def refused(place, teacher=None, **changes):
    given = {**SHORT, "training_data": place / "train.tsv", "tflite": None, **changes}
    return distil_text(place / "encoder" if teacher is None else teacher, **given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student": "3layers"}, "`layers` must be at most 2, the number of the teacher's layers"),
        ({"student": "0,5"}, "`layers` must be indices from 0 to 1"),
        (
            {"student": "0.5x"},
            "`student` must be one that the recipe 'DistilBERT' makes: 3layers, 3layersx192",
        ),
        ({"student": "bilstm", "recipe": "mini_lm"}, "the recipe 'MiniLM' makes"),
        ({"recipe": "tinibert"}, "Unknown recipe 'tinibert'. Did you mean 'tinybert'"),
        ({"recipe_options": ["temprature=2"]}, "Unknown option of recipe 'DistilBERT' 'temprature'"),
        ({"recipe": text.DistilBERT(layers=1)}, "`recipe` is an object.*student='1layers', epochs"),
        ({"training_data": "lines.txt", "labels": ["a", "b"]}, "has no labels: .txt files cannot"),
        (
            {"training_data": "lines.txt", "evaluation_data": "test.tsv"},
            "`evaluation_data` must have labels if",
        ),
        ({"evaluation_data": "lines.txt"}, "`evaluation_data`.*has no labels"),
        ({"validation_split": 0.999}, "leaves none for training"),
        ({"max_length": 2}, "`max_length`"),
        ({"max_length": 64}, "`max_length` must be at most 32"),
        ({"resume": True}, "`resume` needs the `folder`"),
        ({"tflite": "int3"}, "`tflite` must be one of"),
    ],
)
def test_what_is_refused(place, changes, message):
    files = {name: place / value for name, value in changes.items() if name.endswith("_data")}
    with pytest.raises(ValueError, match=message):
        refused(place, **{**changes, **files})


def test_nothing_is_written_for_what_is_refused(place, tmp_path):
    with pytest.raises(ValueError, match="at most 2, the number"):
        refused(place, student="3layers", folder=tmp_path / "out")
    assert not {path.name for path in (tmp_path / "out").iterdir()} - {"run.lock"}


def test_a_folder_without_a_tokenizer(place, tmp_path):
    shutil.copytree(place / "encoder", tmp_path / "bare", ignore=shutil.ignore_patterns("vocab.txt"))
    with pytest.raises(ValueError, match="contains no tokenizer"):
        refused(place, tmp_path / "bare")


def test_teachers_that_do_not_fit(place, tmp_path):
    with pytest.raises(
        ValueError, match="`tokenizer` is needed: the teacher 'net' is a network without a tokenizer"
    ):
        refused(place, classifier(place))
    folder = place / "encoder"
    with pytest.raises(ValueError, match=r"2 classes \(bad, good\), but the teacher has 3"):
        refused(place, classifier(place, 3), tokenizer=folder)
    with pytest.raises(ValueError, match="Received: the task 'masked_language_model'"):
        refused(place, small_models.bert_masked(), tokenizer=folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "vocab.txt").write_text("\n".join(reversed(text_folder.VOCABULARY)))
    with pytest.raises(
        ValueError, match="`tokenizer`: the teacher 'net' was trained with the ids of another"
    ):
        refused(place, classifier(place), tokenizer=other)


def test_a_missing_extra(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"pip install 'tfkd\[text\]'"):
        refused(place)
