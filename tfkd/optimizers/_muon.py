"""Muon: kernels move by their orthogonalized momentum."""

import keras
from keras import ops

# Newton-Schulz coefficients that drive singular values towards 1 fastest (Jordan et al.).
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5
# Root-mean-square of an update before the learning rate, about that of Adam's (Liu et al.).
_UPDATE_SIZE = 0.2


def orthogonalized(matrix):
    """The nearest semi-orthogonal matrix, roughly: all singular values between 0.7 and 1.2.

    Args:
        matrix: float tensor `(rows, columns)`.

    Returns:
        A tensor of the same shape with about the same singular vectors.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.norm(x) + 1e-7)
    for _ in range(_STEPS):
        gram = ops.matmul(x, ops.transpose(x))
        x = _A * x + ops.matmul(_B * gram + _C * ops.matmul(gram, gram), x)
    return ops.transpose(x) if tall else x


@keras.saving.register_keras_serializable(package="tfkd")
class Muon(keras.optimizers.Adam):
    """Muon: kernels move by their orthogonalized momentum, biases and scales by Adam.

    A kernel of any rank is taken as the matrix from its inputs (kernel window and channels together)
    to its outputs; `keras.optimizers.Muon` leaves convolutions to Adam. Updates have the size of
    Adam's, so learning rates carry over, though larger ones are stable.

    Args:
        learning_rate: float or a Keras schedule.
        momentum: of the kernels' gradients, with Nesterov's look-ahead.
        name: name of the optimizer.
        **kwargs: those of `keras.optimizers.Adam`.

    Example:
        >>> distiller.compile(tfkd.optimizers.Muon(1.5e-2))

    Reference:
        Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; update size
        from Liu et al., "Muon is Scalable for LLM Training", 2025. Deviation: the last layer's kernel
        is treated like the others.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-2,
        momentum: float = 0.95,
        name: str = "muon",
        **kwargs,
    ) -> None:
        super().__init__(learning_rate, name=name, **kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be in [0, 1). Received: momentum={momentum!r}.")
        self.momentum = momentum

    def update_step(self, gradient, variable: keras.Variable, learning_rate) -> None:
        if len(variable.shape) < 2:
            super().update_step(gradient, variable, learning_rate)
            return
        learning_rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        velocity = self._momentums[self._get_variable_index(variable)]
        self.assign(velocity, self.momentum * velocity + gradient)
        matrix = ops.reshape(gradient + self.momentum * velocity, (-1, variable.shape[-1]))
        size = _UPDATE_SIZE * max(matrix.shape) ** 0.5
        update = ops.reshape(orthogonalized(matrix), variable.shape)
        self.assign_sub(variable, learning_rate * size * update)

    def get_config(self) -> dict:
        return {**super().get_config(), "momentum": self.momentum}
