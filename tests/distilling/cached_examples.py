"""Examples whose teacher is asked beforehand, and a look at how often it is."""

import keras
import numpy as np
import tensorflow as tf

from tests.conftest import blobs, small_network
from tfkd.distilling import unpack

X, Y = blobs(40)


def batches(size=16):
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(size)


class Counting:
    """A teacher's calls, as they happen."""

    def __init__(self, model):
        self.rows = 0
        call = model.call

        def counting(inputs, *args, **kwargs):
            tf.py_function(self.count, [tf.shape(inputs)[0]], [])
            return call(inputs, *args, **kwargs)

        object.__setattr__(model, "call", counting)

    def count(self, rows):
        self.rows += int(rows)


def fresh_teacher():
    keras.utils.set_random_seed(5)
    return small_network(8, name="fresh")


def check_outputs(cached, teacher, places=range(40)):
    """That a data set carries what the teacher says of these examples."""
    seen = []
    for x, y in cached:
        carried = unpack(x)
        np.testing.assert_allclose(carried.output, teacher(carried.inputs), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(y, Y[carried.index])
        seen.extend(carried.index.numpy())
    assert seen == list(places)
