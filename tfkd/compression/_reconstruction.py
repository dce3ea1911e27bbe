"""Learns the rounding of kernels, layer by layer, to preserve the layers' outputs."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfkd.compression._kernel_rows import is_product, kernel_of, matrices_of, outputs_at, rows_of
from tfkd.compression._kernels import bias_of, largest, linear, steps_of

# The ends of the stretched sigmoid before it is clipped to [0, 1].
_LOW, _HIGH = -0.1, 1.1
# The first and last exponent of the regularizer, its warm-up, and its weight.
_FIRST_POWER, _LAST_POWER, _WARM_UP, _STRENGTH = 20.0, 2.0, 0.2, 0.2
_BATCH, _RATE = 256, 0.02
# Output positions that a layer learns from, and the fraction, from other inputs, for evaluating the result.
_PLACES, _JUDGING = 4096, 0.25
_BYTES = 2**26
_TINY = 1e-12


class Learning(NamedTuple):
    """How the rounding of kernels is learned.

    Args:
        updates: the number of Adam steps for each kernel.
        seed: the seed for the choice of output positions from which a layer learns.
    """

    updates: int = 500
    seed: int = 0

    def of(self, weighted: list, bits: int) -> "Learned":
        """The learner for the kernels of some layers, with this number of bits."""
        return Learned(self, [layer for layer in weighted if is_product(layer)], bits)


class Learned:
    """Learns kernels: records the layers' outputs in float, then learns their rounding in order.

    Only layers that are called once are learned; kernels of others are rounded to the nearest values.
    """

    def __init__(self, learning: Learning, candidates: list, bits: int) -> None:
        self._learning, self._bits, self._candidates = learning, bits, {id(each) for each in candidates}
        self._rng = np.random.default_rng(learning.seed)
        self._noted: dict[int, list] = {}
        self._layers: dict[int, Any] = {}
        self._made_by: dict[int, tuple[Any, Any]] = {}
        self._normalized: set[int] = set()

    def __iter__(self):
        return iter([layer for key, layer in self._layers.items() if len(self._noted[key]) == 1])

    def __contains__(self, layer: keras.Layer) -> bool:
        return len(self._noted.get(id(layer), ())) == 1

    def note(self, layer: Any, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls a layer of the float network, and records its outputs at some positions."""
        if id(layer) in self._candidates:
            outputs = linear(layer, *args, **kwargs)
            self._layers[id(layer)] = layer
            places = self._places(layer, outputs.shape)
            noted = self._noted.setdefault(id(layer), [])
            noted.append((places, outputs_at(layer, outputs, places)))
        elif type(layer) is layers.BatchNormalization and bias_of(layer) is not None:
            _, maker = self._made_by.get(id(args[0]), (None, None))
            self._normalized.add(id(maker))
        given = call(*args, **kwargs)
        if id(layer) in self._candidates:
            # Keep the tensor, so that no other gets its id.
            self._made_by[id(given)] = given, layer
        return given

    def learn(self, layer: Any, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Learns a layer's kernel from its inputs in the rounded network, then calls the layer."""
        ((places, targets),) = self._noted[id(layer)]
        outputs_shape = tuple(layer.compute_output_shape(args[0].shape))
        rows = rows_of(layer, args[0], outputs_shape, places)
        if layer.use_bias:
            targets = targets - layer.bias.numpy().reshape(len(targets), 1, -1)
        # Leave means to the bias, if there is one.
        if layer.use_bias or id(layer) in self._normalized:
            rows, targets = (each - each.mean(1, keepdims=True) for each in (rows, targets))
        examples = places // int(np.prod(outputs_shape[1:-1]))
        kernel = matrices_of(layer, layer.kernel.numpy().astype("float32"))
        step = matrices_of(
            layer, np.broadcast_to(steps_of(layer, "kernel", self._bits), layer.kernel.shape)
        )
        learned = self._learned(rows, targets, examples, kernel, step, largest(layer, "kernel", self._bits))
        layer.kernel.assign(kernel_of(layer, learned))
        return call(*args, **kwargs)

    def _places(self, layer, shape):
        """Random positions in a layer's outputs, sorted by example."""
        every = int(np.prod(shape[:-1]))
        most = max(_BATCH, min(_PLACES, _BYTES // (4 * int(np.prod(layer.kernel.shape[:-1])))))
        return np.sort(self._rng.choice(every, min(every, most), replace=False))

    def _learned(self, rows, targets, examples, kernel, step, ends):
        nearest = np.round(kernel / step)
        judging = examples > np.quantile(examples, 1 - _JUDGING)
        # With fewer positions than weights, learning would overfit.
        if (~judging).sum() < kernel.shape[1] or not judging.any():
            return nearest * step
        order = self._rng.permutation(np.flatnonzero(~judging))
        # Keep the largest values, since files derive the steps from them.
        fixed = np.abs(nearest) >= ends
        base = rows @ kernel - targets
        up = _which_up(
            rows[:, order],
            base[:, order],
            (step * (np.abs(kernel) > 0) * ~fixed).astype("float32"),
            (kernel / step - np.floor(kernel / step)).astype("float32"),
            self._learning.updates,
        )
        learned = np.where(fixed, nearest, np.floor(kernel / step) + up.numpy())
        errors = [
            np.mean((rows[:, judging] @ (step * each - kernel) + base[:, judging]) ** 2, 1, keepdims=True)
            for each in (learned, nearest)
        ]
        return np.where(errors[0] < errors[1], learned, nearest) * step


_MATRICES = tf.TensorSpec((None, None, None), tf.float32)


@tf.function(input_signature=[_MATRICES] * 4 + [tf.TensorSpec((), tf.int32)])
def _which_up(rows, base, step, fraction, updates):
    """Learns with Adam which weights to round up: 1 for up, 0 for down.

    Args:
        rows: a layer's input windows, `(groups, positions, inputs)`.
        base: the errors of its outputs without rounding, `(groups, positions, outputs)`.
        step: the step of each weight's grid, `(groups, inputs, outputs)`; 0 for weights that are fixed.
        fraction: how far each weight is above the next lower grid value, in steps, [0, 1).
        updates: the number of Adam steps.
    """
    n, places = tf.minimum(_BATCH, tf.shape(rows)[1]), tf.shape(rows)[1]
    to_nearest = rows @ (step * (tf.round(fraction) - fraction))
    unit = tf.maximum(tf.reduce_mean(to_nearest**2, 1, keepdims=True), _TINY)
    share = tf.clip_by_value((fraction - _LOW) / (_HIGH - _LOW), 0.01, 0.99)
    x = tf.math.log(share / (1 - share))
    first, second = tf.zeros_like(x), tf.zeros_like(x)
    for i in tf.range(updates):
        start = i * n % (places - n + 1)
        progress = tf.cast(i, tf.float32) / tf.cast(updates, tf.float32)
        left = 1 - tf.maximum(0.0, progress - _WARM_UP) / (1 - _WARM_UP)
        power = _LAST_POWER + (_FIRST_POWER - _LAST_POWER) * left
        with tf.GradientTape() as tape:
            tape.watch(x)
            up = tf.clip_by_value(tf.sigmoid(x) * (_HIGH - _LOW) + _LOW, 0.0, 1.0)
            off = base[:, start : start + n] + rows[:, start : start + n] @ (step * (up - fraction))
            undecided = tf.reduce_mean(1 - tf.abs(2 * up - 1) ** power, 1)
            loss = tf.reduce_sum(tf.reduce_mean(off**2 / unit, 1))
            loss += tf.where(progress < _WARM_UP, 0.0, _STRENGTH) * tf.reduce_sum(undecided)
        gradient: Any = tape.gradient(loss, x)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        count = tf.cast(i + 1, tf.float32)
        x -= _RATE * first / (1 - 0.9**count) / (tf.sqrt(second / (1 - 0.999**count)) + 1e-8)
    return tf.cast(x >= 0, tf.float32)
