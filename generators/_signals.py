"""Signals: time series and spectrograms of tones and noise, an untrained prior for sounds and sensors."""

import keras
import numpy as np
from keras import ops

from generators._base import Generator
from generators._checks import check_int, check_range, check_shape
from generators._distributions import log_uniform, uniform
from generators._smooth_noise import stretched

# Cells along time of the Gaussian grids that noise is interpolated from; grids finer than the series are
# left out. Finer grids have less weight, by a random power, which gives noise of all colours.
_GRIDS = (4, 16, 64, 256)
# Cells along frequency and along time of a spectrogram's noise.
_FIELDS = ((3, 3), (8, 6), (12, 20))
# Cells along time of the grid for the bending of a tone's pitch.
_BENDS = 4
# Latent values of a tone: time, length, onset, pitch, glide, phase, overtones, loudness.
_TONE = 8
# Latent values of a whole input: number of tones, loudness and colour of the noise, gain, offset.
_WHOLE = 5


@keras.saving.register_keras_serializable(package="tfkd")
class Signals(Generator):
    """Tones that glide, start and end, with coloured noise; nothing to train.

    Series are waves: chirps with overtones, each with its own envelope, from clicks to tones that last
    throughout, and smooth to rough noise; each channel has its own loudness of each tone. Spectrograms
    show the corresponding pictures: lines that bend over time, with or without harmonics, broad bands like
    formants, bursts over all frequencies, and noise. Some inputs are faint, some clipped.

    Args:
        image_shape: `(time, channels)` for series, `(frequency, time, channels)` for spectrograms, or
            `(time, 1, frequency)` for spectrograms whose frequencies are channels.
        tones: the largest number of tones in an input, at least 1.
        pitch: `(low, high)`, the range of pitches, drawn log-uniformly: periods per series, or fractions
            of a spectrogram's frequencies. None for 1 to a quarter of the series' length, or 0.03 to 0.9.
        time_first: whether spectrograms are `(time, frequency, channels)`; None for true if the first axis
            is the longer one. Series always have time first.
        **kwargs: passed to `keras.Model`.

    Returns (when called on latents):
        Values in [0, 1], float32 `(batch, *image_shape)`; silence is 0.5 in series.

    Raises:
        ValueError: for an argument out of range.

    Example:
        >>> Signals((128, 3)).sample(4, seed=0).shape
        TensorShape([4, 128, 3])
        >>> Signals((49, 10, 1)).sample(4, seed=0).shape
        TensorShape([4, 49, 10, 1])
        >>> Signals((30, 1, 40)).sample(4, seed=0).shape
        TensorShape([4, 30, 1, 40])
    """

    procedural = True

    def __init__(
        self,
        image_shape: tuple[int, ...],
        tones: int = 4,
        pitch: tuple[float, float] | None = None,
        time_first: bool | None = None,
        name: str = "signals",
        **kwargs,
    ) -> None:
        shape = check_shape(image_shape)
        if len(shape) not in (2, 3):
            raise ValueError(
                "`image_shape` must be (time, channels) or (frequency, time, channels). Received: "
                f"image_shape={image_shape!r}. For vectors use Uniform or Gaussian."
            )
        self.tones = check_int("tones", tones)
        self.waves = len(shape) == 2
        self.time_first = not self.waves and shape[0] > shape[1] if time_first is None else time_first
        if not self.waves and shape[1] == 1:
            shape = (shape[0], shape[2], 1)
        # Spectrograms are made with frequencies first, then transposed.
        *bands, self._time = shape[:-1][::-1] if self.time_first else shape[:-1]
        self._bands, self._channels = bands, shape[-1]
        self.pitch = None if pitch is None else check_range("pitch", pitch)
        self._grids = [grid for grid in _GRIDS if grid <= self._time] or [1]
        cells = [grid * self._channels for grid in self._grids]
        if not self.waves:
            cells = [rows * columns * self._channels for rows, columns in _FIELDS]
        self._sizes = [_WHOLE, tones * _TONE, tones * _BENDS, tones * self._channels, *cells]
        super().__init__(image_shape, sum(self._sizes), name=name, **kwargs)
        self.built = True

    def call(self, latent, labels=None, training: bool | None = None):
        whole, tones, bends, shares, *cells = ops.split(
            latent, np.cumsum(self._sizes)[:-1].tolist(), axis=-1
        )
        count, noise, colour, gain, offset = ops.unstack(whole, axis=-1)
        tones = ops.unstack(ops.reshape(tones, (-1, self.tones, _TONE)), axis=-1)
        bends = ops.reshape(bends, (-1, self.tones, _BENDS, 1))
        # Tones that are not drawn are silent.
        heard = ops.cast(np.arange(self.tones) < self.tones * uniform(count)[:, None], "float32")
        shares = heard[:, :, None] * ops.reshape(shares, (-1, self.tones, self._channels))
        make = self._series if self.waves else self._spectrogram
        drawn = make(tones, bends, shares, cells, log_uniform(noise, 0.05, 1.5), uniform(colour))
        alone = [1] * (drawn.ndim - 1)
        gain = ops.reshape(log_uniform(gain, 0.5, 4.0), (-1, *alone))
        drawn = ops.sigmoid(gain * drawn + 0.2 * ops.reshape(offset, (-1, *alone)))
        return ops.reshape(drawn, (-1, *self.image_shape))

    def _series(self, tones, bends, shares, cells, noise, colour):
        when, length, onset, pitch, glide, phase, overtones, loud = tones
        # Periods since the start, from the pitch and its change over time, which is -1 to 1 of the pitch.
        pitch = log_uniform(pitch, *(self.pitch or (1.0, max(2.0, self._time / 4))))
        time = self._moments()
        glide = (2 * uniform(glide) - 1)[:, :, None]
        bent = stretched(ops.reshape(bends, (-1, _BENDS, 1)), self._time)
        bent = ops.reshape(bent, (-1, self.tones, self._time))
        turns = pitch[:, :, None] * (time + glide * (time - 1) * time / 2) + 0.3 * bent
        angle = 2 * np.pi * (turns + uniform(phase)[:, :, None])
        second = uniform(overtones)[:, :, None] ** 2
        wave = ops.sin(angle) + second * ops.sin(2 * angle) + second**2 * ops.sin(3 * angle)
        wave = wave * self._envelopes(when, length, onset) * log_uniform(loud, 0.3, 3.0)[:, :, None]
        drawn = ops.einsum("bkt,bkc->btc", wave, shares)
        for grid, values in zip(self._grids, cells, strict=True):
            field = stretched(ops.reshape(values, (-1, grid, self._channels)), self._time)
            # From white noise, with equal weights of all grids, to brown noise and beyond.
            share = noise * ops.exp(-1.2 * colour * np.log(grid / self._grids[0]))
            drawn += share[:, None, None] * field
        return drawn

    def _spectrogram(self, tones, bends, shares, cells, noise, colour):
        when, length, onset, pitch, glide, phase, overtones, loud = tones
        (bands,) = self._bands
        height = (np.arange(bands, dtype="float32")[:, None] + 0.5) / bands
        pitch = log_uniform(pitch, *(self.pitch or (0.03, 0.9)))[:, :, None, None]
        bent = stretched(ops.reshape(bends, (-1, _BENDS, 1)), self._time)
        bent = ops.reshape(bent, (-1, self.tones, self._time))
        slope = 0.5 * (2 * uniform(glide) - 1)[:, :, None] ** 3
        track = pitch * ops.exp(slope * (self._moments() - 0.5) + 0.1 * bent)[:, :, None]
        # From a line half a band wide to all frequencies.
        breadth = log_uniform(phase, 0.5 / bands, 1.5)[:, :, None, None]
        line = ops.exp(-(((height - track) / breadth) ** 2) / 2)
        # Ridges at all multiples of the pitch, weaker the higher they are.
        comb = ops.exp(2.0 * (ops.cos(2 * np.pi * height / track) - 1) - 1.5 * height)
        harmonic = ops.cast(overtones > 0.43, "float32")[:, :, None, None]
        shown = harmonic * comb + (1 - harmonic) * line
        loud = log_uniform(loud, 1.0, 6.0)[:, :, None, None]
        shown = shown * loud * self._envelopes(when, length, onset)[:, :, None]
        # Loudness has no sign; a tone is louder in some channels than in others.
        drawn = ops.einsum("bkft,bkc->bftc", shown, ops.abs(shares))
        for (rows, columns), values in zip(_FIELDS, cells, strict=True):
            field = stretched(ops.reshape(values, (-1, rows, columns, self._channels)), bands, self._time)
            drawn += (noise / 3)[:, None, None, None] * field
        # Noise is louder where frequencies are low, or high.
        tilt = (3 * (2 * colour - 1))[:, None, None, None] * (height[..., None] - 0.5)
        drawn = drawn + tilt - 1.0
        return ops.swapaxes(drawn, 1, 2) if self.time_first else drawn

    def _moments(self):
        return (np.arange(self._time, dtype="float32") + 0.5) / self._time

    def _envelopes(self, when, length, onset):
        """The loudness of tones over time: a short onset, then a fade."""
        when, length = uniform(when)[:, :, None], log_uniform(length, 0.02, 2.0)[:, :, None]
        onset = length * log_uniform(onset, 0.02, 0.5)[:, :, None]
        since = self._moments() - when + length / 2
        return ops.sigmoid(4 * since / onset) * ops.exp(-((ops.maximum(since, 0.0) / length) ** 2))

    def get_config(self) -> dict:
        pitch = None if self.pitch is None else list(self.pitch)
        options = {"tones": self.tones, "pitch": pitch, "time_first": self.time_first}
        return {**super().get_config(), **options}
