"""Networks that give a class to each pixel are loaded, thinned, distilled without data and exported."""

import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tests import harness
from tfkd import datafree, export, students, tasks

SHAPE = (16, 16, 3)
IMAGES = np.random.default_rng(0).uniform(size=(8, *SHAPE)).astype("float32")


def encoder_decoder(channels, activation):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    fine = layers.Conv2D(8, 3, padding="same", activation="relu", name="fine")(inputs)
    coarse = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="coarse")(fine)
    x = layers.Concatenate(name="join")([layers.UpSampling2D(name="grow")(coarse), fine])
    head = layers.Conv2D(channels, 1, activation=activation, kernel_initializer="he_normal", name="head")
    return keras.Model(inputs, head(x))


@pytest.mark.filterwarnings("ignore::tfkd.teachers.TeacherWarning")
def test_maps_of_softmaxes():
    model = encoder_decoder(3, "softmax")
    teacher = tfkd.load_teacher(model)
    assert repr(tasks.task_of(teacher)) == "Segmentation((16, 16, 3))"
    np.testing.assert_allclose(keras.ops.softmax(teacher(IMAGES)), model(IMAGES), rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore::tfkd.teachers.TeacherWarning")
def test_one_sigmoid_a_pixel_is_two_classes(tmp_path):
    model = encoder_decoder(1, "sigmoid")
    with pytest.raises(ValueError, match=r"`task` is needed.*'segmentation'"):
        tfkd.load_teacher(model)
    teacher = tfkd.load_teacher(model, task="segmentation")
    assert repr(tasks.task_of(teacher)) == "Segmentation((16, 16, 2))"
    probabilities = keras.ops.softmax(teacher(IMAGES))[..., 1:]
    np.testing.assert_allclose(probabilities, model(IMAGES), rtol=1e-4, atol=1e-6)
    teacher.save(tmp_path / "teacher.keras")
    again = tfkd.load_teacher(tmp_path / "teacher.keras")
    assert repr(tasks.task_of(again)) == "Segmentation((16, 16, 2))"
    np.testing.assert_allclose(again(IMAGES), teacher(IMAGES), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::tfkd.teachers.TeacherWarning")
@pytest.mark.filterwarnings("ignore::tfkd.datafree.ObjectiveWarning")
@pytest.mark.parametrize("recipe", [datafree.Procedural, datafree.DFAD])
def test_from_a_teacher_to_a_checked_file_without_data(recipe, tmp_path):
    teacher = tfkd.load_teacher(encoder_decoder(3, "softmax"))
    student = students.scale_width(teacher, 0.5, inherit=True)
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe(batch_size=8))
    distiller.compile()
    before = harness.snapshot(student)
    history = distiller.fit(epochs=2, steps_per_epoch=3, verbose=0).history
    harness.assert_other_weights(before, student.weights)
    assert np.isfinite(history["loss"]).all() and 0 < history["agreement"][-1] <= 1
    check = export.export_tflite(student, tmp_path / "student.tflite", quantization="float32")
    assert check.agreement > 0.99
