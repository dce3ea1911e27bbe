"""What the pages of the documents take for granted, by their paths."""

import types

import numpy as np
import tensorflow as tf

from tests.examples.images import EXAMPLES, LABELS, Images, network
from tests.examples.texts import Texts
from tests.examples.worlds import SmallResNets


class Digits(Images):
    """Images as a LeNet-5 takes them."""

    x = np.random.default_rng(0).random((EXAMPLES, 28, 28, 1), "float32")


class Devices(Images):
    """A strategy for the devices of one machine."""

    index = 0

    @property
    def strategy(self):
        return tf.distribute.OneDeviceStrategy("CPU:0")

    def make_teacher(self):
        return network(8, "teacher")

    def make_student(self):
        return network(4, "student")


class Workers(Images):
    """The first of two workers, who does not know the other one."""

    @property
    def strategy(self):
        cluster = tf.train.ClusterSpec({"worker": ["first:1234", "second:1234"]})
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, "", "worker", 0)
        return types.SimpleNamespace(cluster_resolver=resolver)


class Phones(Images):
    """Names of classes, beside images."""

    labels = LABELS


# Of other pages, Images.
WORLDS = {
    "README.md": Digits,
    "docs/distribution.md": Devices,
    "docs/guides/data_free.md": SmallResNets,
    "docs/guides/phones.md": Phones,
    "docs/guides/texts.md": Texts,
    "docs/large_data.md": Workers,
}
# What pages read and do not write.
FILES = ("image.npy", "all-MiniLM-L6-v2")
