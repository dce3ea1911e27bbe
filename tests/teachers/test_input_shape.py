import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tfkd import students, teachers

pytestmark = pytest.mark.filterwarnings("ignore::tfkd.teachers.TeacherWarning")
IMAGES = np.random.default_rng(0).uniform(size=(4, 8, 8, 1)).astype("float32")


def of_flat_pixels():
    keras.utils.set_random_seed(0)
    stack = [keras.Input((64,)), layers.Dense(6, "relu"), layers.Dense(3, "softmax")]
    return keras.Sequential(stack, name="flat")


def of_any_size():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((None, None, 1))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x), name="any")


@pytest.mark.parametrize("make", [of_flat_pixels, of_any_size])
def test_images_for_networks_that_do_not_say_so(make, tmp_path):
    model = make()
    model.save(tmp_path / "model.keras")
    teacher = tfkd.load_teacher(tmp_path / "model.keras", input_shape=(8, 8, 1))
    assert teacher.input_shape == (None, 8, 8, 1)
    taken = IMAGES.reshape(4, 64) if model.input_shape == (None, 64) else IMAGES
    np.testing.assert_allclose(keras.ops.softmax(teacher(IMAGES)), model(taken), rtol=1e-5, atol=1e-6)
    # Layers stay layers, so that what is made of the teacher sees them.
    student = students.scale_width(teacher, 0.5, inherit=True)
    assert student.count_params() < teacher.count_params()
    assert student.input_shape == (None, 8, 8, 1)
    assert teachers.find_scaling(model, input_shape=(8, 8, 1)).options


def test_the_remedy_of_open_sides_works():
    with pytest.raises(ValueError, match=r"a known size.*--input_shape=224,224,3"):
        tfkd.load_teacher(of_any_size())
    assert tfkd.load_teacher(of_any_size(), input_shape=(16, 12, 1)).input_shape == (None, 16, 12, 1)


@pytest.mark.parametrize(
    ("make", "shape"), [(of_flat_pixels, (8, 7, 1)), (of_any_size, (8, 8, 3)), (of_any_size, (8, 8))]
)
def test_shapes_that_a_network_does_not_take_are_refused(make, shape):
    with pytest.raises(ValueError, match="`input_shape` must match the inputs of"):
        tfkd.load_teacher(make(), input_shape=shape)


def test_what_is_not_a_shape_is_refused():
    with pytest.raises(TypeError, match="`input_shape` must be integers"):
        tfkd.load_teacher(of_flat_pixels(), input_shape=(8.0, 8.0, 1.0))
