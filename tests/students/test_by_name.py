"""Students by factor, name and file."""

import keras
import numpy as np
import pytest

from tests.conftest import small_network
from tfkd.students import network_named, student_named


def test_factors_of_the_width():
    teacher = small_network(8)
    for name, filters in (("0.5x", 4), ("2x", 16), (".25x", 2)):
        assert student_named(name, teacher).get_layer("conv1").filters == filters
    thinned = student_named("0.5x", teacher, inherit=True)
    first = np.asarray(teacher.get_layer("conv1").kernel)
    assert all(
        any(np.array_equal(first[..., j], kernel) for j in range(8))
        for kernel in np.moveaxis(np.asarray(thinned.get_layer("conv1").kernel), -1, 0)
    )


def test_factors_of_the_depth():
    residual = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=5)
    assert student_named("0.5deep", residual).count_params() < residual.count_params()


@pytest.mark.parametrize("name", ["resnet8", "resnet-8", "wide_resnet10_1", "wide_resnet-10-2"])
def test_networks_of_the_zoo(name):
    teacher = small_network(8)
    student = student_named(name, teacher)
    assert student.input_shape == teacher.input_shape and student.output_shape == teacher.output_shape
    assert network_named(name, (16, 16, 3), 7).output_shape == (None, 7)


def test_a_file(tmp_path):
    teacher = small_network(8)
    teacher.save(tmp_path / "mine.keras")
    for path in (tmp_path / "mine.keras", str(tmp_path / "mine.keras")):
        assert student_named(path, teacher).count_params() == teacher.count_params()
    (tmp_path / "broken.keras").write_text("nothing")
    with pytest.raises(ValueError, match=r"`student`: .* cannot be loaded as a Keras model"):
        student_named(tmp_path / "broken.keras", teacher)
    with pytest.raises(FileNotFoundError, match="`student`: the file"):
        student_named("none.keras", teacher)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lenet5_halve", "Did you mean 'lenet5_half'"),
        ("resnet", r"takes 1 numbers \(depth\)"),
        ("wide_resnet16", r"takes 2 numbers \(depth, width\)"),
        ("resnet9", "6n \\+ 2"),
        ("0x", "`factor` must be above 0"),
        ("scale_width", "Unknown student"),
        ("network_named", "Unknown student"),
    ],
)
def test_unknown_students(name, message):
    with pytest.raises(ValueError, match=message):
        student_named(name, small_network(8))


def test_only_a_student_by_a_factor_inherits():
    with pytest.raises(ValueError, match="`inherit`: only a scaled student"):
        student_named("resnet8", small_network(8), inherit=True)
