"""Muon: kernels move by their orthogonalized momentum."""

import math
from collections import defaultdict

import keras
from keras import ops

# Newton-Schulz coefficients that drive singular values towards 1 fastest (Jordan et al.).
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5
# Root mean square of an update before the learning rate, similar to Adam's (Liu et al.).
_UPDATE_SIZE = 0.2


def orthogonalized(matrix):
    """The nearest semi-orthogonal matrix, roughly: all singular values between 0.7 and 1.2.

    Args:
        matrix: float tensor `(rows, columns)`, or a stack of matrices `(..., rows, columns)`.

    Returns:
        A tensor of the same shape with about the same singular vectors.
    """
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = _transposed(matrix) if tall else matrix
    x = x / (ops.norm(x, axis=(-2, -1), keepdims=True) + 1e-7)
    for _ in range(_STEPS):
        gram = ops.matmul(x, _transposed(x))
        x = _A * x + ops.matmul(_B * gram + _C * ops.matmul(gram, gram), x)
    return _transposed(x) if tall else x


@keras.saving.register_keras_serializable(package="tfkd")
class Muon(keras.optimizers.Adam):
    """Muon: kernels move by their orthogonalized momentum, biases and scales by Adam.

    A kernel of any rank is treated as the matrix from its inputs (kernel window and channels together) to
    its outputs; `keras.optimizers.Muon` leaves convolutions to Adam. Updates have the size of Adam's, so
    learning rates carry over, although larger ones are stable.

    Args:
        learning_rate: float or a Keras schedule.
        momentum: momentum of the kernels' gradients, with Nesterov look-ahead.
        name: name of the optimizer.
        **kwargs: arguments of `keras.optimizers.Adam`.

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

    def _distributed_tf_update_step(self, distribution, grads_and_vars, learning_rate):
        """The step of Keras's TensorFlow optimizers in which all gradients are available together."""
        vectors, kernels = [], defaultdict(list)
        for gradient, variable in grads_and_vars:
            if len(variable.shape) < 2:
                vectors.append((gradient, variable))
            else:
                kernels[_tall_shape(variable), variable.dtype].append((gradient, variable))
        super()._distributed_tf_update_step(distribution, vectors, learning_rate)
        for alike in kernels.values():
            gradients, variables = zip(*alike, strict=True)
            # Called for each device with its copies.
            distribution.extended.update(
                variables[0],
                lambda _, *copies: self._update_kernels(*copies),
                args=(gradients, variables, learning_rate),
                group=False,
            )

    def _update_kernels(self, gradients, variables, learning_rate):
        """Updates kernels whose matrices have the same shape, transposed or not."""
        matrices = [
            _tall(self._look_ahead(gradient, variable))
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        size = _UPDATE_SIZE * max(matrices[0].shape) ** 0.5
        rate = size * ops.cast(learning_rate, variables[0].dtype)
        for variable, update in zip(variables, _orthogonalized_together(matrices), strict=True):
            update = update if _stands(variable) else _transposed(update)
            self.assign_sub(variable, rate * ops.reshape(update, variable.shape))

    def _look_ahead(self, gradient, variable):
        """Updates the momentum and returns the Nesterov look-ahead gradient as a matrix."""
        gradient = ops.cast(gradient, variable.dtype)
        velocity = self._momentums[self._get_variable_index(variable)]
        following = self.momentum * velocity + gradient
        self.assign(velocity, following)
        return ops.reshape(gradient + self.momentum * following, _matrix_shape(variable))

    def get_config(self) -> dict:
        return {**super().get_config(), "momentum": self.momentum}


def _orthogonalized_together(matrices):
    """Orthogonalizes several matrices of the same shape.

    They are stacked, since small products cost more to compile and launch than to compute; a single matrix
    is not stacked.
    """
    if len(matrices) == 1:
        return [orthogonalized(matrices[0])]
    return ops.unstack(orthogonalized(ops.stack(matrices)), len(matrices))


def _matrix_shape(kernel):
    return math.prod(kernel.shape[:-1]), kernel.shape[-1]


def _tall_shape(kernel):
    return tuple(sorted(_matrix_shape(kernel), reverse=True))


def _stands(kernel):
    rows, columns = _matrix_shape(kernel)
    return rows >= columns


def _tall(matrix):
    return matrix if matrix.shape[0] >= matrix.shape[1] else _transposed(matrix)


def _transposed(matrix):
    return ops.swapaxes(matrix, -2, -1)
