"""Students by name: a file, a factor of the teacher's width or depth, or a network of the zoo."""

import inspect
import os
import re
from collections.abc import Callable

import keras

from tfkd import students
from tfkd._core import model_files, names, untrusted
from tfkd.students._depth import scale_depth
from tfkd.students._scaling import scale_width

_FACTOR = re.compile(r"(\d+\.?\d*|\.\d+)(x|deep)")
_SCALED = {"x": scale_width, "deep": scale_depth}
_ZOO_NAME = re.compile(r"(.*?[a-z])[-_]?(\d+(?:[-_]\d+)*)")


def student_named(student: str | os.PathLike, teacher: keras.Model, inherit: bool = False) -> keras.Model:
    """The student with a given name.

    Args:
        student: a `.keras` file; a factor such as "0.5x" of the teacher's width or "0.6deep" of its
            residual blocks; or a name in the zoo with its numbers, such as "lenet5_half", "resnet20" or
            "wide_resnet16_1".
        teacher: determines the input shape and the number of outputs.
        inherit: whether to initialize a scaled student from the teacher's weights.

    Returns:
        A Keras model.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: for an unknown name, with close matches, a file that does not contain a Keras model, or
            `inherit` with a student that is not derived from its teacher.

    Example:
        >>> student = tfkd.students.student_named("0.5x", teacher, inherit=True)
    """
    student = os.fspath(student)
    if factor := _FACTOR.fullmatch(student):
        return _SCALED[factor[2]](teacher, float(factor[1]), inherit=inherit)
    if inherit:
        raise ValueError(
            "`inherit`: only a scaled student, such as 0.5x or 0.6deep, can inherit the teacher's "
            f"weights. Received: `student`={student!r}."
        )
    if student.endswith(".keras"):
        return _load(student)
    return network_named(student, tuple(teacher.input_shape[1:]), teacher.output_shape[-1])


def is_shallower(name: str) -> bool:
    """Whether a student of this name has fewer, otherwise unchanged layers, such as "0.6deep"."""
    factor = _FACTOR.fullmatch(name)
    return factor is not None and factor[2] == "deep"


def network_named(name: str, input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """A network of `tfkd.students` by name with numbers, such as "resnet20".

    Args:
        name: name of the function, followed by its numbers.
        input_shape: shape of one input, such as `(height, width, channels)`.
        classes: number of logits.

    Returns:
        An untrained Keras model.

    Raises:
        ValueError: for an unknown name, with close matches, or too few or many numbers.

    Example:
        >>> teacher = tfkd.students.network_named("wide_resnet16_1", (32, 32, 3), classes=10)
    """
    zoo, numbers = _zoo(), []
    if name not in zoo and (match := _ZOO_NAME.fullmatch(name)):
        name, numbers = match[1], [int(number) for number in re.split("[-_]", match[2])]
    build = names.lookup(zoo, name, "student")
    parameters = inspect.signature(build).parameters.values()
    needed = [p.name for p in parameters if p.default is inspect.Parameter.empty]
    if len(numbers) != len(needed):
        raise ValueError(
            f"Student {name!r} takes {len(needed)} numbers ({', '.join(needed)}) after its name, as "
            f"'resnet20' and 'wide_resnet16_1' do. Received: {numbers}."
        )
    return build(*numbers, input_shape=input_shape, classes=classes)


def _zoo() -> dict[str, Callable[..., keras.Model]]:
    public = {name: getattr(students, name) for name in students.__all__}
    return {name: function for name, function in public.items() if _builds_a_network(function)}


def _builds_a_network(function):
    """Whether a function builds a network for any number of classes, with a default."""
    classes = inspect.signature(function).parameters.get("classes")
    return classes is not None and classes.default is not inspect.Parameter.empty


def _load(path):
    if not os.path.exists(path):
        raise FileNotFoundError(f"`student`: the file {path!r} does not exist.")
    if not model_files.is_zip(path):
        raise untrusted.refusal(
            model_files.describe("student", path),
            "cannot be loaded as a Keras model: it is not a .keras file, or it is damaged.",
            "Save the student with model.save('name.keras').",
        )
    return model_files.load_keras(path, "student")
