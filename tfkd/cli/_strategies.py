"""The strategies of tf.distribute that programs know by name."""

import os

import tensorflow as tf

STRATEGIES = ("none", "mirrored", "multi_worker")

_EXAMPLE = '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'


def limit_gpus(count: int) -> None:
    """Has TensorFlow see so many GPUs of this machine, the first ones, and no others.

    Args:
        count: at least 0.

    Raises:
        ValueError: if there are fewer.
        RuntimeError: if TensorFlow has begun to use them.
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

    "multi_worker" has to come before anything else that TensorFlow does in the process.

    Args:
        name: one of `STRATEGIES`.

    Raises:
        ValueError: for "multi_worker" without a TF_CONFIG that says who the workers are.
    """
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "multi_worker":
        if not os.environ.get("TF_CONFIG"):
            raise ValueError(
                "`strategy` is multi_worker, and the environment has no TF_CONFIG, by which workers find "
                f"each other. Set it in each worker's, with another index: TF_CONFIG='{_EXAMPLE}'."
            )
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"TF_CONFIG cannot be used: {error}. It should look like '{_EXAMPLE}'."
            ) from error
    return None
