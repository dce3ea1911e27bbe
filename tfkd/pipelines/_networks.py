"""Teachers and students as pipelines take them: networks, files or names."""

import os
from collections.abc import Mapping
from typing import Any

import keras

from tfkd.students import student_named
from tfkd.teachers import BlackBoxTeacher, load_teacher, probabilities_ending

Source = str | os.PathLike | keras.Model


def as_teacher(source: Source, options: Mapping[str, Any] | None) -> keras.Model:
    """A trained network that returns logits, or numbers.

    Args:
        source: a file, or a Keras model. One that returns logits already is taken as it is if no options
            are given.
        options: of `tfkd.load_teacher`.
    """
    if isinstance(source, keras.Model) and not options and _returns_logits(source):
        return source
    return load_teacher(source, **(options or {}))


def _returns_logits(model):
    return isinstance(model, BlackBoxTeacher) or probabilities_ending(model) is None


def as_student(source: Source, teacher: keras.Model, inherit: bool) -> keras.Model:
    """A student that was given as one or by its name."""
    if not isinstance(source, keras.Model):
        return student_named(source, teacher, inherit)
    if inherit:
        raise ValueError(
            "`inherit`: only a student by a factor, such as '0.5x', has a part of the teacher's weights. "
            f"Received: the network {source.name!r}."
        )
    return source


def named(source: Source) -> str:
    """What a network is called in records: its file, or its name."""
    return source.name if isinstance(source, keras.Model) else os.fspath(source)
