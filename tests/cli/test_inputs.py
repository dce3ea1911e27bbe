import json

import keras
import numpy as np
import pytest

from tests.conftest import CLASSES, SHAPE, small_network
from tfkd.cli import image_files, inputs


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return str(tmp_path / "data.npz")

    return write


X = np.random.default_rng(0).integers(0, 256, (6, *SHAPE), dtype="uint8")
Y = np.arange(6) % CLASSES


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X, Y),
        (X[..., 0], Y),
        (X / 255.0, Y[:, None]),
        ((X / 255).astype("float16"), Y.astype("float32")),
    ],
    ids=["uint8", "no channel", "float64", "float16"],
)
def test_evaluation_data_of_every_form(save, x, y):
    images, labels = image_files.load_images(save(x_test=x, y_test=y), SHAPE, CLASSES)
    assert images.dtype == np.float32 and labels.dtype == np.int64
    np.testing.assert_allclose(images, X / 255.0, atol=1e-3)
    np.testing.assert_array_equal(labels, Y)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_test": X}, "lacks y_test"),
        ({"images": X}, "lacks x_test and y_test; it has"),
        ({"x_test": X[:, :5], "y_test": Y}, r"shape \(n, 12, 12, 1\)"),
        ({"x_test": X[:0], "y_test": Y[:0]}, "x_test must be images"),
        ({"x_test": X.astype("float32"), "y_test": Y}, "between 0 and 1"),
        ({"x_test": X.astype("int32"), "y_test": Y}, "must be uint8"),
        ({"x_test": X, "y_test": Y[:3]}, "6 class numbers"),
        ({"x_test": X, "y_test": Y + 1}, "classes from 0 to 3"),
        ({"x_test": X, "y_test": Y + 0.5}, "classes from 0 to 3"),
    ],
)
def test_evaluation_data_that_does_not_fit(save, arrays, message):
    with pytest.raises(ValueError, match=message):
        image_files.load_images(save(**arrays), SHAPE, CLASSES)


def test_evaluation_data_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="--eval_data"):
        image_files.load_images(str(tmp_path / "none.npz"), SHAPE, CLASSES)
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(ValueError, match="not a readable npz"):
        image_files.load_images(str(tmp_path / "text.npz"), SHAPE, CLASSES)


def test_students_by_factor_name_and_file(tmp_path):
    teacher = small_network(8)
    assert inputs.make_student("0.5x", teacher).get_layer("conv1").filters == 4
    assert inputs.make_student("2x", teacher).get_layer("conv1").filters == 16
    assert inputs.make_student(".25x", teacher).get_layer("conv1").filters == 2
    for name in ("resnet8", "resnet-8", "wide_resnet10_1", "wide_resnet-10-2"):
        student = inputs.make_student(name, teacher)
        assert student.input_shape == teacher.input_shape
        assert student.output_shape == teacher.output_shape
    teacher.save(tmp_path / "mine.keras")
    assert (
        inputs.make_student(str(tmp_path / "mine.keras"), teacher).count_params() == teacher.count_params()
    )
    thinned = inputs.make_student("0.5x", teacher, inherit=True)
    first = np.asarray(teacher.get_layer("conv1").kernel)
    assert all(
        any(np.array_equal(first[..., j], kernel) for j in range(8))
        for kernel in np.moveaxis(np.asarray(thinned.get_layer("conv1").kernel), -1, 0)
    )
    residual = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=5)
    assert inputs.make_student("0.5deep", residual).count_params() < residual.count_params()
    with pytest.raises(ValueError, match="--inherit: only a student by a factor"):
        inputs.make_student("resnet8", teacher, inherit=True)
    digits = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(7)])
    assert inputs.make_student("lenet5_half", digits).output_shape == (None, 7)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lenet5_halve", "Did you mean 'lenet5_half'"),
        ("resnet", r"takes 1 numbers \(depth\)"),
        ("wide_resnet16", r"takes 2 numbers \(depth, width\)"),
        ("resnet9", "6n \\+ 2"),
        ("0x", "`factor` must be above 0"),
        ("scale_width", "Unknown student"),
    ],
)
def test_unknown_students(name, message):
    with pytest.raises(ValueError, match=message):
        inputs.make_student(name, small_network(8))


def test_missing_student_file():
    with pytest.raises(FileNotFoundError, match="--student"):
        inputs.make_student("none.keras", small_network(4))


def test_recipes():
    recipe = inputs.make_recipe(
        "procedural",
        ["temperature=2.5", "memory=0", "prior=smooth_noise,dead_leaves", "refine_steps = 3"],
        batch_size=64,
        epochs=None,
    )
    assert (recipe.temperature, recipe.memory, recipe.refine_steps) == (2.5, 0, 3)
    assert recipe.prior == ("smooth_noise", "dead_leaves")
    assert recipe.batch_size == 64 and recipe.epochs == 18
    assert inputs.make_recipe("dafl", ["generator_order=after"]).generator_order == "after"
    assert inputs.make_recipe("dfad", ["output=normalized", "pixel_mean=0.5,0.4,0.3"]).pixel_mean[2] == 0.3
    with pytest.warns(DeprecationWarning, match="generator_order"):
        assert inputs.make_recipe("dfad", ["same_inputs=true"]).generator_order == "same_images"
    with pytest.warns(DeprecationWarning, match="statistics_weight"):
        made = inputs.make_recipe("procedural", ["overdraw=16", "typicality=30"])
    assert (made.candidates_per_image, made.statistics_weight) == (16, 30)


def test_embeddings_come_from_a_file(tmp_path):
    table = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "names.npy", table)
    recipe = inputs.make_recipe("nayer", [f"embeddings={tmp_path / 'names.npy'}"])
    np.testing.assert_array_equal(recipe.embeddings, table)
    json.dumps(recipe.describe())
    np.save(tmp_path / "flat.npy", table[0])
    for path in ("none.npy", tmp_path / "flat.npy"):
        with pytest.raises(ValueError, match=r"embeddings must be a \.npy file with a row for each class"):
            inputs.make_recipe("nayer", [f"embeddings={path}"])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("procedurel", [], "Unknown recipe 'procedurel'. Did you mean 'procedural'"),
        ("recipe", [], "Unknown recipe"),
        ("dfad", ["temprature=3"], "Unknown option of recipe 'dfad' 'temprature'"),
        ("dfad", ["memori=3"], "Did you mean 'memory'"),
        ("dfad", ["objectives=x"], "Unknown option"),
        ("dfad", ["memory"], "expected key=value"),
        ("dfad", ["memory=many"], "memory must be of type int"),
        ("dfad", ["same_inputs=perhaps"], "same_inputs must be of type bool"),
        ("dfad", ["batch_size=-1"], "`batch_size` must be an integer of at least 1"),
    ],
)
def test_bad_recipes(name, options, message):
    with pytest.raises(ValueError, match=message):
        inputs.make_recipe(name, options)
