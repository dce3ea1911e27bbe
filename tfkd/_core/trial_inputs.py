"""Random inputs that two forms of one network are compared on."""

from typing import Any

import keras
import numpy as np

from tfkd._core.graphs import nodes
from tfkd._core.keras_internals import flatten_layers

_EXAMPLES = 4
# Where a size is open, this is enough for most networks; sentences have so many tokens.
_OPEN_SIZE, _OPEN_LENGTH = 32, 8


def trial_inputs(model: keras.Model) -> Any:
    """Some random inputs of a functional or built Sequential model, in the structure that it takes.

    Whole numbers are those that the embeddings know that take them, else 0 and 1, the first of each
    example the largest, so that something counts in each mask. Steps of series of floats are 0 now and
    then, so that layers which mask them see some.

    Args:
        model: takes the inputs.
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
            # A sequence that is masked as a whole has no mean.
            values[:, :1] = known - 1
            return values.astype(tensor.dtype)
        values = rng.uniform(size=shape)
        if len(shape) > 2:
            values[2:, 1:] *= rng.uniform(size=values[2:, 1:, ..., :1].shape) < 0.7
        return values.astype(tensor.dtype)

    return keras.tree.map_structure(example, getattr(model, "_functional", model)._inputs_struct)
