import itertools

import keras
import numpy as np
import pytest

from tests.conftest import small_network
from tests.students.test_depth import blocks
from tfkd import BlackBoxTeacher
from tfkd.searching._space import Space, changed, key_of, point_text, space_of


def test_points_have_numbers():
    choices = {"a": [1, 2], "b": ["x", None, True], "c": [0.5]}
    space = Space(choices, lambda point: keras.Model())
    assert space.size == 6
    points = [space.point_number(number) for number in range(6)]
    assert points == [
        dict(zip("abc", values, strict=True)) for values in itertools.product(*choices.values())
    ]
    assert key_of({"b": 1, "a": 2}) == key_of({"a": 2, "b": 1})
    assert point_text({"width": 0.5, "kernel": None}) == "width=0.5 kernel=own"


def test_changes_of_the_teachers_architecture():
    teacher = small_network(8)
    student = changed(teacher, {"width": 0.5, "kernel": 5, "exit": "pool"}, inherit=False)
    names = [layer.name for layer in student.layers]
    assert names == ["image", "conv1", "norm1", "relu1", "pool", "exit_pooling", "exit_logits"]
    assert student.get_layer("conv1").kernel.shape == (5, 5, 1, 4)
    assert student.output_shape == teacher.output_shape
    deep = blocks(5)
    shallow = changed(deep, {"depth": 0.4, "width": 1, "exit": None}, inherit=False)
    assert shallow.count_params() < deep.count_params()


@pytest.mark.parametrize("point", [{"width": 1}, {"kernel": None, "depth": 1.0}])
def test_no_change_is_a_network_of_its_own(point):
    teacher = small_network(4)
    student = changed(teacher, point, inherit=False)
    assert student is not teacher and student.count_params() == teacher.count_params()
    assert not np.allclose(student.get_layer("logits").kernel, teacher.get_layer("logits").kernel)
    heir = changed(teacher, point, inherit=True)
    for ours, theirs in zip(heir.get_weights(), teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    heir.get_layer("logits").kernel.assign(0 * heir.get_layer("logits").kernel)
    assert np.any(teacher.get_layer("logits").kernel)


def test_students_have_no_dropout():
    inputs = keras.Input((4,))
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(6)(inputs))
    student = changed(keras.Model(inputs, keras.layers.Dense(2)(x)), {"width": None}, inherit=False)
    assert [layer.rate for layer in student.layers if hasattr(layer, "rate")] == [0.0]


@pytest.mark.parametrize(
    ("choices", "error", "message"),
    [
        ([0.5], TypeError, "`space` must be a mapping of names to choices"),
        ({}, ValueError, "at least one name with choices"),
        ({"width": []}, ValueError, "'width' has no choices. Give at least one"),
        ({"width": "0.5"}, TypeError, "the choices of 'width' must be a list"),
        ({"width": [0.5, 0.5]}, ValueError, "'width' has a choice twice"),
        ({"width": [(1, 2)]}, TypeError, "must be numbers, strings, True, False or None"),
        ({3: [1]}, TypeError, "names must be strings"),
        ({"widht": [0.5]}, ValueError, "Unknown choice in `space` 'widht'. Did you mean 'width'"),
        ({"width": [0.0]}, ValueError, "choices of 'width' must be numbers above 0"),
        ({"depth": [1.5]}, ValueError, "choices of 'depth' must be fractions"),
        ({"kernel": [3.0]}, ValueError, "choices of 'kernel' must be integers of at least 2"),
        ({"kernel": [True]}, ValueError, "choices of 'kernel' must be integers"),
        ({"exit": [3]}, ValueError, "choices of 'exit' must be names of layers"),
    ],
)
def test_bad_spaces(choices, error, message):
    with pytest.raises(error, match=message):
        space_of(small_network(4), choices, None, False)


def test_teachers_without_a_graph_and_build():
    teacher = BlackBoxTeacher(lambda x: x, (4,), 4)
    with pytest.raises(ValueError, match="has no graph that could be scaled"):
        space_of(teacher, {"width": [0.5]}, None, False)
    with pytest.raises(TypeError, match="`build` must be a function"):
        space_of(teacher, {"any": [1]}, 3, False)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`inherit` is for students of the teacher's own architecture"):
        space_of(teacher, {"any": [1]}, lambda point: teacher, True)
    space = space_of(teacher, {"any": [1]}, lambda point: None, False)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"must return a keras\.Model\. Received: None .* any=1"):
        space.student({"any": 1})
