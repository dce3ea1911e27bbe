"""Networks that losses look into, and the taps of each."""

import keras
from keras import layers

from tests.losses.methods import Taps

# Of `tests.conftest.small_network`.
IMAGES = Taps(
    middle=("relu1", "relu1"),
    several=(["relu1", "conv2"],) * 2,
    before_relu=("norm1", "norm1"),
    last=("logits:input",) * 2,
    members=(["logits", "logits"], "logits"),
    ending=(["logits:input", "logits"],) * 2,
)
SEQUENCES = Taps(
    middle=("hidden", "hidden"),
    several=(["hidden", "relu"],) * 2,
    before_relu=("norm", "norm"),
    last=("relu", "relu"),
    members=(["logits", "logits"], "logits"),
)


def sequence_network(width: int = 5) -> keras.Model:
    """Series `(batch, steps, 2)`, whose steps of zeros are padding, to logits for each step."""
    inputs = keras.Input((None, 2))
    x = layers.Masking()(inputs)
    # Far from 0, so that what stands at padding would show.
    x = layers.Dense(width, bias_initializer=keras.initializers.Constant(3.0), name="hidden")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x))
