"""What runs have written for TensorBoard."""

import os

import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2


def events(folder, tag):
    """The steps at which a tag was written to a folder of events."""
    return [each.step for each in _read(folder).Tensors(tag)]


def values(folder, tag):
    """What was written under a tag: arrays."""
    return [tf.make_ndarray(each.tensor_proto) for each in _read(folder).Tensors(tag)]


def tags(folder):
    """All tags in a folder of events."""
    return _read(folder).Tags()["tensors"]


def _read(folder):
    accumulator = EventAccumulator(os.fspath(folder), size_guidance={TENSORS: 0})
    accumulator.Reload()
    return accumulator


def hparams(folder):
    """The hyperparameters in a folder."""
    content = _read(folder).PluginTagToContent("hparams")["_hparams_/session_start_info"]
    written = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    values = {name: value.WhichOneof("kind") for name, value in written.items()}
    return {name: getattr(written[name], kind) for name, kind in values.items()}
