"""Whether a model of Keras 3 and one of tf_keras compute the same."""

from typing import Any

import keras
import numpy as np
from keras import tree

_TOLERANCE = 1e-5
# Where a size is open, this is enough for most networks.
_OPEN_SIZE = 32


def check_same_outputs(model: keras.Model, other: Any, made_in: str, rebuilt_in: str) -> None:
    """Refuses a rebuilt model that computes something else than the one it was made of.

    Args:
        model: the model of Keras 3, functional or Sequential.
        other: the model of tf_keras.
        made_in: the library of the model that was there, for the message.
        rebuilt_in: that of the rebuilt one.

    Raises:
        ValueError: if outputs on random inputs differ by more than 1e-5 of the largest.
    """
    rng = np.random.default_rng(0)

    def example(tensor):
        shape = [4, *(size or _OPEN_SIZE for size in tensor.shape[1:])]
        return rng.uniform(size=shape).astype(tensor.dtype)

    inputs = tree.map_structure(example, getattr(model, "_functional", model)._inputs_struct)
    outputs = [tree.flatten(each(inputs, training=False)) for each in (model, other)]
    for one, two in zip(*outputs, strict=True):
        one, two = np.asarray(one, "float32"), np.asarray(two, "float32")
        difference = np.abs(one - two).max()
        # NaN compares as false, so that a difference of NaN is refused, too.
        if not difference <= _TOLERANCE * max(1.0, np.abs(one).max()):
            raise ValueError(
                f"{model.name!r}, built again in {rebuilt_in}, computes something else than in {made_in}: "
                f"outputs on random inputs differ by up to {difference:.2g}."
            )
