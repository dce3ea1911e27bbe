"""Space: the students to choose from."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tfkd import students
from tfkd._core.copies import remade
from tfkd._core.graphs import copy_input_statistics, copy_weights, has_graph, trainable_config
from tfkd._core.names import lookup

Point = dict[str, Any]
# The possible changes to a teacher's architecture, in the order they are applied.
_OF_TEACHER = {
    "exit": lambda model, layer, inherit: students.up_to_layer(model, layer, inherit=inherit),
    "depth": lambda model, share, inherit: students.scale_depth(model, share, inherit=inherit),
    "kernel": lambda model, size, inherit: students.with_kernel_size(model, size, inherit=inherit),
    "width": lambda model, factor, inherit: students.scale_width(model, factor, inherit=inherit),
}
# The choice that changes nothing.
_AS_IT_IS = {"depth": 1, "width": 1}


class Space:
    """Named choices, and the function that makes a student from one choice of each.

    Args:
        choices: for each name, the possible values: numbers, strings, True, False or None.
        build: a function from a point, a dictionary with one value for each name, to an untrained student;
            it raises `ValueError` for points without a student.

    Raises:
        TypeError: if choices are not such a mapping, or `build` is not callable.
        ValueError: if there are no names, or the choices of a name are empty, repeated or of the wrong
            kind.
    """

    def __init__(self, choices: Mapping[str, Sequence], build: Callable[[Point], keras.Model]) -> None:
        if not isinstance(choices, Mapping):
            raise TypeError(
                "`space` must be a mapping of names to choices, such as {'width': [0.25, 0.5]}. Received: "
                f"{choices!r} of type {type(choices)}."
            )
        if not choices:
            raise ValueError("`space` must have at least one name with choices. Received: an empty space.")
        if not callable(build):
            raise TypeError(f"`build` must be a function from a point to a student. Received: {build!r}.")
        self.choices = {name: _checked(name, values) for name, values in choices.items()}
        self._build = build

    @property
    def size(self) -> int:
        """The number of points."""
        return math.prod(map(len, self.choices.values()))

    def point(self, indices: Sequence[int]) -> Point:
        """The point with the given index for each name."""
        return {name: values[i] for (name, values), i in zip(self.choices.items(), indices, strict=True)}

    def point_number(self, number: int) -> Point:
        """A point by its number, below `size`."""
        indices = []
        for values in reversed(self.choices.values()):
            number, index = divmod(number, len(values))
            indices.append(index)
        return self.point(indices[::-1])

    def student(self, point: Point) -> keras.Model:
        """An untrained student.

        Raises:
            TypeError: if `build` did not return a model.
            ValueError: if the point has no student.
        """
        student = self._build(dict(point))
        if not isinstance(student, keras.Model):
            raise TypeError(
                f"`build` must return a keras.Model. Received: {student!r} of type {type(student)} for "
                f"{point_text(point)}."
            )
        return student


def space_of(
    teacher: keras.Model,
    space: Mapping[str, Sequence],
    build: Callable[[Point], keras.Model] | None,
    inherit: bool,
) -> Space:
    """The space of a search.

    Args:
        teacher: the network whose architecture is changed if `build` is None.
        space: names and choices; without `build`, of "width", "depth", "kernel" and "exit".
        build: function that makes students, or None.
        inherit: whether students without `build` start with the teacher's weights.

    Raises:
        ValueError: for an unknown name, with close matches, an invalid choice, or a teacher without a
            graph.
    """
    if build is not None:
        if inherit:
            raise ValueError(
                "`inherit` is for students of the teacher's own architecture. Set initial weights in "
                "`build`, and leave `inherit` out."
            )
        return Space(space, build)
    found = Space(space, lambda point: changed(teacher, point, inherit))
    for name, values in found.choices.items():
        lookup(_OF_TEACHER, name, "choice in `space`")
        for value in values:
            _check_value(name, value)
    if not has_graph(teacher):
        raise ValueError(
            f"`teacher`: {teacher.name!r} ({type(teacher).__name__}) has no graph that could be scaled. "
            "Give a `build` function that makes students."
        )
    return found


def changed(teacher: keras.Model, point: Point, inherit: bool) -> keras.Model:
    """The teacher's architecture with the changes of a point."""
    student = teacher
    for name, change in _OF_TEACHER.items():
        value = point.get(name)
        if value is not None and value != _AS_IT_IS.get(name):
            student = change(student, value, inherit)
    if student is teacher:
        student = keras.models.clone_model(
            teacher, clone_function=lambda layer: remade(layer, trainable_config(layer)), recursive=True
        )
        student.trainable = True
        (copy_weights if inherit else copy_input_statistics)(teacher, student)
    return students.without_dropout(student)


def key_of(point: Point) -> str:
    """A point as a string, independent of the order of its names."""
    return json.dumps(point, sort_keys=True)


def point_text(point: Point) -> str:
    """A point in readable form: `width=0.5 kernel=3`."""
    return " ".join(f"{name}={'own' if value is None else value}" for name, value in point.items())


def _checked(name, values):
    if not isinstance(name, str) or not name:
        raise TypeError(f"`space`: names must be strings. Received: {name!r}.")
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(
            f"`space`: the choices of {name!r} must be a list. Received: {values!r} of type {type(values)}."
        )
    if not values:
        raise ValueError(f"`space`: {name!r} has no choices. Give at least one, or leave the name out.")
    for value in values:
        if not (value is None or isinstance(value, (bool, int, float, str))):
            raise TypeError(
                f"`space`: choices must be numbers, strings, True, False or None. Received: {value!r} of "
                f"{name!r}."
            )
    if len({key_of({name: value}) for value in values}) < len(values):
        raise ValueError(f"`space`: {name!r} has a choice twice. Received: {list(values)!r}.")
    return list(values)


def _check_value(name, value):
    """Rejects values that no student of a teacher's architecture can have."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    expected = {
        "width": ("numbers above 0", number and value > 0),
        "depth": ("fractions above 0 and at most 1", number and 0 < value <= 1),
        "kernel": ("integers of at least 2", number and isinstance(value, int) and value >= 2),
        "exit": ("names of layers", isinstance(value, str)),
    }
    words, fits = expected[name]
    if value is not None and not fits:
        raise ValueError(
            f"`space`: choices of {name!r} must be {words}, or None for the teacher's own. Received: "
            f"{value!r}."
        )
