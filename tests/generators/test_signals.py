"""Series and spectrograms: where tones lie in them, and what is refused."""

import numpy as np
import pytest

from generators import Signals


def with_one_tone(generator, colour=9.0, **values):
    """An input of one loud tone that lasts throughout, without noise."""
    latent = np.zeros((1, generator.latent_size), "float32")
    whole, tones = latent[0, :5], latent[0, 5 : 5 + 8]
    # Noise is as faint as can be.
    whole[:3] = 9.0, -9.0, colour
    # As long as can be, from before the middle, and loud.
    named = {"when": -9.0, "length": 9.0, "onset": -9.0, "pitch": 0.0, "loud": 9.0, **values}
    order = ["when", "length", "onset", "pitch", "glide", "phase", "overtones", "loud"]
    tones[:] = [named.get(name, 0.0) for name in order]
    # What the channels hear of it follows the bends.
    latent[0, 5 + 8 + 4 : 5 + 8 + 4 + generator.image_shape[-1]] = 1.0
    return generator(latent).numpy()[0]


def periods(wave):
    spectrum = np.abs(np.fft.rfft(wave - wave.mean()))
    return int(spectrum.argmax())


def test_a_tone_of_a_series_has_its_pitch():
    generator = Signals((256, 2), tones=1, pitch=(4, 64))
    for pitch, expected in ((-9.0, 4), (0.0, 16), (9.0, 64)):
        wave = with_one_tone(generator, pitch=pitch, overtones=-9.0)
        assert periods(wave[:, 0]) == pytest.approx(expected, abs=1)
        np.testing.assert_allclose(wave[:, 0], wave[:, 1], atol=1e-6)


def test_a_tone_glides():
    generator = Signals((512, 1), tones=1, pitch=(32, 32))
    rising, falling = (with_one_tone(generator, glide=glide)[:, 0] for glide in (9.0, -9.0))
    assert periods(rising[:256]) < periods(rising[256:])
    assert periods(falling[:256]) > periods(falling[256:])


def test_a_tone_begins_and_ends():
    generator = Signals((256, 1), tones=1, pitch=(32, 32))
    wave = with_one_tone(generator, when=0.0, length=-1.0, onset=0.0)[:, 0]
    loud = np.abs(wave - 0.5).reshape(8, 32).max(axis=1)
    assert loud.argmax() in (3, 4) and loud[0] < 0.05 * loud.max() > loud[-1]


def test_a_tone_of_a_spectrogram_is_a_line_along_time():
    frequency_first, time_first = (40, 64, 1), (64, 40, 1)
    cases = ((False, frequency_first), (None, frequency_first), (True, time_first), (None, time_first))
    for given, shape in cases:
        generator = Signals(shape, tones=1, pitch=(0.25, 0.25), time_first=given)
        field = with_one_tone(generator, colour=0.0, phase=-9.0, overtones=-9.0)[..., 0]
        field = field.T if generator.time_first else field
        loudest = field[:, 8:56].argmax(axis=0)
        assert ((loudest >= 9) & (loudest <= 10)).all()
        assert field[20:].max() < 0.5 < field[9:11, 8:56].max()


def test_frequencies_may_be_channels():
    plain, folded = Signals((30, 40, 1), time_first=True), Signals((30, 1, 40))
    latent = np.random.default_rng(0).normal(size=(2, plain.latent_size)).astype("float32")
    assert folded.latent_size == plain.latent_size
    np.testing.assert_array_equal(folded(latent)[:, :, 0], plain(latent)[..., 0])


def test_overtones_of_a_spectrogram_lie_at_multiples():
    generator = Signals((80, 16, 1), tones=1, pitch=(0.25, 0.25), time_first=False)
    column = with_one_tone(generator, colour=0.0, overtones=9.0)[:, 8, 0]
    peaks = np.flatnonzero((column[1:-1] >= column[:-2]) & (column[1:-1] >= column[2:])) + 1
    for expected in (20, 40, 60):
        assert np.abs(peaks - expected).min() <= 1


@pytest.mark.parametrize("shape", [(128, 3), (40, 64, 1)], ids=str)
def test_signals_use_the_whole_range_and_differ(shape):
    signals = Signals(shape).sample(256, seed=0).numpy()
    assert signals.min() < 0.05 and signals.max() > 0.95
    loudness = signals.std(axis=tuple(range(1, signals.ndim)))
    # From faint ones to clipped ones.
    assert np.quantile(loudness, 0.1) < 0.1 and np.quantile(loudness, 0.9) > 0.25


def test_noise_is_of_all_colours():
    series = Signals((256, 1), tones=1).sample(256, seed=0).numpy()[..., 0]
    steps = np.abs(np.diff(series, axis=1)).mean(axis=1) / (series.std(axis=1) + 1e-6)
    assert np.quantile(steps, 0.1) < 0.1 and np.quantile(steps, 0.9) > 0.5


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((7,), {}, r"`image_shape` must be \(time, channels\) or .* For vectors use Uniform or Gaussian"),
        ((8, 8, 8, 1), {}, r"`image_shape` must be \(time, channels\)"),
        ((8, 1), {"tones": 0}, "`tones` must be an integer of at least 1"),
        ((8, 1), {"pitch": (3, 1)}, r"`pitch` must be \(low, high\)"),
    ],
    ids=str,
)
def test_what_is_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        Signals(shape, **options)
