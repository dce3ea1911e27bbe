"""Work that each replica of `tf.distribute` does on its own: random numbers, and optimizing images."""

from collections.abc import Sequence

import keras
import tensorflow as tf


class ReplicaSeeds(keras.random.SeedGenerator):
    """A seed generator whose numbers differ between replicas, while its state is the same on all."""

    def next(self, ordered: bool = True):
        state = super().next(ordered)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return state
        return tf.random.fold_in(state, tf.cast(context.replica_id_in_sync_group, state.dtype))


def apply_here(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence, variables: Sequence[keras.Variable]
) -> None:
    """One step of a built optimizer; under a strategy on this replica's copies, with its own gradients.

    Each replica makes its own images. Besides, replicas cannot synchronize inside a loop.
    """
    if not tf.distribute.has_strategy():
        optimizer.apply(gradients, variables)
        return
    rate = optimizer.learning_rate
    for gradient, variable in zip(gradients, variables, strict=True):
        optimizer.update_step(gradient, variable, rate)
    assign_here(optimizer.iterations, optimizer.iterations + 1)


def assign_here(variable: keras.Variable, value) -> None:
    """Assigns to this replica's copy only, even for a variable that Keras keeps equal on all replicas."""
    if not tf.distribute.has_strategy():
        variable.assign(value)
        return
    tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=tf.cast(value, variable.dtype))
