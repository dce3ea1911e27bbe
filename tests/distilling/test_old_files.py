"""Files that earlier versions wrote still load and train on to the same numbers."""

import pathlib

import keras
import numpy as np
import pytest

import tfkd

# Written by commit 6e9c68f: soft targets, a hint with projector, Keras's logits loss and VID.
FOLDER = pathlib.Path(__file__).with_name("old_files")


def test_a_distiller_saved_before_there_were_loss_sets():
    expected = np.load(FOLDER / "expected.npz")
    x, y = expected["x"], expected["y"]
    distiller = keras.models.load_model(FOLDER / "distiller.keras")
    np.testing.assert_allclose(distiller.predict(x, verbose=0), expected["outputs"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(distiller.loss_set.factors, expected["factors"])
    with pytest.raises(ValueError, match="with other weights"):
        distiller.teacher = keras.models.clone_model(distiller.student)
    distiller.teacher = keras.models.load_model(FOLDER / "teacher.keras")
    history = distiller.fit(x, y, batch_size=16, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
    assert isinstance(distiller.distillation_losses[1], tfkd.losses.Hint)
