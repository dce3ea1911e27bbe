"""Expected calibration error against a loop over bins, and by hand."""

import keras
import numpy as np
import pytest

import tfkd
from tests.analysis.test_fidelity import INPUTS, STUDENT, softmax, table
from tfkd.analysis import expected_calibration_error, reliability, reliability_plot

LABELS = np.random.default_rng(1).integers(0, 5, len(STUDENT))


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_bins_and_error(bins):
    probabilities = softmax(STUDENT)
    confidence, right = probabilities.max(-1), probabilities.argmax(-1) == LABELS
    found = reliability(table(STUDENT, "s"), INPUTS, LABELS, bins)
    error = 0.0
    for i in range(bins):
        inside = (confidence > i / bins) & (confidence <= (i + 1) / bins)
        assert found.count[i] == inside.sum()
        if inside.any():
            assert found.confidence[i] == pytest.approx(confidence[inside].mean(), rel=1e-5)
            assert found.accuracy[i] == right[inside].mean()
            error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
        else:
            assert np.isnan(found.confidence[i]) and np.isnan(found.accuracy[i])
    assert found.error == pytest.approx(error, rel=1e-5)
    assert expected_calibration_error(table(STUDENT, "s"), INPUTS, LABELS, bins) == found.error


def test_by_hand():
    """Two answers that are sure of themselves, one of them wrong: sure of 1, right in 1/2."""
    model = table([[100.0, 0.0], [100.0, 0.0]], "sure")
    assert expected_calibration_error(model, np.eye(2, dtype="float32"), np.array([0, 1])) == 0.5


def test_plot(tmp_path):
    found = reliability(table(STUDENT, "s"), INPUTS, LABELS)
    reliability_plot({"one": found, "two": found}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="`measured`"):
        reliability_plot({}, tmp_path / "plot.png")


def test_bad_input():
    model = table(STUDENT, "s")
    with pytest.raises(ValueError, match="`bins` must be an integer"):
        reliability(model, INPUTS, LABELS, bins=0)
    with pytest.raises(ValueError, match="`labels` must be 40 class indices"):
        reliability(model, INPUTS, keras.utils.to_categorical(LABELS, 5))
    with pytest.raises(ValueError, match="must be a classifier"):
        reliability(model, INPUTS, LABELS, task=tfkd.tasks.Regression((5,)))
