"""Files that a runtime computes wrongly are errors, even where the classes agree."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from tfkd import export
from tfkd.export import _verification as verification

X = np.random.default_rng(0).random((32, 17, 18, 7)).astype("float32")


@pytest.fixture(scope="module")
def wide_strides():
    """The convolution that LiteRT 2.0 answered with zeros (LiteRT#4847), and a number of it."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((17, 18, 7))
    x = layers.Conv2D(16, 3, strides=10, padding="same")(inputs)
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)), name="wide_strides")


@pytest.mark.parametrize("strides", [10, (3, 4)])
def test_wide_and_uneven_strides_are_computed_or_refused(strides, tmp_path):
    path, inputs = tmp_path / "m.tflite", keras.Input((17, 18, 7))
    outputs = layers.Flatten()(layers.Conv2D(16, 3, strides=strides, padding="same")(inputs))
    model = keras.Model(inputs, outputs)
    try:
        export.export_tflite(model, path, verification_data=X)
    except RuntimeError as error:
        # A version of LiteRT that cannot do it.
        assert "does not compute the same" in str(error) and not path.exists()
    else:
        np.testing.assert_allclose(export.run_tflite(path, X), model(X), atol=1e-4)


@pytest.mark.parametrize(("quantization", "allowed"), [("float32", 1), ("float16", 5), ("dynamic", 25)])
def test_zeros_are_an_error_and_not_a_file(wide_strides, quantization, allowed, tmp_path, monkeypatch):
    """Numbers agree by closeness and constant classes may agree, so that the difference has to tell."""
    run = verification.run_tflite
    monkeypatch.setattr(verification, "run_tflite", lambda content, x: 0 * run(content, x))
    message = f"The {quantization} TFLite file of 'wide_strides' does not compute the same.*differ by up to"
    allowing = re.escape(f"but only {allowed}% is allowed; the file was not written")
    with pytest.raises(RuntimeError, match=f"{message}.*{allowing}"):
        export.export_tflite(wide_strides, tmp_path / "m.tflite", quantization, verification_data=X)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("quantization", "factor"), [("float16", 1.02), ("dynamic", 1.1)])
def test_what_rounding_does_is_allowed(wide_strides, quantization, factor, monkeypatch):
    run = verification.run_tflite
    monkeypatch.setattr(verification, "run_tflite", lambda content, x: factor * run(content, x))
    assert export.export_tflite(wide_strides, None, quantization, verification_data=X).max_difference > 0


def test_outputs_that_hardly_vary_are_measured_by_their_size():
    inputs = keras.Input((17, 18, 7))
    dense = layers.Dense(1, bias_initializer=keras.initializers.Constant(100.0))
    model = keras.Model(inputs, dense(layers.Flatten()(inputs)))
    for quantization in ("float16", "dynamic"):
        check = export.export_tflite(model, None, quantization, verification_data=X)
        assert check.max_difference < 1
