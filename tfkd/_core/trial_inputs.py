"""Random inputs on which two forms of one network are compared."""

from typing import Any

import keras
import numpy as np

from tfkd._core.graphs import nodes
from tfkd._core.keras_internals import flatten_layers

_EXAMPLES = 4
# Used for unknown sizes, enough for most networks; the second is for tokens of a sentence.
_OPEN_SIZE, _OPEN_LENGTH = 32, 8


def trial_inputs(model: keras.Model) -> Any:
    """A few random inputs for a functional or built Sequential model, in the structure that it takes.

    Integers are in the range of the embeddings that take them, otherwise 0 and 1. The first of each example
    is the largest, so that no example is masked completely. Some time steps of float series are 0, so that
    masking layers have an effect.

    Args:
        model: the model that will take the inputs.
    """
    rng = np.random.default_rng(0)
    words = {
        id(tensor): node.operation.input_dim
        for node in nodes(model)
        if isinstance(node.operation, keras.layers.Embedding)
        for tensor in node.input_tensors
    }
    tables = [each for each in flatten_layers(model) if isinstance(each, keras.layers.Embedding)]
    fewest = min([2, *(table.input_dim for table in tables)])

    def example(tensor):
        of_floats = keras.backend.is_float_dtype(tensor.dtype)
        open_size = _OPEN_SIZE if of_floats else _OPEN_LENGTH
        shape = (_EXAMPLES, *(size or open_size for size in tensor.shape[1:]))
        if not of_floats:
            known = words.get(id(tensor), fewest)
            values = rng.integers(known, size=shape)
            # A sequence that is masked completely has no mean.
            values[:, :1] = known - 1
            return values.astype(tensor.dtype)
        values = rng.uniform(size=shape)
        if len(shape) > 2:
            values[2:, 1:] *= rng.uniform(size=values[2:, 1:, ..., :1].shape) < 0.7
        return values.astype(tensor.dtype)

    return keras.tree.map_structure(example, getattr(model, "_functional", model)._inputs_struct)
