"""A teacher that only answers: a Python function from images to classes."""

import threading
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from generators import image_shape, probe_images
from tfkd._core.runtimes import SavedModelFolder, TFLiteFile

_SMALLEST = 1e-7
_TOLERANCE = 1e-2


class BlackBoxTeacher(keras.Model):
    """A teacher of which only the answers can be had, such as a service or a file for another runtime.

    It gives answers, but no gradients and no inner layers, so it suits losses and recipes that look at
    the teacher's outputs alone. It works inside `tf.function`, not under XLA.

    Probabilities p become the logits log p - mean_k log p, which a softmax turns back into p.

    Args:
        function: from float32 NumPy images `(n, height, width, channels)` in [0, 1] to an array
            `(n, classes)` of probabilities or logits. Never called twice at the same time.
        input_shape: `(height, width, channels)`.
        classes: how many classes it knows, at least 2.
        from_logits: whether `function` returns logits instead of probabilities.
        name: name of the model.

    Attributes:
        queries: how many images it has been asked so far.

    Raises:
        TypeError: if `function` cannot be called.
        ValueError: if `input_shape` or `classes` are no such numbers, and on use if an answer has
            another shape, is not finite, or its rows are no probabilities.

    Example:
        >>> teacher = tfkd.BlackBoxTeacher(ask_service, input_shape=(32, 32, 3), classes=10)
        >>> distiller = tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets(temperature=4))

    Reference:
        Truong, Maini, Walls, Papernot, "Data-Free Model Extraction", 2021, section 4.3, for logits from
        probabilities. Here probabilities are clipped at 1e-7 first.
    """

    black_box = True

    def __init__(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        input_shape: tuple[int, int, int],
        classes: int,
        from_logits: bool = False,
        name: str = "black_box",
    ) -> None:
        super().__init__(name=name, trainable=False)
        if not callable(function):
            raise TypeError(
                "`function` must be callable, from images (n, height, width, channels) to (n, classes). "
                f"Received: {function!r} of type {type(function)}."
            )
        if len(input_shape) != 3 or not all(_is_count(size) for size in input_shape):
            raise ValueError(
                "`input_shape` must be (height, width, channels), three whole numbers above 0. "
                f"Received: {input_shape!r}."
            )
        if not _is_count(classes) or classes < 2:
            raise ValueError(f"`classes` must be a whole number of at least 2. Received: {classes!r}.")
        self.function, self.classes, self.from_logits = function, classes, from_logits
        self.queries = 0
        self._image_shape = tuple(input_shape)
        self._one_at_a_time = threading.Lock()
        self.supports_jit = False
        self.built = True

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        return (None, *self._image_shape)

    @property
    def output_shape(self) -> tuple[int | None, int]:
        return (None, self.classes)

    def call(self, inputs, training=None):
        images = ops.cast(inputs, "float32")
        logits = tf.numpy_function(self._ask, [images], tf.float32)
        logits.set_shape((images.shape[0], self.classes))
        return logits

    def _ask(self, images):
        with self._one_at_a_time:
            self.queries += len(images)
            answers = np.asarray(self.function(images))
        self._check(answers, len(images))
        answers = answers.astype("float32")
        if self.from_logits:
            return answers
        log_p = np.log(np.clip(answers, _SMALLEST, 1.0))
        return log_p - log_p.mean(axis=-1, keepdims=True)

    def _check(self, answers, n):
        expected = (n, self.classes)
        if answers.shape != expected or not np.issubdtype(answers.dtype, np.number):
            raise ValueError(
                f"`function` of {self.name!r} must return numbers of shape {expected} for {n} images. "
                f"Received: shape {answers.shape}, dtype {answers.dtype}."
            )
        if not np.isfinite(answers).all():
            raise ValueError(f"`function` of {self.name!r} returned NaN or infinite values.")
        if not self.from_logits and not are_probabilities(answers):
            raise ValueError(
                f"`function` of {self.name!r} must return probabilities, rows from 0 to 1 that sum to 1. "
                f"Received: values from {answers.min():.4g} to {answers.max():.4g}, sums from "
                f"{answers.sum(-1).min():.4g} to {answers.sum(-1).max():.4g}. If they are logits, pass "
                "from_logits=True."
            )


def are_probabilities(rows: np.ndarray, tolerance: float = _TOLERANCE) -> bool:
    """Whether rows `(n, classes)` lie in [0, 1] and each sums to 1, but for a tolerance."""
    inside = rows.min() >= -tolerance and rows.max() <= 1 + tolerance
    return bool(inside and (np.abs(rows.sum(axis=-1) - 1) <= tolerance).all())


def from_file(
    file: TFLiteFile | SavedModelFolder,
    place: int,
    scale: np.ndarray,
    offset: np.ndarray,
    from_logits: bool | None,
    name: str,
) -> BlackBoxTeacher:
    """A teacher that runs a file.

    Args:
        file: from images, on its own scale, to outputs.
        place: which of the outputs holds the classes.
        scale: what images in [0, 1] are multiplied by first.
        offset: what is then added.
        from_logits: whether that output holds logits; None to ask it about synthetic images.
        name: name of the teacher.

    Returns:
        The teacher.

    Raises:
        ValueError: if there is one class and `from_logits` does not say what it holds.
    """
    (classes,) = list(file.output_shapes.values())[place][1:]
    step = file.steps[place]

    def answers(images):
        images = (images * scale + offset).astype("float32")
        return file(images.reshape(-1, *file.input_shape[1:]))[place]

    def probabilities(images):
        # An integer file rounds what is below half a step to 0; a quarter is the middle of that.
        p = np.maximum(answers(images), step / 4)
        p = np.concatenate([1 - p, p], axis=-1) if classes == 1 else p
        return p / p.sum(axis=-1, keepdims=True) if step else p

    def logits(images):
        z = answers(images)
        return np.concatenate([0 * z, z], axis=-1) if classes == 1 else z

    shape = image_shape(file.input_shape[1:])
    if from_logits is None:
        if classes == 1:
            raise ValueError(
                f"The teacher {name!r} has one output, which may be a regression's; tfkd distils "
                "classifiers. For a binary one pass from_logits=True if it is a logit, from_logits=False "
                "if it is a probability."
            )
        rounding = classes * step / 2
        probes = probe_images(file).reshape(-1, *shape)
        from_logits = not are_probabilities(answers(probes), _TOLERANCE + rounding)
    return BlackBoxTeacher(
        logits if from_logits else probabilities, shape, max(classes, 2), from_logits, name
    )


def _is_count(value):
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and value > 0
