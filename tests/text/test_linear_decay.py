"""The learning rate of transformers."""

import keras
import numpy as np
import pytest

from tfkd import text


def test_it_rises_and_falls():
    rates = [float(text.LinearDecay(2.0, 100, 0.1)(step)) for step in range(101)]
    done = (np.arange(101) + 1) / 101
    expected = 2 * np.clip(np.minimum(done / 0.1, (1 - done) / 0.9), 0, 1)
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-6)
    assert rates[0] > 0 and max(rates) == pytest.approx(2.0, rel=0.02) and rates[100] == 0


def test_without_warmup_it_begins_at_the_peak():
    rates = [float(text.LinearDecay(1.0, 10, 0.0)(step)) for step in range(10)]
    np.testing.assert_allclose(rates, 1 - (np.arange(10) + 1) / 11, rtol=1e-5)


def test_it_is_saved():
    schedule = text.LinearDecay(1.0, 10, 0.3)
    optimizer = keras.optimizers.Adam.from_config(keras.optimizers.Adam(schedule).get_config())
    assert optimizer._learning_rate.get_config() == schedule.get_config()


@pytest.mark.parametrize(("option", "value"), [("peak", 0.0), ("updates", 0), ("warmup", 1.0)])
def test_bad_numbers(option, value):
    with pytest.raises(ValueError, match=f"`{option}`"):
        text.LinearDecay(**{"peak": 1.0, "updates": 2, option: value})
