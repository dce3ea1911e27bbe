"""Tokens of a transformer as the map whose patches they stand for."""

import math

from keras import ops

# Tokens in front of those of patches: that of the class. More would let other grids pass for squares.
_MOST_IN_FRONT = 1


def map_shape(shape: tuple) -> tuple:
    """The shape of a map from that of its tokens, `(batch, tokens, channels)`.

    A square number of tokens stands for patches, row by row; one in front of them, that of the class, is
    left out.

    Raises:
        ValueError: if the shape is not that of so many tokens.
    """
    tokens = shape[1] if len(shape) == 3 else None
    side = math.isqrt(tokens or 0)
    if tokens is None or not side or tokens - side**2 > _MOST_IN_FRONT:
        raise ValueError(
            "A tap with ':map' must see (batch, tokens, channels), a square number of tokens with at most "
            f"one in front of them. Received: shape {tuple(shape)}. For other maps put a Reshape layer "
            "into the model and tap that."
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
