"""Networks that losses look into, and the taps of each."""

from collections.abc import Callable

import keras
from keras import layers

from tests.conftest import CLASSES, SHAPE, small_network
from tests.losses.methods import METHODS, Taps

# Of `tests.conftest.small_network`, and of `attending_network`.
IMAGES = Taps(
    middle=("relu1", "relu1"),
    several=(["relu1", "conv2"],) * 2,
    before_relu=("norm1", "norm1"),
    last=("logits:input",) * 2,
    members=(["logits", "logits"], "logits"),
    ending=(["logits:input", "logits"],) * 2,
    attention=("attention", "attention"),
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


def attending_network(width: int = 8) -> keras.Model:
    """A transformer's block on nine patches of an image, and a classifier."""
    inputs = keras.Input(SHAPE, name="image")
    x = layers.Reshape((9, width))(layers.Conv2D(width, 4, strides=4)(inputs))
    attended = layers.MultiHeadAttention(2, width // 2, name="attention")(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, attended]))
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(layers.Flatten()(x)))


def networks_of_images(name: str, teacher: keras.Model) -> tuple[keras.Model, Callable[[int], keras.Model]]:
    """A teacher of images that a method can look into, the given one if it is, and what makes students."""
    if METHODS[name].at == "attention":
        return attending_network(), attending_network
    return teacher, small_network
