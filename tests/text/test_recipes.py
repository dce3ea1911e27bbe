"""What holds for every recipe of text."""

import dataclasses

import keras
import numpy as np
import pytest

from tests import harness
from tests.text import small_models as models
from tests.text.recipes import RECIPES

pytestmark = pytest.mark.slow


@pytest.fixture(params=RECIPES)
def case(request):
    return RECIPES[request.param]


def made(case, **options):
    return case.recipe(**{**case.small, "epochs": 2, **options})


def data(case):
    inputs = models.sentences()
    return inputs, case.labels(inputs)


FIT = {"shuffle": False, "verbose": 0, "batch_size": 16, "seed": 3}


class Stop(Exception):
    pass


def stopping_after(epochs):
    """A callback that ends `fit` with an error once so many epochs have begun and one more would."""
    begun = []

    def begin(epoch, logs):
        begun.append(epoch)
        if len(begun) > epochs:
            raise Stop

    return keras.callbacks.LambdaCallback(on_epoch_begin=begin)


def run(case, teacher, **options):
    keras.utils.set_random_seed(5)
    recipe, (inputs, labels) = made(case), data(case)
    return recipe.distil(teacher, inputs, labels, **FIT, **options)


@pytest.mark.eager
def test_it_fits_and_resumes_to_the_same_weights(case, tmp_path):
    teacher = case.teacher()
    before = harness.snapshot(teacher)
    keras.utils.set_random_seed(5)
    begun = made(case).student(teacher)
    seen = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["loss"]))
    whole = run(case, teacher, callbacks=[note])
    harness.assert_same_weights(before, teacher)
    harness.assert_other_weights(harness.snapshot(begun), whole.weights)
    assert whole.count_params() < teacher.count_params()
    assert np.isfinite(seen).all() and seen[1] < seen[0]
    with pytest.raises(Stop):
        run(case, teacher, backup_dir=tmp_path, callbacks=[stopping_after(1)])
    resumed = run(case, teacher, backup_dir=tmp_path)
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=a.path)


def test_published_values_are_the_defaults(case):
    recipe = case.recipe()
    assert {name: getattr(recipe, name) for name in case.published} == dict(case.published)


def test_its_student_is_saved(case, tmp_path):
    teacher = case.teacher()
    student = made(case).student(teacher)
    student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    inputs = models.sentences(4)
    expected = student.predict(inputs, verbose=0)
    np.testing.assert_allclose(loaded.predict(inputs, verbose=0), expected, atol=1e-6)


def test_its_distiller_is_that_of_the_last_stage(case):
    teacher = case.teacher()
    recipe = made(case)
    student = recipe.student(teacher)
    distiller, last = recipe.distiller(teacher, student), recipe.stages(teacher, student)[-1]
    assert distiller.teacher is teacher and distiller.student is student
    assert [type(loss) for loss in distiller.distillation_losses] == [type(loss) for loss in last.losses]
    assert distiller.distillation_loss_weights == last.loss_weights
    assert distiller.student_loss_weight == last.student_loss_weight


def test_xla(case):
    teacher, recipe = case.teacher(), made(case, epochs=1)
    inputs, labels = data(case)
    student = recipe.student(teacher)
    history = recipe.fit(teacher, student, inputs, labels, jit_compile=True, **FIT)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(
    ("case", "option", "value"),
    [(case, *wrong) for case in RECIPES.values() for wrong in case.wrong],
    ids=lambda value: value.recipe.__name__ if dataclasses.is_dataclass(value) else str(value),
)
def test_values_out_of_range_are_refused(case, option, value):
    with pytest.raises(ValueError, match=f"`{option}`.*{value}"):
        case.recipe(**{**case.small, option: value})


def test_an_option_it_does_not_have_is_refused(case):
    with pytest.raises(ValueError, match="epochs"):
        case.recipe(epoch=2)


def test_more_layers_than_the_teacher_has(case):
    if not case.layers:
        pytest.skip("its student has no layers of its teacher")
    with pytest.raises(ValueError, match=r"`layers` must be at most [23],"):
        made(case, layers=5).student(case.teacher())


def test_a_teacher_without_attention(case):
    if not case.attention:
        pytest.skip("its teachers need none")
    with pytest.raises(ValueError, match="`teacher` must be a transformer"):
        made(case).student(models.convolutional())


def test_another_vocabulary(case):
    teacher = case.teacher()
    other = models.bert_classifier(vocabulary=models.VOCABULARY + 1)
    inputs, labels = data(case)
    with pytest.raises(ValueError, match="must take the token ids of"):
        made(case).fit(teacher, other, inputs, labels, **FIT)
