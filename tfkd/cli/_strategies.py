"""The tf.distribute strategies that programs offer by name."""

import os

import tensorflow as tf

STRATEGIES = ("none", "mirrored", "multi_worker")

_EXAMPLE = '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'


def limit_gpus(count: int) -> None:
    """Limits TensorFlow to the first `count` GPUs of this machine.

    Args:
        count: at least 0.

    Raises:
        ValueError: if there are fewer.
        RuntimeError: if TensorFlow is already using them.
    """
    there = tf.config.list_physical_devices("GPU")
    if count > len(there):
        raise ValueError(
            f"`gpus` is {count}, and TensorFlow finds {len(there)} on this machine. Give a number from 0 "
            f"to {len(there)}, or leave it out to use all."
        )
    tf.config.set_visible_devices(there[:count], "GPU")


def strategy_named(name: str) -> tf.distribute.Strategy | None:
    """A strategy for the GPUs that TensorFlow sees; None for "none".

    "multi_worker" must be created before TensorFlow does anything else in the process.

    Args:
        name: one of `STRATEGIES`.

    Raises:
        ValueError: for "multi_worker" without a TF_CONFIG that lists the workers.
    """
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "multi_worker":
        if not os.environ.get("TF_CONFIG"):
            raise ValueError(
                "`strategy` is multi_worker, but the environment has no TF_CONFIG, which workers need to "
                f"find each other. Set it for each worker, with a different index: TF_CONFIG='{_EXAMPLE}'."
            )
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"TF_CONFIG cannot be used: {error}. It should look like '{_EXAMPLE}'."
            ) from error
    return None
