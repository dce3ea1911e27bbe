"""The examples of all replicas under `tf.distribute`, where a replica's own are not enough."""

from typing import Any

import tensorflow as tf


def in_replicas() -> bool:
    """Whether this runs once for each of several replicas."""
    several = tf.distribute.get_strategy().num_replicas_in_sync > 1
    return several and not tf.distribute.in_cross_replica_context()


def in_one_of_several_workers() -> bool:
    """Whether this runs in a replica of a strategy that has others in other processes."""
    strategy = tf.distribute.get_strategy()
    if tf.distribute.in_cross_replica_context():
        return False
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return several and strategy.num_replicas_in_sync > len(strategy.extended.worker_devices)


def from_all(strategy: tf.distribute.Strategy, value: int) -> list[int]:
    """An integer of every replica's process, in the order of the replicas; waits for all of them.

    Args:
        strategy: under which they train; the one that is there without any will do.
        value: this process's, below 2**31.

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
    """Raises ValueError, in all workers, where they would go on from different epochs."""
    epochs = from_all(strategy, epoch)
    if len(set(epochs)) > 1:
        raise ValueError(
            f"Workers kept different epochs, {epochs} by replica, so they cannot go on together. Give each "
            "worker the folder that it had, or start the run again."
        )


def gathered(values: Any) -> Any:
    """The examples of all replicas, in the order in which the batch was divided.

    Each replica gets all of them; shares may differ in size, or be empty. The gradient adds up what all
    replicas ask for: if each computes the same value of all examples and divides it by the number of
    replicas, their gradients sum to that of one replica with the whole batch.

    Args:
        values: a structure of tensors `(examples, ...)`; None in it stays None.

    Returns:
        The same structure; `values` as they are outside of a step of several replicas.

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
    """The mean of the values of all replicas, a scalar of which replicas send each other the sums.

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
    """This replica's rows of what was computed for the examples of all replicas.

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
    """For each tensor where its rows begin and end among those of all replicas, and how many these are."""
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
    """The rows of all replicas: the sum of theirs, each with zeros in place of the others'.

    `all_gather` would send less, but does not run eagerly.
    """
    # Nothing adds up booleans and short integers.
    sent = values if values.dtype.is_floating or values.dtype == tf.int64 else tf.cast(values, "int32")
    around = [[start, count - stop], *[[0, 0]] * (len(values.shape) - 1)]
    context = tf.distribute.get_replica_context()
    summed = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.pad(sent, around))
    return tf.ensure_shape(tf.cast(summed, values.dtype), (None, *values.shape[1:]))
