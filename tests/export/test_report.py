"""Reports of every task: the pictures and sentences that belong there, and no others."""

import html.parser

import keras
import numpy as np
import pytest

from tests.export.run_metrics import compression_metrics, metrics_of
from tests.tasks.mine import Maps
from tfkd import export
from tfkd.export import _pictures as pictures
from tfkd.tasks import Classification, MultiLabel, Regression, Segmentation, mark

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

RNG = np.random.default_rng(0)
TEACHER = RNG.normal(size=(50, 3)).astype("float32")
STUDENT = TEACHER + 0.3 * RNG.normal(size=(50, 3)).astype("float32")
TRAINING = {"loss", "agreement and scores", "agreement with the teacher"}
FIXED = {*TRAINING, "synthesized inputs"}


class Page(html.parser.HTMLParser):
    """The pictures of a page by their titles, and its text."""

    def __init__(self, path):
        super().__init__()
        self.pictures, self.text = {}, ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            attributes = dict(attributes)
            assert attributes["src"].startswith("data:image/png;base64,iVBOR")
            self.pictures[attributes["alt"]] = attributes["src"]

    def handle_data(self, data):
        self.text += data


HISTORY = [{"epoch": 1, "loss": 1.0, "agreement": 0.5, "health_agreement": 0.5}]
GRID = pictures.class_histogram(np.array([1.0]))


def written(path, task, scores=None, answers=(TEACHER, TEACHER, STUDENT), **others):
    metrics = metrics_of(task, scores, **others)
    export.write_report(path, metrics, HISTORY, GRID, *answers, task)
    return Page(path)


@pytest.mark.parametrize(
    ("task", "scores", "expected", "sentences"),
    [
        (
            Classification((3,)),
            {"accuracy": 0.91},
            {"class histogram", "confusion"},
            [
                "91.00 %",
                "teacher accuracy",
                "0.00 points below",
                "agree on 87.60 % of them",
                "covered several classes",
            ],
        ),
        (
            MultiLabel((3,)),
            {"accuracy": 0.91, "all_labels_accuracy": 0.5},
            {"class histogram", "agreement by label"},
            ["91.00 %", "agree on 87.60 % of the labels of them", "98.70 % of the labels of synthesized"],
        ),
        (
            Regression((3,)),
            {"mean_absolute_error": 0.4321, "r2": 0.8},
            {"scatter"},
            [
                "teacher mean absolute error",
                "0.4321",
                "has a mean absolute error of 0.4321, the teacher",
                "agree to 87.60 %",
            ],
        ),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else None,
)
def test_pictures_and_sentences_of_a_task(tmp_path, task, scores, expected, sentences):
    page = written(tmp_path / "report.html", task, scores)
    assert set(page.pictures) == FIXED | expected
    text = " ".join(page.text.split())
    for sentence in sentences:
        assert sentence in text
    if not task.has_classes:
        assert "several classes" not in text and "accuracy" not in text and "None" not in text
    page = written(tmp_path / "without.html", task)
    assert set(page.pictures) == FIXED | expected
    assert "No real data was given" in page.text and "not measured" in page.text


def test_a_task_of_ones_own_has_a_picture(tmp_path):
    answers = RNG.normal(size=(3, 20, 4, 4, 3)).astype("float32")
    page = written(tmp_path / "report.html", Maps((4, 4, 3)), {"accuracy": 0.5}, answers)
    assert set(page.pictures) == {*FIXED, "agreement"}


def test_segmentation_shows_masks(tmp_path):
    answers = RNG.normal(size=(3, 20, 4, 4, 3)).astype("float32")
    page = written(tmp_path / "report.html", Segmentation((4, 4, 3)), {"mean_iou": 0.5}, answers)
    assert set(page.pictures) == {*FIXED, "masks"}
    text = " ".join(page.text.split())
    assert "teacher mean iou" in text and "of the pixels of" in text


def test_class_numbers_without_a_task_are_those_of_a_classifier(tmp_path):
    task = Classification((3,))
    numbers = [each.argmax(-1) for each in (TEACHER, TEACHER, STUDENT)]
    export.write_report(tmp_path / "a.html", metrics_of(task), HISTORY, GRID, *numbers)
    assert Page(tmp_path / "a.html").pictures == written(tmp_path / "b.html", task).pictures


def test_uneven_classes_are_named_where_there_are_classes(tmp_path):
    for task in (Classification((3,)), MultiLabel((3,)), Regression((3,))):
        page = written(tmp_path / "report.html", task, rarest_class_share=0.01)
        assert ("0.03 times as often" in page.text) == task.has_classes


def test_an_early_end_comes_first(tmp_path):
    page = written(
        tmp_path / "r.html",
        Regression((3,)),
        {"mean_absolute_error": 1.0},
        stopped="it broke",
        problem="it broke",
    )
    assert "Attention: it broke." in page.text and "measured on the student that was kept" in page.text


def test_compression_by_score(tmp_path):
    metrics = compression_metrics(Regression((3,)), {"mean_absolute_error": 0.4321}, evaluation_images=9)
    export.write_compression_report(tmp_path / "r.html", metrics)
    page = Page(tmp_path / "r.html")
    assert set(page.pictures) == {"mean absolute error against size"}
    assert "Mean absolute error on 9 real inputs" in page.text and "0.4321" in page.text


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 3), (8, 8), (20, 3), (7,)])
def test_inputs_of_any_rank_are_drawn(shape):
    inputs = keras.Input(shape)
    teacher = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
    x = RNG.uniform(size=(5, *shape)).astype("float32")
    for task in (Classification((3,)), Regression((3,))):
        png = pictures.image_grid(x, mark(teacher, task), columns=3)
        assert png.startswith(b"\x89PNG")


@pytest.mark.parametrize("task", [Classification((3,)), MultiLabel((3,))])
def test_pictures_name_classes(tmp_path, task, monkeypatch):
    drawn = []

    def drawn_png(figure, png=pictures._png):
        drawn.append([[tick.get_text() for tick in axis.get_xticklabels()] for axis in figure.axes])
        return png(figure)

    monkeypatch.setattr(pictures, "_png", drawn_png)
    names = ["cat", "dog", "a class with a very long name"]
    written(tmp_path / "a.html", task, class_names=names)
    shown = ["cat", "dog", "a class with..."]
    assert drawn.count([shown]) == 2
    drawn.clear()
    written(tmp_path / "b.html", task, class_names=None)
    assert drawn.count([["0", "1", "2"]]) == 2
