"""Turns what is typed on a command line into data, students and recipes."""

import inspect
import os
import re
from collections.abc import Sequence

import keras
import numpy as np

from tfkd import datafree, students
from tfkd._core import names
from tfkd.datafree import Recipe

_FACTOR = re.compile(r"(\d+\.?\d*|\.\d+)(x|deep)")
_SCALED = {"x": students.scale_width, "deep": students.scale_depth}
_ZOO_NAME = re.compile(r"(.*?[a-z])[-_]?(\d+(?:[-_]\d+)*)")


def make_student(name: str, teacher: keras.Model, inherit: bool = False) -> keras.Model:
    """The student that `--student` asks for.

    Args:
        name: a `.keras` file; a factor such as "0.5x" of the teacher's width or "0.6deep" of its residual
            blocks; or a zoo name with its numbers, such as "lenet5_half", "resnet20" or "wide_resnet16_1".
        teacher: gives the input shape and the number of classes.
        inherit: whether a student by a factor begins with its part of the teacher's weights.

    Returns:
        A Keras model.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: for an unknown name, with close matches, a file that holds no Keras model, or
            `inherit` with a student that is no part of its teacher.
    """
    if factor := _FACTOR.fullmatch(name):
        return _SCALED[factor[2]](teacher, float(factor[1]), inherit=inherit)
    if inherit:
        raise ValueError(
            "--inherit: only a student by a factor, such as 0.5x or 0.6deep, has a part of the teacher's "
            f"weights. Received: --student={name}."
        )
    if name.endswith(".keras"):
        if not os.path.exists(name):
            raise FileNotFoundError(f"--student: there is no file {name!r}.")
        return _load_student(name)
    return from_zoo(name, tuple(teacher.input_shape[1:]), teacher.output_shape[-1])


def from_zoo(name: str, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """A network of `tfkd.students` by its name with its numbers, such as "resnet20".

    Args:
        name: of the function, then its numbers.
        input_shape: `(height, width, channels)`.
        classes: number of logits.

    Returns:
        An untrained Keras model.

    Raises:
        ValueError: for an unknown name, with close matches, or too few or many numbers.
    """
    public = {known: getattr(students, known) for known in students.__all__}
    zoo = {known: f for known, f in public.items() if "classes" in inspect.signature(f).parameters}
    numbers = []
    if name not in zoo and (match := _ZOO_NAME.fullmatch(name)):
        name, numbers = match[1], [int(number) for number in re.split("[-_]", match[2])]
    build = names.lookup(zoo, name, "student")
    parameters = inspect.signature(build).parameters.values()
    needed = [p.name for p in parameters if p.default is inspect.Parameter.empty]
    if len(numbers) != len(needed):
        raise ValueError(
            f"Student {name!r} takes {len(needed)} numbers ({', '.join(needed)}) behind its name, as "
            f"'resnet20' and 'wide_resnet16_1' do. Received: {numbers}."
        )
    return build(*numbers, input_shape=input_shape, classes=classes)


def _load_student(path):
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(
            f"--student: {path!r} cannot be loaded as a Keras model: {error} Save it with "
            "model.save('name.keras')."
        ) from error


def recipes() -> dict[str, type[Recipe]]:
    """The recipes that need no data, by name."""
    return {name: recipe for name, recipe in datafree.known_recipes().items() if not recipe.needs_examples}


def make_recipe(name: str, options: Sequence[str] = (), **overrides) -> Recipe:
    """The recipe that `--recipe` and `--recipe_options` ask for.

    Args:
        name: a recipe's name, in any case.
        options: `key=value` strings; lists are separated by commas, tables are `.npy` files.
        **overrides: further fields; None keeps the recipe's own value.

    Returns:
        The recipe.

    Raises:
        ValueError: for an unknown name or key, with close matches, or a value out of range.
    """
    recipe = names.lookup(recipes(), name.lower().replace("-", "_"), "recipe")
    known = {key: option.type for key, option in recipe.options(old_names=True).items()}
    known = {key: kind for key, kind in known.items() if kind in _PARSERS}
    values = {key: value for key, value in overrides.items() if value is not None}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise ValueError(f"--recipe_options: expected key=value. Received: {option!r}.")
        kind = names.lookup(known, key.strip(), f"option of recipe {name!r}")
        values[key.strip()] = _parse(key.strip(), kind, text.strip())
    return recipe(**values)


def _table(path):
    """Rows of numbers from a file."""
    return tuple(tuple(row) for row in np.load(path, allow_pickle=False).tolist())


_TABLE = Sequence[Sequence[float]]
_PARSERS = {
    bool: lambda text: {"true": True, "false": False}[text.lower()],
    int: int,
    float: float,
    str: str,
    tuple[str, ...]: lambda text: tuple(text.split(",")),
    float | tuple[float, ...]: lambda text: (
        tuple(map(float, text.split(","))) if "," in text else float(text)
    ),
    _TABLE: _table,
}


def _parse(name, kind, text):
    try:
        return _PARSERS[kind](text)
    except (KeyError, ValueError, TypeError, OSError):
        wanted = "a .npy file with a row for each class" if kind == _TABLE else f"of type {_shown(kind)}"
        raise ValueError(f"--recipe_options: {name} must be {wanted}. Received: {text!r}.") from None


def _shown(kind):
    return kind.__name__ if isinstance(kind, type) else str(kind)
