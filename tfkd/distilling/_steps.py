"""What training steps have in common, whoever teaches whom."""

import warnings
from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf
from keras import ops, tree

from tfkd._core.keras_internals import flatten_layers
from tfkd.optimizers import DOT


def replicas() -> int:
    """How many replicas of the step add up their gradients under `tf.distribute`."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def batch_size(outputs):
    """How many examples a model's outputs are of, an int32 scalar."""
    return ops.shape(tree.flatten(outputs)[0])[0]


def position_weights(sample_weight, outputs):
    """Weights of examples in the form in which Keras weighs each position of an output by them.

    Args:
        sample_weight: `(batch,)`, or of another shape, which stays as it is; None for 1 each.
        outputs: of the model; weights of `(batch, positions, ...)` become `(batch, 1)`.

    Returns:
        The weights.
    """
    if sample_weight is None or tree.is_nested(sample_weight) or tree.is_nested(outputs):
        return sample_weight
    of_examples = len(sample_weight.shape) == 1 and len(outputs.shape) == 3
    return ops.expand_dims(sample_weight, -1) if of_examples else sample_weight


def regularization(losses: Iterable):
    """The sum of a model's own losses, this replica's share of it."""
    return sum(ops.sum(ops.cast(loss, "float32")) for loss in losses) / replicas()


def with_loss_scaling(
    optimizer: keras.optimizers.Optimizer | str, model: keras.Model
) -> keras.optimizers.Optimizer:
    """The optimizer, scaling its loss if the model it trains computes in float16.

    Keras goes by the policy of the model that is fitted, which here is not the one that is trained.
    """
    optimizer = keras.optimizers.get(optimizer)
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    # Functional models of a file do not know the policy their layers have.
    half = any(layer.dtype_policy.name == "mixed_float16" for layer in flatten_layers(model))
    if scaled or not half:
        return optimizer
    if isinstance(optimizer, DOT):
        raise ValueError(
            f"`optimizer`: DOT does not scale losses, which the float16 of {model.name!r} needs. Use "
            "another optimizer, or build the network in mixed_bfloat16."
        )
    return keras.optimizers.LossScaleOptimizer(optimizer)


def apply_gradients(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence,
    variables: Sequence[keras.Variable],
    optional: Iterable[keras.Variable] = (),
) -> None:
    """One step of an optimizer.

    Args:
        optimizer: the optimizer.
        gradients: one for each variable; None where the step did not use it.
        variables: what is trained.
        optional: variables that stay as they are where the gradient is None; for others Keras warns.
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
