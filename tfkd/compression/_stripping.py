"""Removes tfmot's wrappers from students."""

import warnings
from typing import Any

import keras
import numpy as np

from tfkd import taps
from tfkd.compression._bridged import BridgedModel
from tfkd.compression._pruning_schedule import TOLERATED, final_sparsity
from tfkd.compression._splitting import part_names


class PruningWarning(UserWarning):
    """Warns of a pruned student that is less sparse than requested."""


def strip(student: BridgedModel) -> keras.Model:
    """The plain Keras 3 model inside a pruned, clustered or quantization-aware student.

    Args:
        student: a student from `prune`, `cluster` or `quantize_aware`.

    Returns:
        A model like the student's original, with its current weights: pruned weights are 0, clustered ones
        have few values, and quantization-aware ones are the float weights before rounding to 8 bits.

    Warns:
        PruningWarning: if training ended before the requested sparsity was reached.

    Raises:
        TypeError: if `student` is not a bridged model.
        ValueError: if its original model is not known or does not match its weights.

    Example:
        >>> model = tfkd.compression.strip(student)
    """
    plain = plain_model(student)
    _warn_of_low_sparsity(student.get_layer("bridge").inner_layers())
    return plain


def plain_model(student: BridgedModel) -> keras.Model:
    """Like `strip`, but without warnings, for use during training.

    Raises:
        TypeError: as for `strip`.
        ValueError: as for `strip`.
    """
    if not isinstance(student, BridgedModel):
        raise TypeError(
            "`student` must be a model from prune, cluster or quantize_aware. Received: "
            f"{type(student).__name__}, which has nothing to strip."
        )
    plain = student.plain()
    if plain is None:
        raise ValueError(
            f"`student`: the original Keras 3 model of {student.name!r} is not known. Make the student "
            "with tfkd.compression.prune, cluster or quantize_aware, or use "
            "BridgedModel(inner, plain=model)."
        )
    wrapped = student.get_layer("bridge").inner_layers()
    missing = {id(weight): weight.path for weight in plain.weights}
    for path, layer in taps.named_layers(plain).items():
        # Of nested models and other layers with inner layers, only the parts or only the whole exist.
        if layer.weights and path in wrapped:
            parts = [wrapped[name] for name in part_names(layer, path) if name in wrapped]
            weights = [weight for part in parts for weight in current_weights(part)]
            # As separate layers, the projections of attention have matrices as kernels.
            layer.set_weights([w.reshape(own.shape) for w, own in zip(weights, layer.weights, strict=True)])
            for weight in layer.weights:
                missing.pop(id(weight), None)
    if missing:
        raise ValueError(
            f"`student`: {student.name!r} has no layers with the weights {sorted(missing.values())} of its "
            "original model. Make it again with prune, cluster or quantize_aware."
        )
    plain.name = student.name
    return plain


def _warn_of_low_sparsity(wrapped):
    """Warns if training ended before pruning did."""
    pruned = [layer for layer in wrapped.values() if hasattr(layer, "pruning_vars")]
    masks = [(mask.numpy(), layer) for layer in pruned for _, mask, _ in layer.pruning_vars]
    asked = [
        (final_sparsity(layer.pruning_schedule), mask) for mask, layer in masks if not layer.sparsity_m_by_n
    ]
    asked = [(share, mask) for share, mask in asked if share is not None]
    weights = sum(mask.size for _, mask in asked)
    if not weights:
        return
    wanted = sum(share * mask.size for share, mask in asked) / weights
    reached = sum(mask.size - np.count_nonzero(mask) for _, mask in asked) / weights
    if reached < wanted - TOLERATED:
        updates = max(int(layer.pruning_step.numpy()) for layer in pruned)
        warnings.warn(
            f"Sparsity is {reached:.1%}, below the {wanted:.1%} asked for: training ended after "
            f"{max(updates, 0)} updates, before the pruning schedule. Train longer, or make the student "
            "with prune(..., schedule=None), which follows the length of `fit`.",
            PruningWarning,
            stacklevel=3,
        )


def current_weights(layer: Any) -> list[np.ndarray]:
    """The weights that a tf_keras layer, wrapped or not, computes with, in Keras's order.

    Args:
        layer: a built layer.
    """
    if hasattr(layer, "pruning_vars"):
        masks = {id(weight): mask for weight, mask, _ in layer.pruning_vars}
        arrays = ((np.asarray(w), masks.get(id(w))) for w in layer.layer.weights)
        return [array if mask is None else array * np.asarray(mask) for array, mask in arrays]
    if hasattr(layer, "cluster_centroids"):
        return _clustered(layer)
    if hasattr(layer, "quantize_config"):
        # tfmot replaces kernels by tensors; kernels come first in every layer that it quantizes.
        kernels = [weight for weight, _, _ in layer._weight_vars]
        rest = [w for w in layer.layer.weights if all(w is not kernel for kernel in kernels)]
        return [weight.numpy() for weight in kernels + rest]
    return layer.get_weights()


def _clustered(layer):
    """The weights of a clustered layer, in which tfmot has replaced kernels by tensors."""
    layer.update_clustered_weights_associations()
    replaced = layer.original_clusterable_weights.values()
    weights = [w.numpy() for w in layer.layer.weights if all(w is not original for original in replaced)]
    for position, name in sorted(layer.position_original_weights.items()):
        weights.insert(position, np.asarray(layer.get_weight_from_layer(name)))
    return weights
