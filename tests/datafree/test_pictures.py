"""The prior of pictures in recipes: a student learns from a folder of them, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests import harness
from tests.cli import running
from tests.conftest import small_network
from tests.datafree.recipes import TINY
from tfkd import datafree
from tfkd.cli import data_free
from tfkd.pipelines import recipe_named


@pytest.fixture
def folder(tmp_path):
    """Black and white squares of 32 pixels."""
    squares = np.kron(np.eye(4), np.full((8, 8), 255)).astype("uint8")[..., None]
    (tmp_path / "photos").mkdir()
    for name, picture in (("a.png", squares), ("b.png", 255 - squares)):
        (tmp_path / "photos" / name).write_bytes(tf.io.encode_png(picture).numpy())
    return tmp_path / "photos"


@pytest.mark.slow
def test_a_student_learns_from_pictures_of_a_folder(teacher, student, folder):
    options = {**TINY, "refine_steps": 0, "pictures": str(folder)}
    recipe = recipe_named("procedural", ["prior=pictures,strokes"], **options)
    assert recipe == datafree.Procedural(prior=("pictures", "strokes"), **options)
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=1)
    before = harness.snapshot(student)
    distiller.compile()
    distiller.fit(epochs=1, steps_per_epoch=2, verbose=0)
    assert any((old != new).any() for old, new in zip(before, harness.snapshot(student), strict=True))


def of_vectors():
    inputs = keras.Input((6,))
    return keras.Model(inputs, keras.layers.Dense(3)(inputs), name="of_vectors")


def test_pictures_are_for_teachers_of_images():
    recipe = datafree.Procedural(**TINY, prior="pictures")
    with pytest.warns(datafree.ObjectiveWarning, match=r"all of `prior` except \('uniform',\)"):
        tfkd.DataFreeDistiller(of_vectors(), of_vectors(), recipe)
    recipe = datafree.Procedural(**TINY, prior="pictures", pictures="photos")
    message = (
        r"`pictures`: 'of_vectors' takes inputs of shape \(6,\), which are not images. Remove `pictures`"
    )
    with pytest.raises(ValueError, match=message):
        tfkd.DataFreeDistiller(of_vectors(), of_vectors(), recipe)


def test_a_folder_without_pictures_is_refused_when_the_recipe_is_used(tmp_path):
    recipe = datafree.Procedural(**TINY, prior="pictures", pictures=str(tmp_path))
    with pytest.raises(ValueError, match=r"`pictures`: there is no image .* in '.*'\. Add some"):
        tfkd.DataFreeDistiller(small_network(4), small_network(4), recipe)


@pytest.mark.program
def test_the_flag_says_what_is_wrong(teacher_file, tmp_path, folder):
    (folder / "a.png").write_bytes(tf.io.encode_png(np.zeros((20, 50, 3), "uint8")).numpy())
    flags = (f"--teacher={teacher_file}", f"--output_dir={tmp_path / 'out'}", "--epochs=1", "--tflite=none")
    for given, message in (
        (
            ["--recipe=procedural", f"--pictures={folder}"],
            "--pictures has no effect: `prior` does not include 'pictures'",
        ),
        (["--recipe_options=prior=pictures", f"--pictures={tmp_path / 'x'}"], "is not a folder"),
        (
            ["--recipe_options=prior=pictures", f"--pictures={folder}"],
            "a.png' must have at least 32 pixels a side. Received: 20 x 50",
        ),
    ):
        said = running.run(data_free.PROGRAM, *flags, *given, status=2).stderr
        assert message in said, said
        assert "--pictures" in said
