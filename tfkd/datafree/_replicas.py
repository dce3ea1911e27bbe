"""What each replica of `tf.distribute` does for itself: random numbers, and images made step by step."""

from collections.abc import Sequence

import keras
import tensorflow as tf


class ReplicaSeeds(keras.random.SeedGenerator):
    """A seed generator whose numbers differ from replica to replica; its states stay alike."""

    def next(self, ordered: bool = True):
        state = super().next(ordered)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return state
        return tf.random.fold_in(state, tf.cast(context.replica_id_in_sync_group, state.dtype))


def apply_here(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence, variables: Sequence[keras.Variable]
) -> None:
    """One step of a built optimizer; under a strategy on this replica's copies, by its own gradients.

    Batches of images are made by each replica for itself. In a loop, moreover, replicas cannot meet.
    """
    if not tf.distribute.has_strategy():
        optimizer.apply(gradients, variables)
        return
    rate = optimizer.learning_rate
    for gradient, variable in zip(gradients, variables, strict=True):
        optimizer.update_step(gradient, variable, rate)
    assign_here(optimizer.iterations, optimizer.iterations + 1)


def assign_here(variable: keras.Variable, value) -> None:
    """Assigns to this replica's copy alone, also of a variable that Keras keeps alike on all of them."""
    if not tf.distribute.has_strategy():
        variable.assign(value)
        return
    tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=tf.cast(value, variable.dtype))
