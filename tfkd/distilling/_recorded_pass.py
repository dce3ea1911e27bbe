"""ForwardResult: what one ordinary pass of a model gives, with its taps and the masks of tokens."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops, tree

from tfkd import taps
from tfkd._core.keras_internals import mask_of, with_mask
from tfkd._core.named_inputs import taken_by
from tfkd.distilling._token_masks import token_masks


class ForwardResult(NamedTuple):
    """What one forward pass gave.

    Args:
        output: of the model.
        features: what the taps saw, by name.
    """

    output: Any
    features: dict

    def fixed(self) -> "ForwardResult":
        """The same values, held fixed: no gradient flows back through them."""
        return ForwardResult(
            tree.map_structure(_fixed, self.output),
            {tap: tree.map_structure(_fixed, values) for tap, values in self.features.items()},
        )


def _fixed(value):
    return with_mask(ops.stop_gradient(value), mask_of(value))


def recorded_pass(model: keras.Model, tapped: Sequence[str], inputs: Any, training: bool) -> ForwardResult:
    """Runs a model once, with its taps.

    Args:
        model: the model.
        tapped: taps of layers.
        inputs: of the model; of named inputs it takes those that it knows.
        training: whether to run in training mode.

    Returns:
        The output and what the taps saw, with the masks of tokens that are known on all that has tokens.
    """
    with taps.record(model, tapped) as seen, token_masks(model, inputs) as masks:
        output = model(taken_by(model, inputs), training=training)
    for tap in tapped:
        if tap in seen:
            seen[tap] = masks.handed_to(seen[tap])
    return ForwardResult(masks.handed_to(output), seen)
