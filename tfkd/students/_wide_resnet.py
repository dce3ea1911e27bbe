"""Wide ResNets (WRN-depth-width), teachers and students of most data-free papers."""

import keras
from keras import layers


def wide_resnet(
    depth: int,
    width: int,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    dropout: float = 0.0,
) -> keras.Model:
    """A pre-activation wide ResNet.

    Args:
        depth: 6n + 4, such as 10, 16, 28 or 40.
        width: factor on the 16, 32 and 64 channels of the stages, at least 1.
        input_shape: `(height, width, channels)`.
        classes: number of logits.
        dropout: rate between the convolutions of a block, in [0, 1).

    Returns:
        An untrained functional model from images in [0, 1] to logits.

    Raises:
        ValueError: if the depth is not 6n + 4, or the width is below 1.

    Example:
        >>> student = tfkd.students.wide_resnet(16, 1)

    Reference:
        Zagoruyko and Komodakis, "Wide Residual Networks", 2016.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"`depth` must be 6n + 4, such as 10, 16, 28 or 40. Received: depth={depth!r}.")
    if width < 1:
        raise ValueError(f"`width` must be at least 1. Received: width={width!r}.")
    x = inputs = keras.Input(input_shape, name="image")
    x = _conv(16, 3, 1, "stem")(x)
    for stage, channels in enumerate((16 * width, 32 * width, 64 * width), start=1):
        for block in range(1, (depth - 4) // 6 + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _block(x, channels, stride, dropout, f"stage{stage}_block{block}")
    x = _activate(x, "final")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    outputs = layers.Dense(classes, name="logits")(x)
    return keras.Model(inputs, outputs, name=f"wide_resnet{depth}_{width}")


def _block(x, channels, stride, dropout, name):
    shortcut = x
    x = _activate(x, f"{name}_pre1")
    if stride > 1 or shortcut.shape[-1] != channels:
        # The projection takes the activated input, as in the authors' code.
        shortcut = _conv(channels, 1, stride, f"{name}_shortcut")(x)
    x = _conv(channels, 3, stride, f"{name}_conv1")(x)
    x = _activate(x, f"{name}_pre2")
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    x = _conv(channels, 3, 1, f"{name}_conv2")(x)
    return layers.Add(name=f"{name}_add")([x, shortcut])


def _activate(x, name):
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _conv(channels, size, stride, name):
    return layers.Conv2D(
        channels,
        size,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )
