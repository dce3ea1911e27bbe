"""Every task keeps the contract, and the contract tells those that do not."""

import numpy as np
import pytest
from keras import ops

from tests.tasks.mine import Maps
from tfkd import tasks
from tfkd.testing import check_task

RNG = np.random.default_rng(0)
TEACHER, STUDENT = RNG.normal(size=(2, 12, 5)).astype("float32")
TOKENS = RNG.normal(size=(2, 12, 7, 5)).astype("float32")
SOME_TOKENS = np.where(RNG.random((12, 7)) < 0.4, RNG.integers(0, 5, (12, 7)), -100)
MAPS = RNG.normal(size=(2, 12, 4, 3, 5)).astype("float32")
SOME_PIXELS = np.where(RNG.random((12, 4, 3)) < 0.8, RNG.integers(0, 5, (12, 4, 3)), 255)
LABELS = {
    "causal_language_model": SOME_TOKENS,
    "classification": RNG.integers(0, 5, 12),
    "masked_language_model": SOME_TOKENS,
    "multi_label": RNG.integers(0, 2, (12, 5)),
    "regression": RNG.normal(size=(12, 5)),
    "segmentation": SOME_PIXELS,
    "sentence_embedding": RNG.normal(size=(12, 5)),
    "text_classification": RNG.integers(0, 5, 12),
}


@pytest.mark.parametrize("name", tasks.known_tasks())
def test_every_task_of_the_registry(name):
    outputs = TOKENS if name.endswith("language_model") else (TEACHER, STUDENT)
    outputs = MAPS if name == "segmentation" else outputs
    check_task(tasks.as_task(name, outputs[0].shape[1:]), *outputs, labels=LABELS[name])


@pytest.mark.parametrize("kind", [tasks.MaskedLanguageModel, tasks.CausalLanguageModel])
def test_texts_of_any_length(kind):
    check_task(kind((None, 5)), *TOKENS, labels=SOME_TOKENS)


def test_images_of_any_size():
    check_task(tasks.Segmentation((None, None, 5)), *MAPS, labels=SOME_PIXELS)


@pytest.mark.parametrize("name", ["multi_label", "regression"])
def test_one_output(name):
    task = tasks.as_task(name, (1,))
    check_task(task, TEACHER[:, :1], STUDENT[:, :1], labels=LABELS[name][:, :1])


def test_a_task_of_maps_from_a_test_file():
    teacher, student = RNG.normal(size=(2, 6, 4, 4, 3)).astype("float32")
    check_task(Maps((4, 4, 3)), teacher, student, labels=RNG.integers(0, 3, (6, 4, 4)))


class Misses(tasks.Classification):
    """A task in which one method at a time is wrong."""

    def __init__(self, output_shape, wrong):
        super().__init__(output_shape)
        self.wrong = wrong

    def agreement(self, teacher, student):
        value = super().agreement(teacher, student)
        return {"agreement": 2 * value, "one_example": ops.mean(value)}.get(self.wrong, value)

    def divergence(self, teacher, student):
        if self.wrong == "divergence":
            return ops.stop_gradient(super().divergence(teacher, student))
        if self.wrong == "precision":
            return ops.cast(ops.sum((teacher - student) ** 2, axis=-1), teacher.dtype)
        return super().divergence(teacher, student)

    def draw_targets(self, n, seed, answers=None):
        n = n - 1 if self.wrong == "targets" else n
        return super().draw_targets(n, seed, answers)

    def confidence(self, outputs):
        return (9.0 if self.wrong == "classes" else 1.0) * super().confidence(outputs)

    def score(self, outputs, labels):
        return {} if self.wrong == "labels" else super().score(outputs, labels)

    def captions(self, outputs):
        return [] if self.wrong == "words" else super().captions(outputs)

    def constant(self, outputs):
        return outputs if self.wrong == "constant" else super().constant(outputs)


@pytest.mark.parametrize(
    ("wrong", "clause"),
    [
        ("agreement", "agreement"),
        ("one_example", "agreement"),
        ("divergence", "divergence"),
        ("precision", "precision"),
        ("targets", "targets"),
        ("classes", "classes"),
        ("labels", "labels"),
        ("words", "words"),
        ("constant", "constant"),
    ],
)
def test_the_contract_tells_what_is_wrong(wrong, clause):
    task = Misses((5,), wrong)
    with pytest.raises(AssertionError, match=rf"Misses\(\(5,\)\) fails '{clause}'"):
        check_task(task, TEACHER, STUDENT, labels=LABELS["classification"])


def test_clauses_can_be_left_out():
    check_task(Misses((5,), "words"), TEACHER, STUDENT, leave_out=("words",))
    with pytest.raises(ValueError, match="'wards'"):
        check_task(Misses((5,), "words"), TEACHER, STUDENT, leave_out=("wards",))
