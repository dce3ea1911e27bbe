"""Arranges a transformer's tokens as the feature map of the patches that they represent."""

import math

from keras import ops

# At most a class token comes before the patch tokens. With more, grids that are not square would pass.
_MOST_IN_FRONT = 1


def map_shape(shape: tuple) -> tuple:
    """The shape of a feature map, computed from the shape of its tokens, `(batch, tokens, channels)`.

    A square number of tokens are patches, row by row; a class token before them is dropped.

    Raises:
        ValueError: if the number of tokens, with or without a class token, is not a square.
    """
    tokens = shape[1] if len(shape) == 3 else None
    side = math.isqrt(tokens or 0)
    if tokens is None or not side or tokens - side**2 > _MOST_IN_FRONT:
        raise ValueError(
            "A tap with ':map' must see (batch, tokens, channels): a square number of tokens, after at "
            f"most one class token. Received: shape {tuple(shape)}. For other feature maps, add a Reshape "
            "layer to the model and tap that."
        )
    return (shape[0], side, side, shape[2])


def as_map(tokens):
    """Tokens `(batch, tokens, channels)` as a map `(batch, side, side, channels)`; see `map_shape`.

    Raises:
        ValueError: as `map_shape` does.
    """
    shape = map_shape(tuple(tokens.shape))
    patches = math.prod(shape[1:3])
    return ops.reshape(tokens[:, -patches:], (ops.shape(tokens)[0], *shape[1:]))
