"""Gathers examples from all replicas of `tf.distribute`, where a replica's own are not enough."""

from typing import Any

import tensorflow as tf


def in_replicas() -> bool:
    """Whether this code runs in each of several replicas."""
    several = tf.distribute.get_strategy().num_replicas_in_sync > 1
    return several and not tf.distribute.in_cross_replica_context()


def in_one_of_several_workers() -> bool:
    """Whether this code runs in a replica of a strategy with replicas in other processes."""
    strategy = tf.distribute.get_strategy()
    if tf.distribute.in_cross_replica_context():
        return False
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return several and strategy.num_replicas_in_sync > len(strategy.extended.worker_devices)


def from_all(strategy: tf.distribute.Strategy, value: int) -> list[int]:
    """Collects an integer from every replica's process, in the order of the replicas; waits for all.

    Args:
        strategy: the strategy in use; the default strategy also works.
        value: the value of this process, below 2**31.

    Example:
        >>> from_all(strategy, 3)  # [3, 3] in a process with two replicas and no others
    """

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return [value] * strategy.num_replicas_in_sync

    def own():
        context: Any = tf.distribute.get_replica_context()
        replica, count = context.replica_id_in_sync_group, context.num_replicas_in_sync
        return int(value) * tf.one_hot(replica, count, dtype="int32")

    once = tf.function(lambda: strategy.run(own), autograph=False)
    values: Any = strategy.reduce(tf.distribute.ReduceOp.SUM, once(), axis=None)
    return values.numpy().tolist()


def check_same_epoch(strategy: tf.distribute.Strategy, epoch: int) -> None:
    """Raises ValueError in all workers if they would resume from different epochs."""
    epochs = from_all(strategy, epoch)
    if len(set(epochs)) > 1:
        raise ValueError(
            f"The workers' checkpoints are of different epochs, {epochs} by replica, so they cannot resume "
            "together. Give each worker the folder that it had, or start the run again."
        )


def gathered(values: Any) -> Any:
    """Gathers the examples of all replicas, in the order in which the batch was split.

    Each replica gets all examples; the replicas' shares may differ in size or be empty. The gradient is
    summed over replicas: if each computes the same value from all examples and divides it by the number of
    replicas, the gradients add up to the gradient of one replica with the whole batch.

    Args:
        values: a structure of tensors `(examples, ...)`; None in it stays None.

    Returns:
        The same structure; `values` unchanged outside a step with several replicas.

    Example:
        >>> strategy.run(lambda: gathered(tf.ones((2, 3))))  # (4, 3) in each of two replicas
    """
    if not in_replicas():
        return values
    leaves = [None if leaf is None else tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(values)]
    ranges = iter(_ranges([leaf for leaf in leaves if leaf is not None]))
    whole = [None if leaf is None else _whole(leaf, *next(ranges)) for leaf in leaves]
    return tf.nest.pack_sequence_as(values, whole)


def mean_of_all(values: Any) -> Any:
    """The mean of the values of all replicas, a scalar; replicas exchange only their sums.

    Args:
        values: a float tensor of any shape.
    """
    if not in_replicas():
        return tf.reduce_mean(values)
    own = tf.stack([tf.reduce_sum(values), tf.cast(tf.size(values), values.dtype)])
    context = tf.distribute.get_replica_context()
    total, count = tf.unstack(context.all_reduce(tf.distribute.ReduceOp.SUM, own))
    return total / count


def own_rows(whole: Any, own: Any) -> Any:
    """This replica's rows of a value computed for the examples of all replicas.

    Args:
        whole: `(examples of all replicas, ...)`.
        own: any tensor `(examples of this replica, ...)`.

    Returns:
        A tensor `(examples of this replica, ...)`.

    Example:
        >>> own_rows(gathered(x), x)  # x
    """
    if not in_replicas():
        return whole
    [(start, stop, _)] = _ranges([own])
    return whole[start:stop]


def _ranges(leaves):
    """The start and end of each tensor's rows among the rows of all replicas, and their total number."""
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group
    own = tf.stack([tf.shape(leaf)[0] for leaf in leaves])
    mine = tf.one_hot(replica, context.num_replicas_in_sync, dtype="int32")
    counts = context.all_reduce(tf.distribute.ReduceOp.SUM, own[:, None] * mine)
    starts = tf.reduce_sum(counts[:, :replica], axis=1)
    return zip(
        tf.unstack(starts), tf.unstack(starts + own), tf.unstack(tf.reduce_sum(counts, axis=1)), strict=True
    )


def _whole(values, start, stop, count):
    """The rows of all replicas, as a sum of tensors with zeros in place of the other replicas' rows.

    `all_gather` would send less, but does not run eagerly.
    """
    # Booleans and short integers cannot be summed across replicas.
    sent = values if values.dtype.is_floating or values.dtype == tf.int64 else tf.cast(values, "int32")
    around = [[start, count - stop], *[[0, 0]] * (len(values.shape) - 1)]
    context = tf.distribute.get_replica_context()
    summed = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.pad(sent, around))
    return tf.ensure_shape(tf.cast(summed, values.dtype), (None, *values.shape[1:]))
