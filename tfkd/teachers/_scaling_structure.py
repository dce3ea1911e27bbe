"""Scalings from a network's structure: its own operations, and families known by name."""

from typing import NamedTuple

import keras
import numpy as np

from tfkd._core.keras_internals import flatten_layers
from tfkd._core.runtimes import TFLiteFile
from tfkd.teachers._by_name import OWN_PREPROCESSING
from tfkd.teachers._input_scaling import BYTES, CAFFE, IMAGENET, SYMMETRIC, UNIT, Scaling
from tfkd.teachers._preprocessing import expected_range

_OF_RANGE = {(0, 1): UNIT, (-1, 1): SYMMETRIC, (0, 255): BYTES}
# Maximum deviation of a file's integer range from a candidate's range, as a fraction of it.
_TOLERANCE = 0.05


class _Family(NamedTuple):
    """Networks of `keras.applications`, by the names of some of their layers."""

    name: str
    scaling: Scaling
    has: tuple[str, ...]


# The first that fits.
_FAMILIES = (
    _Family("MobileNet", SYMMETRIC, ("conv_dw_1", "conv_pw_1")),
    _Family("MobileNetV2", SYMMETRIC, ("Conv1", "bn_Conv1", "expanded_conv_depthwise")),
    _Family("MobileNetV3", SYMMETRIC, ("expanded_conv_depthwise", "expanded_conv_project", "conv_bn")),
    _Family("Xception", SYMMETRIC, ("block1_conv1", "block2_sepconv1")),
    _Family("InceptionV3", SYMMETRIC, ("mixed0", "mixed10")),
    _Family("InceptionResNetV2", SYMMETRIC, ("block35_1_mixed", "conv_7b")),
    _Family("NASNet", SYMMETRIC, ("stem_conv1", "stem_bn1")),
    _Family("ResNetV2", SYMMETRIC, ("conv1_conv", "conv2_block1_preact_bn")),
    _Family("ResNet", CAFFE, ("conv1_conv", "conv2_block1_1_conv", "conv2_block1_add")),
    _Family("DenseNet", IMAGENET, ("conv1_conv", "conv2_block1_concat")),
    _Family("VGG", CAFFE, ("block1_conv1", "block1_conv2", "block5_conv3")),
)


def scaling_of_structure(network: keras.Model | TFLiteFile) -> Scaling | None:
    """The scaling shown by a network's structure; None if there is none.

    Args:
        network: a raw network for images, or a black-box file.

    Returns:
        A sure `Scaling` for the network's own operations; an unsure one for a family of
        `keras.applications`, which may have been fine-tuned with another scaling.
    """
    if isinstance(network, TFLiteFile):
        return _of_integers(network)
    if not isinstance(network, keras.Model):
        return None
    names = {layer.name for layer in flatten_layers(network)}
    if OWN_PREPROCESSING in names:
        return UNIT.because("it was loaded by name, with its own preprocessing", sure=True)
    if (ends := expected_range(network)) is not None:
        evidence = "its own first operations expect it"
        return _OF_RANGE[ends].because(evidence, sure=True)
    for family in _FAMILIES:
        if names.issuperset(family.has):
            return family.scaling.because(f"its layers are those of {family.name}", sure=False)
    return None


def _of_integers(file):
    """The range that an integer file's inputs represent."""
    if (ends := file.integer_range) is None:
        return None
    for scaling in (UNIT, SYMMETRIC, BYTES, IMAGENET, CAFFE):
        expected = _ends(scaling)
        if np.allclose(ends, expected, rtol=0, atol=_TOLERANCE * (expected[1] - expected[0])):
            low, high = ends
            evidence = f"its integer inputs represent {low:.4g} to {high:.4g}"
            return scaling.because(evidence, sure=True)
    return None


def _ends(scaling):
    """The smallest and largest values of images under a scaling."""
    mean, std = np.asarray(scaling.mean), np.asarray(scaling.std)
    low, high = scaling.input_range
    return ((low - mean) / std).min(), ((high - mean) / std).max()
