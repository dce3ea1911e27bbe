"""The small ResNets of the CIFAR papers: depth 6n + 2, three stages of 16, 32 and 64 channels."""

import keras
from keras import layers


def resnet(
    depth: int,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    widths: tuple[int, int, int] = (16, 32, 64),
) -> keras.Model:
    """A CIFAR ResNet with identity or projected shortcuts.

    Args:
        depth: 6n + 2, such as 8, 20, 32, 56 or 110.
        input_shape: `(height, width, channels)`.
        classes: number of logits.
        widths: channels of the three stages; the first convolution has as many as the first stage.

    Returns:
        An untrained functional model from images in [0, 1] to logits.

    Raises:
        ValueError: if the depth is not 6n + 2.

    Example:
        >>> student = tfkd.students.resnet(20, (32, 32, 3), classes=10)

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", 2016, section 4.2; shortcuts that
        change width are 1x1 convolutions (option B), as in the distillation papers.
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"`depth` must be 6n + 2, such as 8, 14, 20, 32 or 56. Received: depth={depth!r}.")
    x = inputs = keras.Input(input_shape, name="image")
    x = _normalized_conv(x, widths[0], 3, 1, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage, width in enumerate(widths, start=1):
        for block in range(1, (depth - 2) // 6 + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _block(x, width, stride, f"stage{stage}_block{block}")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name=f"resnet{depth}")


def _block(x, width, stride, name):
    shortcut = x
    if stride > 1 or x.shape[-1] != width:
        shortcut = _normalized_conv(x, width, 1, stride, f"{name}_shortcut")
    x = _normalized_conv(x, width, 3, stride, f"{name}_conv1")
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = _normalized_conv(x, width, 3, 1, f"{name}_conv2")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu2")(x)


def _normalized_conv(x, width, size, stride, name):
    x = layers.Conv2D(width, size, stride, padding="same", use_bias=False, name=name)(x)
    # PyTorch's settings (momentum 0.1 there), used for the published figures.
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
