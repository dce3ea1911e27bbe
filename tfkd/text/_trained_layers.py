"""The layers that a stage trains: those its losses reach, except frozen ones."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops, tree

from tfkd import taps
from tfkd.distilling import forward_pass
from tfkd.distilling._arguments import all_taps
from tfkd.losses import KnowledgeLoss


def trained_layers(
    student: keras.Model,
    losses: Sequence[KnowledgeLoss],
    labelled: bool,
    frozen: Sequence[keras.Layer] = (),
) -> list[str] | None:
    """The layers that a stage trains, in the form of `tfkd.schemes.Stage`.

    A loss on inner layers has no gradient for later layers, such as a head, and a masked language model has
    none for a pooler.

    Args:
        student: the built student.
        losses: losses of the stage.
        labelled: whether the labels' loss, which uses the student's output, is part of the stage.
        frozen: layers not to train.

    Returns:
        Paths of layers; None if all are trained.
    """
    looked_at = [loss.student_layer for loss in losses]
    left_out = {id(variable) for layer in frozen for variable in layer.variables}
    left_out |= _unreached(student, all_taps(looked_at), labelled or None in looked_at)
    if not any(id(variable) in left_out for variable in student.trainable_variables):
        return None
    paths: list[str] = []
    for path, layer in taps.named_layers(student).items():
        inside = any(path.startswith(f"{other}/") for other in paths)
        trained = layer.trainable_variables
        if trained and not inside and not any(id(variable) in left_out for variable in trained):
            paths.append(path)
    return paths


def _unreached(student, tapped, of_output):
    """The identities of trainable variables that the losses' inputs do not depend on."""
    variables = student.trainable_variables
    with tf.GradientTape() as tape:
        passed = forward_pass(student, tapped, _some_tokens(student), training=False)
        seen = [*passed.features.values(), *([passed.output] if of_output else [])]
        total: Any = sum(ops.sum(ops.cast(value, "float32")) for value in tree.flatten(seen))
    gradients = tape.gradient(total, variables)
    return {id(v) for gradient, v in zip(gradients, variables, strict=True) if gradient is None}


def _some_tokens(model):
    """Two tokens for each input of a model, or its fixed number."""
    return tree.map_structure(
        lambda x: ops.ones([1 if i == 0 else side or 2 for i, side in enumerate(x.shape)], x.dtype),
        model.input,
    )
