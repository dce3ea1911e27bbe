"""Regression: outputs are numbers."""

import keras
import numpy as np
from keras import ops

from tfkd.losses import MeanSquaredError, mean_squared_error
from tfkd.tasks._task import Task, as_float32

# Two outputs that differ by this fraction of the teacher's spread agree by half.
_HALF = 0.1
# Minimum spread for measuring differences, as a fraction of the outputs' magnitude.
_LEAST_SPREAD = 1e-4


class Regression(Task):
    """Outputs are numbers `(outputs,)`.

    The agreement of two outputs is `1 / (1 + (d / 0.1)^2)`, where d is their root-mean-square difference in
    units of the standard deviation of the teacher's outputs in the batch: 1 for equal outputs, a half at a
    tenth of a standard deviation. The unit is at least a ten-thousandth of the outputs' magnitude, for
    batches with one example or equal outputs.

    Args:
        output_shape: `(outputs,)`, at least one.

    Raises:
        ValueError: for any other shape.

    Example:
        >>> teacher = tfkd.load_teacher("age.keras", task="regression")
    """

    outputs_are = "numbers"

    def check_output_shape(self) -> None:
        if len(self.output_shape) != 1 or not self.output_shape[0]:
            raise ValueError(
                "A regression network returns (batch, outputs), with a known number of outputs. Received: "
                f"output shape {(None, *self.output_shape)}."
            )

    def agreement(self, teacher, student):
        teacher, student = as_float32(teacher), as_float32(student)
        size = ops.sqrt(ops.mean(teacher**2, axis=0))
        unit = ops.maximum(ops.std(teacher, axis=0), _LEAST_SPREAD * size) + 1e-6
        distance = ops.mean(((teacher - student) / unit) ** 2, axis=-1)
        return 1.0 / (1.0 + distance / _HALF**2)

    def divergence(self, teacher, student):
        return mean_squared_error(teacher, student)

    def draw_targets(self, n: int, seed: keras.random.SeedGenerator, answers=None):
        """The teacher's outputs for other inputs of the batch."""
        if answers is None:
            raise ValueError(
                "`recipe` makes inputs for classes, but the teacher's outputs are numbers (task "
                "'regression'). Use a recipe without classes, such as Procedural."
            )
        return keras.random.shuffle(as_float32(answers), axis=0, seed=seed)

    def target_loss(self, targets, outputs):
        return mean_squared_error(targets, outputs)

    def soft_loss(self, temperature: float = 1.0) -> MeanSquaredError:
        """The loss on the teacher's numbers; the temperature has no effect."""
        return MeanSquaredError()

    def label_loss(self) -> keras.losses.Loss:
        return keras.losses.MeanSquaredError()

    def metric(self) -> keras.metrics.Metric:
        return keras.metrics.MeanAbsoluteError(name="mean_absolute_error")

    def check_labels(self, labels: np.ndarray, n: int, argument: str) -> np.ndarray:
        labels = np.asarray(labels, "float32")
        labels = labels[:, None] if labels.ndim == 1 and self.classes == 1 else labels
        if labels.shape != (n, self.classes) or not np.isfinite(labels).all():
            raise ValueError(
                f"{argument} must be finite numbers ({n}, {self.classes}). Received: shape {labels.shape}."
            )
        return labels

    def score(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Mean absolute error and, if labels vary, the fraction of their variance explained."""
        outputs, labels = np.asarray(outputs, "float64"), np.asarray(labels, "float64")
        scores = {"mean_absolute_error": float(np.abs(outputs - labels).mean())}
        spread = np.mean((labels - labels.mean(axis=0)) ** 2)
        if spread > 0:
            scores["r2"] = float(1 - np.mean((outputs - labels) ** 2) / spread)
        return scores

    def is_chance(self, outputs: np.ndarray, labels: np.ndarray) -> bool:
        return self.score(outputs, labels).get("r2", 1.0) <= 0

    def diagnose(self, outputs: np.ndarray) -> str | None:
        spread, size = outputs.std(axis=0), np.abs(outputs).mean(axis=0)
        if (spread <= _LEAST_SPREAD * size).all():
            return f"outputs about {outputs.mean():.4g} for everything: it hardly depends on its input"
        return None

    def agreement_text(self, share: str, examples: str = "examples") -> str:
        return f"agree to {share} (outputs that differ by a tenth of their spread agree to 50 %)"

    def captions(self, outputs: np.ndarray) -> list[str]:
        return [" ".join(f"{value:.3g}" for value in row[:2]) for row in outputs]

    def constant(self, outputs: np.ndarray) -> np.ndarray:
        return outputs.mean(axis=0)
