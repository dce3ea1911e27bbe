"""Strokes: curves drawn with a pen, an untrained prior for line drawings and characters."""

import keras
import numpy as np
from keras import ops

from generators._base import Generator
from generators._checks import check_image_shape, check_int, check_range
from generators._distributions import log_uniform, uniform
from generators._smooth_noise import stretched

# The control points of a cubic curve, and enough samples for the thinnest default pen.
_CONTROLS = 4
_SAMPLES = 48
# The paper's unevenness is interpolated from a grid with this many cells a side.
_PAPER_GRID = 4


@keras.saving.register_keras_serializable(package="tfkd")
class Strokes(Generator):
    """A few random pen strokes on paper; nothing to train.

    Each image has its own number of strokes, pen width, sharpness, drawing size, ink and paper; dark on
    bright is as frequent as bright on dark. Strokes are cubic Bezier curves, half of which start at the end
    of the previous one. The ink is a sum of Gaussians along the curves: over an image, this sum is a
    product of two small matrices, and its negative logarithm is a smooth squared distance from the curves.

    Args:
        image_shape: `(height, width, channels)`.
        strokes: the largest number of strokes in an image, at least 1.
        width: `(thin, thick)`, the range of half-widths of the pen as a fraction of the image's shorter
            side, drawn log-uniformly for each image.
        **kwargs: passed to `keras.Model`.

    Returns (when called on latents):
        Images in [0, 1], float32 `(batch, height, width, channels)`.

    Raises:
        ValueError: for an argument out of range.

    Example:
        >>> Strokes((28, 28, 1)).sample(4, seed=0).shape
        TensorShape([4, 28, 28, 1])
    """

    procedural = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        strokes: int = 3,
        width: tuple[float, float] = (0.03, 0.12),
        name: str = "strokes",
        **kwargs,
    ) -> None:
        check_int("strokes", strokes)
        width = check_range("width", width)
        channels = check_image_shape(image_shape)[-1]
        self._sizes = [strokes * _CONTROLS * 2, strokes, 8, channels, channels, _PAPER_GRID**2]
        super().__init__(image_shape, sum(self._sizes), name=name, **kwargs)
        self.strokes = strokes
        self.width = width
        self.built = True

    def call(self, latent, labels=None, training: bool | None = None):
        parts = ops.split(latent, np.cumsum(self._sizes)[:-1].tolist(), axis=-1)
        controls, joined, style, middle, contrast, unevenness = parts
        centre = style[:, :2]
        count, spread, pen, softness, gain, rough = ops.unstack(style[:, 2:], axis=-1)
        controls = self._chain(ops.reshape(controls, (-1, self.strokes, _CONTROLS, 2)), joined)
        spread = log_uniform(spread, 0.2, 0.4)[:, None, None, None]
        controls = 0.5 + 0.1 * centre[:, None, None, :] + spread * controls
        drawn = ops.cast(np.arange(self.strokes) < self.strokes * uniform(count)[:, None], "float32")
        height, width, _ = self.image_shape
        # In pixels from here on. The pen's half-width is the distance at which the sum of Gaussians is 0.5.
        deviation = min(height, width) * log_uniform(pen, *self.width) / np.sqrt(2 * np.log(2))
        density = self._density(controls * np.array([height, width], "float32"), drawn, deviation)
        # With this sharpness, the cover's logit falls by 4 over 0.5 to 3 pixels at the edge.
        sharpness = 3.4 * deviation / log_uniform(softness, 0.5, 3.0)
        cover = ops.sigmoid(sharpness[:, None, None] * ops.log(2 * density + 1e-9))[..., None]
        paper = (1.5 * uniform(rough) ** 2)[:, None, None, None] * self._stretch(unevenness)
        # Ink and paper lie on opposite sides of a middle tone; either can be the brighter one.
        middle, contrast = middle[:, None, None, :], contrast[:, None, None, :]
        gain = log_uniform(gain, 1.0, 8.0)[:, None, None, None]
        return ops.sigmoid(paper + middle + gain * contrast * (2 * cover - 1))

    def _chain(self, controls, joined):
        """Makes half of the strokes start at the end of the previous one."""
        chained = [controls[:, 0]]
        for i in range(1, self.strokes):
            gap = chained[-1][:, -1:] - controls[:, i, :1]
            chained.append(controls[:, i] + gap * ops.cast(joined[:, i, None, None] > 0, gap.dtype))
        return ops.stack(chained, axis=1)

    def _density(self, controls, drawn, deviation):
        """Sums Gaussians along the strokes, so that the sum is about 1 in the middle of a line."""
        height, width, _ = self.image_shape
        t = (np.arange(_SAMPLES, dtype="float32")[:, None] + 0.5) / _SAMPLES
        k, binomial = np.arange(_CONTROLS), np.array([1, 3, 3, 1])
        curve = (binomial * t**k * (1 - t) ** (3 - k)).astype("float32")
        # The derivative of a cubic curve is a quadratic curve with the differences of its control points.
        slope = (np.array([3, 6, 3]) * t ** k[:3] * (1 - t) ** (2 - k[:3])).astype("float32")
        points = ops.einsum("pk,bskd->bspd", curve, controls)
        slopes = ops.einsum("pk,bskd->bspd", slope, controls[:, :, 1:] - controls[:, :, :-1])
        lengths = drawn[:, :, None] * ops.sqrt(ops.sum(slopes**2, axis=-1) + 1e-12) / _SAMPLES
        points = ops.reshape(points, (-1, self.strokes * _SAMPLES, 2, 1))
        weights = ops.reshape(lengths, (-1, self.strokes * _SAMPLES, 1))
        deviation = deviation[:, None, None]
        rows, columns = (
            ops.exp(-(((np.arange(side, dtype="float32") + 0.5 - points[:, :, axis]) / deviation) ** 2) / 2)
            for axis, side in enumerate((height, width))
        )
        rows = rows * weights / (np.sqrt(2 * np.pi) * deviation)
        return ops.einsum("bpy,bpx->byx", rows, columns)

    def _stretch(self, cells):
        """A smooth field over the image from a grid of cells."""
        height, width, _ = self.image_shape
        grid = ops.reshape(cells, (-1, _PAPER_GRID, _PAPER_GRID, 1))
        return stretched(grid, height, width)

    def get_config(self) -> dict:
        return {**super().get_config(), "strokes": self.strokes, "width": list(self.width)}
