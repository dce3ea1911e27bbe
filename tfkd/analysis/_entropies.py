"""How much of each pixel a layer discards, measured by the largest noise that preserves its features."""

import math
import os

import keras
import numpy as np
import tensorflow as tf

from tfkd._core.asking import in_parts
from tfkd._core.checks import check_int, check_number
from tfkd.analysis._figures import new_figure, save_figure
from tfkd.analysis._tapped import for_any_batch, record_features, tapped

_START, _BETAS, _EPSILON = 0.1, (0.9, 0.99), 1e-12
# Entropy of a Gaussian with standard deviation 1.
_UNIT_ENTROPY = 0.5 * math.log(2 * math.pi * math.e)


class EntropyProbe:
    """Measures the pixel-wise entropies of images, given a layer's features of them.

    Every pixel gets Gaussian noise with its own standard deviation sigma. The sigmas are learned by
    gradient descent (Adam) on

        E ||f(x + sigma * noise) - f(x)||^2 / Var(f) - weight * sum of log(sigma),

    so that the noise becomes as large as the features allow. A pixel's entropy is
    log(sigma) + log(2 pi e) / 2: low where the layer preserves the pixel, high where it discards it. The
    weight is 2 * `tolerance` / pixels; at this weight linear features change by the tolerance.

    Every call draws the same noise, so that networks are compared under the same conditions. Changes to the
    model's weights take effect in the next call.

    Args:
        model: a network with one input, images `(batch, height, width, channels)`.
        tap: the path of the layer, as `tfkd.taps.record` takes it.
        tolerance: the mean squared change of features, as a fraction of their variance over the images.
        largest: the largest sigma, reached by pixels that are discarded completely; use the range of the
            image values.
        steps: the number of gradient steps.
        samples: the number of noise samples in each step.
        learning_rate: the learning rate of log(sigma); it decays to 0 over the steps.
        seed: the seed of the noise.
        jit_compile: whether to compile with XLA.

    Raises:
        ValueError: if a number is out of range, the layer does not exist, or the model takes other inputs.

    Example:
        >>> probe = tfkd.analysis.EntropyProbe(student, "dense")
        >>> entropies = probe(x_test[:64])  # (64, 28, 28)

    Reference:
        Cheng et al., "Explaining Knowledge Distillation by Quantifying the Knowledge", 2020. Deviations:
        the tolerance replaces the weight of the entropies, the features' variance is measured over the
        given images, and sigma is bounded; otherwise pixels that affect no feature would have no finite
        entropy.
    """

    def __init__(
        self,
        model: keras.Model,
        tap: str,
        *,
        tolerance: float = 0.1,
        largest: float = 1.0,
        steps: int = 100,
        samples: int = 4,
        learning_rate: float = 0.1,
        seed: int = 0,
        jit_compile: bool = False,
    ) -> None:
        self.model, self.tap = model, tap
        self.tolerance = check_number("tolerance", tolerance, above=0)
        self.largest = check_number("largest", largest, above=0)
        self.steps, self.samples = check_int("steps", steps), check_int("samples", samples)
        self.learning_rate = check_number("learning_rate", learning_rate, above=0)
        self.seed = check_int("seed", seed, 0)
        if len(model.inputs or []) != 1 or len(model.inputs[0].shape) != 4:
            raise ValueError(
                "`model` must have one input, images (batch, height, width, channels). Received: inputs "
                f"{[tuple(each.shape) for each in model.inputs or []]}."
            )
        self._features = tapped(model, [tap])
        learn = tf.function(self._log_sigmas, autograph=False, jit_compile=jit_compile)
        self._learn = for_any_batch(learn)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The entropy of each pixel in nats.

        Args:
            images: `(n, height, width, channels)`, at least two different images.

        Returns:
            float32 `(n, height, width)`; at most log(largest) + 1.419.

        Raises:
            ValueError: if there are fewer than two images.
        """
        if np.ndim(images) != 4 or len(images) < 2:
            raise ValueError(
                "`images` must be at least two images (n, height, width, channels), over which the "
                f"features' variance is measured. Received: shape {np.shape(images)}."
            )
        variance = self._variance(images)
        # Few enough images at once that all noise samples fit through the model.
        parts = in_parts(self.model, images, max(1, 256 // self.samples))
        learned = [self._learn(part, variance, i).numpy() for i, part in enumerate(parts)]
        return np.concatenate(learned)[..., 0] + np.float32(_UNIT_ENTROPY)

    def _variance(self, images):
        features = [self._features(part)[0].numpy() for part in in_parts(self.model, images)]
        flat = np.concatenate([values.reshape(len(values), -1) for values in features]).astype("float64")
        return np.float32(max(flat.var(axis=0).sum(), _EPSILON))

    def _log_sigmas(self, images, variance, part):
        images = tf.cast(images, "float32")
        clean = self._flat_features(images)
        pixels = images.shape[1] * images.shape[2]
        weight = 2 * self.tolerance / pixels

        def loss(log_sigma, noise):
            noisy = images + tf.exp(log_sigma) * noise
            features = self._flat_features(tf.reshape(noisy, (-1, *images.shape[1:])))
            change = tf.reshape(features, (self.samples, -1, clean.shape[1])) - clean
            return tf.reduce_sum(change**2) / (self.samples * variance) - weight * tf.reduce_sum(log_sigma)

        def step(i, log_sigma, mean, square):
            shape = tf.concat([[self.samples], tf.shape(images)], 0)
            noise = tf.random.stateless_normal(shape, tf.stack([self.seed, part * self.steps + i]))
            with tf.GradientTape() as tape:
                tape.watch(log_sigma)
                value = loss(log_sigma, noise)
            gradient = tape.gradient(value, log_sigma)
            mean, square, move = _adam(i, gradient, mean, square)
            rate = self.learning_rate * (1 - tf.cast(i, "float32") / self.steps)
            return i + 1, tf.minimum(log_sigma - rate * move, math.log(self.largest)), mean, square

        start = tf.zeros_like(images[..., :1])
        state = (0, start + math.log(min(_START, self.largest)), start, start)
        return tf.while_loop(lambda i, *_: i < self.steps, step, state)[1]

    def _flat_features(self, images):
        features = record_features(self.model, [self.tap], images)[0]
        return tf.reshape(features, (-1, math.prod(features.shape[1:])))


def _adam(i, gradient, mean, square):
    """Adam's moving averages after step `i`, and the resulting direction."""
    count = tf.cast(i + 1, "float32")
    mean = _BETAS[0] * mean + (1 - _BETAS[0]) * gradient
    square = _BETAS[1] * square + (1 - _BETAS[1]) * gradient**2
    corrected = tf.sqrt(square / (1 - _BETAS[1] ** count)) + _EPSILON
    return mean, square, mean / (1 - _BETAS[0] ** count) / corrected


def entropy_plot(images: np.ndarray, entropies: dict[str, np.ndarray], path: str | os.PathLike) -> None:
    """Draws images, one per row, next to heat maps of their pixel-wise entropies.

    Args:
        images: a few images `(n, height, width, channels)` in [0, 1].
        entropies: a probe's results for them, `(n, height, width)`, by the names of the networks.
        path: the image file to write.

    Raises:
        ImportError: if matplotlib is missing.
        ValueError: if the shapes do not match.

    Example:
        >>> entropy_plot(images[:4], {"student": probe(images)[:4]}, "entropies.png")
    """
    for name, values in entropies.items():
        if np.shape(values) != np.shape(images)[:3]:
            raise ValueError(
                f"`entropies` must have shape {np.shape(images)[:3]}, one value for each pixel. Received "
                f"for {name!r}: shape {np.shape(values)}."
            )
    if not entropies or not len(images):
        raise ValueError(
            "`images` and `entropies` must not be empty. Received: "
            f"{len(images)} images, entropies of {list(entropies)}."
        )
    low, high = (f(np.stack(list(entropies.values()))) for f in (np.min, np.max))
    rows, columns = len(images), 1 + len(entropies)
    figure, axes = new_figure(1.5 * columns + 0.8, 1.5 * rows + 0.4, rows, columns)
    for row, image in zip(axes, images, strict=True):
        row[0].imshow(image if image.shape[-1] == 3 else image[..., 0], vmin=0, vmax=1, cmap="gray")
    for column, (name, values) in enumerate(entropies.items(), 1):
        axes[0, column].set_title(name)
        for axis, each in zip(axes[:, column], values, strict=True):
            shown = axis.imshow(each, vmin=low, vmax=high, cmap="magma")
    for axis in axes.flat:
        axis.set_axis_off()
    figure.colorbar(shown, ax=axes, label="entropy in nats", shrink=0.8)
    save_figure(figure, path)
