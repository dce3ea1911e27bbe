"""Teachers and students given to pipelines as networks, files or names."""

import os
from collections.abc import Mapping
from typing import Any

import keras

from tfkd._core.copies import cloned_model, remade
from tfkd._core.graphs import copy_weights, trainable_config
from tfkd._core.keras_versions import check_keras_3
from tfkd.students import student_named
from tfkd.tasks import mark, marked_task, task_of
from tfkd.teachers import BlackBoxTeacher, diagnose, load_teacher, probabilities_ending

Source = str | os.PathLike | keras.Model


def as_teacher(source: Source, options: Mapping[str, Any] | None, argument: str = "teacher") -> keras.Model:
    """A trained network that returns logits, or numbers.

    Args:
        source: a file, or a Keras model. One that already returns logits is used unchanged if no options
            are given.
        options: options of `tfkd.load_teacher`.
        argument: name of the argument, for messages.

    Raises:
        ValueError: if it cannot be read, or its outputs for synthetic inputs are not finite.
    """
    if isinstance(source, keras.Model) and not options and _is_ready(source):
        diagnose(source)
        return source
    try:
        return load_teacher(source, **(options or {}))
    except (FileNotFoundError, TypeError, ValueError) as error:
        if "`source`" not in str(error):
            raise
        raise type(error)(str(error).replace("`source`", f"`{argument}`")) from error


def _is_ready(model):
    """Whether a model returns logits, or numbers."""
    return isinstance(model, BlackBoxTeacher) or probabilities_ending(model, marked_task(model)) is None


def copied(model: keras.Model) -> keras.Model:
    """A trainable copy of a model with its layers, weights and task, even if it was frozen."""

    def copied_layer(layer):
        config = layer.get_config() if model.trainable else trainable_config(layer)
        return remade(layer, config)

    copy = cloned_model(model, clone_function=copied_layer, recursive=True)
    copy_weights(model, copy)
    if not model.trainable:
        copy.trainable = True
    return mark(copy, task_of(model))


def as_student(source: Source, teacher: keras.Model, inherit: bool) -> keras.Model:
    """A student given as a model or by name."""
    check_keras_3("students", source)
    if not isinstance(source, keras.Model):
        return student_named(source, teacher, inherit)
    if inherit:
        raise ValueError(
            "`inherit`: only a scaled student, such as '0.5x', can inherit the teacher's weights. "
            f"Received: the network {named(source)!r}."
        )
    return source


def named(source: Source) -> str:
    """The name of a network in records: its file, or its own name."""
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else source.name
