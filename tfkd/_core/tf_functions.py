"""TensorFlow functions in the graphs of tf_keras models, and their counterparts in Keras 3."""

import dataclasses

import keras

from tfkd._core.keras_internals import core_operations, network_operations, numpy_operations

SLICING = "__operators__.getitem"
CAST = "cast"


@dataclasses.dataclass(frozen=True)
class Counterpart:
    """The Keras 3 operation that computes the same.

    Attributes:
        operation: its class.
        second: the name of the second operand in the older model; None if there is none.
    """

    operation: type[keras.Operation]
    second: str | None = None


# By the name of the function in tf_keras, as in `tf.math.add`.
OPERATION_OF = {
    SLICING: Counterpart(numpy_operations.GetItem, "slice_spec"),
    CAST: Counterpart(core_operations.Cast, "dtype"),
    "nn.bias_add": Counterpart(numpy_operations.Add, "bias"),
    "__operators__.add": Counterpart(numpy_operations.Add, "y"),
    "math.add": Counterpart(numpy_operations.Add, "y"),
    "math.subtract": Counterpart(numpy_operations.Subtract, "y"),
    "math.multiply": Counterpart(numpy_operations.Multiply, "y"),
    "math.divide": Counterpart(numpy_operations.TrueDivide, "y"),
    "math.truediv": Counterpart(numpy_operations.TrueDivide, "y"),
    "math.pow": Counterpart(numpy_operations.Power, "y"),
    "math.maximum": Counterpart(numpy_operations.Maximum, "y"),
    "math.minimum": Counterpart(numpy_operations.Minimum, "y"),
    "math.negative": Counterpart(numpy_operations.Negative),
    "math.abs": Counterpart(numpy_operations.Absolute),
    "math.sqrt": Counterpart(numpy_operations.Sqrt),
    "math.square": Counterpart(numpy_operations.Square),
    "math.exp": Counterpart(numpy_operations.Exp),
    "math.log": Counterpart(numpy_operations.Log),
    "math.tanh": Counterpart(numpy_operations.Tanh),
    "math.sigmoid": Counterpart(network_operations.Sigmoid),
    "nn.relu": Counterpart(network_operations.Relu),
    "nn.relu6": Counterpart(network_operations.Relu6),
}

# Functions used to rebuild Keras 3 models in tf_keras, which older models do not have themselves.
REBUILT_BY = frozenset(
    [
        "expand_dims",
        "math.cumsum",
        "math.reduce_mean",
        "math.reduce_sum",
        "nn.gelu",
        "ones_like",
        "zeros_like",
    ]
)
