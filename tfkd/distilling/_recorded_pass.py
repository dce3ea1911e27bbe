"""ForwardResult: the results of one forward pass of a model, with its taps and token masks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops, tree

from tfkd import taps
from tfkd._core.keras_internals import mask_of, with_mask
from tfkd._core.named_inputs import taken_by
from tfkd.distilling._token_masks import token_masks


class ForwardResult(NamedTuple):
    """The results of one forward pass.

    Args:
        output: the model's output.
        features: the tapped features, by name.
    """

    output: Any
    features: dict

    def fixed(self) -> "ForwardResult":
        """The same values with gradients stopped."""
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
        inputs: the model's inputs; from named inputs it takes those that it needs.
        training: whether to run in training mode.

    Returns:
        The output and the tapped features, with known token masks attached to all values that have tokens.
    """
    with taps.record(model, tapped) as seen, token_masks(model, inputs) as masks:
        output = model(taken_by(model, inputs), training=training)
    for tap in tapped:
        if tap in seen:
            seen[tap] = masks.handed_to(seen[tap])
    return ForwardResult(masks.handed_to(output), seen)
