"""Inputs for MLPerf Tiny's models without a test set: crops of photographs, and synthetic speech."""

import numpy as np
import tensorflow as tf

from generators._picture_files import read_pictures

_RATE = 16_000
# The values of the keyword-spotting front end for silence and for the loudest sounds.
MFCC_RANGE = (-124.0, 26.0)
# The vocal tract's resonances and their bandwidths, in Hz.
_FORMANTS = ((250, 900), (800, 2400), (2000, 3400))
_BREADTH = 120.0


def photographs(folder: str, number: int, side: int = 96) -> np.ndarray:
    """Random square crops of the photographs in a folder, uint8 `(number, side, side, 3)`."""
    rng, pictures, crops = np.random.default_rng(0), read_pictures(folder), []
    for index in range(number):
        picture = pictures[index % len(pictures)]
        size = int(min(picture.shape[:2]) * rng.uniform(0.4, 1.0))
        top, left = (rng.integers(whole - size + 1) for whole in picture.shape[:2])
        part = picture[top : top + size, left : left + size]
        crops.append(tf.image.resize(part, (side, side), antialias=True).numpy())
    return np.clip(np.round(crops), 0, 255).astype("uint8")


def speech(number: int) -> np.ndarray:
    """Seconds of gliding vowels, hisses and noise, float32 `(number, 16000)` with a peak of 1."""
    rng = np.random.default_rng(0)
    return np.stack([_utterance(rng) for _ in range(number)]).astype("float32")


def _utterance(rng):
    time = np.arange(_RATE) / _RATE

    def contour(low, high, points=5):
        return np.interp(time, np.linspace(0, 1, points), rng.uniform(low, high, points))

    middle = rng.uniform(90, 260)
    pitch = contour(0.8 * middle, 1.2 * middle)
    phase = 2 * np.pi * np.cumsum(pitch) / _RATE
    formants = [contour(*ends) for ends in _FORMANTS]
    voice = np.zeros(_RATE)
    for harmonic in range(1, int(4000 / pitch.max())):
        loudness = sum(np.exp(-((harmonic * pitch - f) ** 2) / (2 * _BREADTH**2)) for f in formants)
        voice += (loudness + 0.02) * np.sin(harmonic * phase) / np.sqrt(harmonic)
    begin, end = rng.uniform(0.1, 0.4), rng.uniform(0.5, 0.9)
    word = 1 / (1 + np.exp(-(time - begin) / 0.02)) - 1 / (1 + np.exp(-(time - end) / 0.04))
    hiss = np.diff(rng.normal(size=_RATE + 1)) * np.exp(-(((time - rng.uniform(begin, end)) / 0.06) ** 2))
    sound = word * voice + rng.uniform(0, 0.5) * hiss
    sound /= np.abs(sound).max()
    sound += 10 ** rng.uniform(-4, -1) * rng.normal(size=_RATE)
    return sound / np.abs(sound).max()


def mfccs(sounds: np.ndarray) -> np.ndarray:
    """Sounds after the keyword-spotting front end, with `MFCC_RANGE` scaled to [0, 1]."""
    spectrum = tf.abs(tf.signal.stft(sounds, 480, 320))
    to_mel = tf.signal.linear_to_mel_weight_matrix(40, spectrum.shape[-1], _RATE, 20.0, 4000.0)
    logarithms = tf.math.log(tf.tensordot(spectrum, to_mel, 1) + 1e-6)
    cepstrum = tf.signal.mfccs_from_log_mel_spectrograms(logarithms)[..., :10].numpy()
    low, high = MFCC_RANGE
    return np.clip((cepstrum[..., None] - low) / (high - low), 0, 1)


def log_mels(sounds: np.ndarray) -> np.ndarray:
    """Sounds after the front end of the streaming wake word, in [0, 1]."""
    before = np.pad(sounds, ((0, 0), (1, 0)))[:, :-1]
    spectrum = tf.signal.stft(
        sounds - (1 - 2**-5) * before,
        1024,
        512,
        window_fn=lambda n, dtype: tf.signal.hamming_window(n, False, dtype),
    )
    power = tf.square(tf.abs(spectrum)) / 1024
    to_mel = tf.signal.linear_to_mel_weight_matrix(40, power.shape[-1], _RATE, 0.0, _RATE / 2)
    decibels = 10 * np.log10(np.maximum(tf.tensordot(power, to_mel, 1), 1e-30))
    return np.clip((decibels[:, :, None] + 52) / 64, 0, 1).astype("float32")
