"""Functions that all training steps share."""

import warnings
from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf
from keras import ops, tree

from tfkd._core.keras_internals import flatten_layers
from tfkd.optimizers import DOT


def replicas() -> int:
    """The number of replicas that add up their gradients under `tf.distribute`."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def batch_size(outputs):
    """The number of examples in a model's outputs, an int32 scalar."""
    return ops.shape(tree.flatten(outputs)[0])[0]


def position_weights(sample_weight, outputs):
    """Sample weights in the form that Keras needs to weight each position of an output.

    Args:
        sample_weight: `(batch,)`, or another shape, which is returned unchanged; None for 1 each.
        outputs: the model's outputs; for `(batch, positions, ...)` the weights become `(batch, 1)`.

    Returns:
        The weights.
    """
    if sample_weight is None or tree.is_nested(sample_weight) or tree.is_nested(outputs):
        return sample_weight
    of_examples = len(sample_weight.shape) == 1 and len(outputs.shape) == 3
    return ops.expand_dims(sample_weight, -1) if of_examples else sample_weight


def regularization(losses: Iterable):
    """This replica's share of the sum of a model's own losses."""
    return sum(ops.sum(ops.cast(loss, "float32")) for loss in losses) / replicas()


def with_loss_scaling(
    optimizer: keras.optimizers.Optimizer | str, model: keras.Model
) -> keras.optimizers.Optimizer:
    """The optimizer, with loss scaling if the model that it trains computes in float16.

    Keras looks at the dtype policy of the model being fitted, which here is not the one being trained.
    """
    optimizer = keras.optimizers.get(optimizer)
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    # Functional models from a file do not have the dtype policy of their layers.
    half = any(layer.dtype_policy.name == "mixed_float16" for layer in flatten_layers(model))
    if scaled or not half:
        return optimizer
    if isinstance(optimizer, DOT):
        raise ValueError(
            f"`optimizer`: DOT does not support loss scaling, which {model.name!r} needs in float16. Use "
            "another optimizer, or build the network in mixed_bfloat16."
        )
    return keras.optimizers.LossScaleOptimizer(optimizer)


def apply_gradients(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence,
    variables: Sequence[keras.Variable],
    optional: Iterable[keras.Variable] = (),
) -> None:
    """Takes one optimizer step.

    Args:
        optimizer: the optimizer.
        gradients: one for each variable; None for variables that the step did not use.
        variables: the trained variables.
        optional: variables that may have no gradient and then stay unchanged; Keras warns about others.
    """
    if not optimizer.built:
        optimizer.build(variables)
    may_be_unused = {id(variable) for variable in optional}
    pairs = zip(gradients, variables, strict=True)
    pairs = [(g, v) for g, v in pairs if g is not None or id(v) not in may_be_unused]
    if pairs:
        optimizer.apply_gradients(pairs)
    else:
        warnings.warn("The distiller has nothing to train: no trainable variables.", stacklevel=2)
