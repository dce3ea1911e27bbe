"""LeNet-5 and its half-width student, the pair used in the data-free papers."""

import keras
from keras import layers


def lenet5(input_shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10) -> keras.Model:
    """LeNet-5 with ReLU and max pooling: convolutions of 6, 16 and 120, then Dense 84.

    Args:
        input_shape: `(height, width, channels)`, sides of 28 or 32. Images of 28 pixels are padded
            to 32, as in the original.
        classes: number of logits.

    Returns:
        An untrained functional model from images in [0, 1] to logits; 61,706 parameters for MNIST.

    Raises:
        ValueError: for sides other than 28 and 32.

    Example:
        >>> student = tfkd.students.lenet5((28, 28, 1), classes=10)

    Reference:
        LeCun et al., "Gradient-based learning applied to document recognition", 1998, in the form of
        Chen et al., "Data-Free Learning of Student Networks", 2019.
    """
    return _lenet(input_shape, classes, (6, 16, 120, 84), "lenet5")


def lenet5_half(input_shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10) -> keras.Model:
    """LeNet-5 at half width: convolutions of 3, 8 and 60, then Dense 42.

    Args:
        input_shape: `(height, width, channels)`, sides of 28 or 32.
        classes: number of logits.

    Returns:
        An untrained functional model from images in [0, 1] to logits; 15,738 parameters for MNIST.

    Raises:
        ValueError: for sides other than 28 and 32.

    Example:
        >>> student = tfkd.students.lenet5_half()

    Reference:
        Chen et al., "Data-Free Learning of Student Networks", 2019.
    """
    return _lenet(input_shape, classes, (3, 8, 60, 42), "lenet5_half")


def _lenet(input_shape, classes, widths, name):
    if input_shape[0] != input_shape[1] or input_shape[0] not in (28, 32):
        raise ValueError(
            f"`input_shape` of {name} must have sides of 28 or 32. Received: {input_shape}. For "
            "other sizes use resnet, wide_resnet or a factor such as 0.5x of the teacher."
        )
    first, second, third, dense = widths
    x = inputs = keras.Input(input_shape, name="image")
    padding = "same" if input_shape[0] == 28 else "valid"
    x = layers.Conv2D(first, 5, padding=padding, activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = layers.Conv2D(second, 5, activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(2, name="pool2")(x)
    x = layers.Conv2D(third, 5, activation="relu", name="conv3")(x)
    x = layers.Flatten(name="features")(x)
    x = layers.Dense(dense, activation="relu", name="dense")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name=name)
