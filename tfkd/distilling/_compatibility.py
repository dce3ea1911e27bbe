"""Whether a teacher and a student can stand in one distiller."""

import warnings
from typing import Any

import keras

from tfkd import taps
from tfkd._core.graphs import first_upstream, has_graph
from tfkd._core.keras_versions import check_keras_3
from tfkd._core.names import snake_case

# Losses of labels that expect probabilities unless told otherwise, and their function forms.
_OF_PROBABILITIES = (
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
    keras.losses.BinaryCrossentropy,
    keras.losses.BinaryFocalCrossentropy,
)
_FUNCTIONS = tuple(getattr(keras.losses, snake_case(each.__name__)) for each in _OF_PROBABILITIES)
_TO_PROBABILITIES = (keras.activations.softmax, keras.activations.sigmoid)


class LogitsWarning(UserWarning):
    """Logits stand where probabilities are expected, or the other way round."""


def check_model(model: keras.Model, role: str) -> None:
    """Raises ValueError, as Keras does, if what is given as `role` is not a Keras model."""
    check_keras_3(role, model, ValueError)
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"`{role}` must be a keras.Model. Received: {model!r} of type {type(model)}. Load files with "
            "tfkd.load_teacher or keras.models.load_model."
        )


def check_pair(teacher: keras.Model, student: keras.Model) -> None:
    """Raises ValueError, with the remedy, for models that cannot go together."""
    fixed = {id(variable) for variable in teacher.variables}
    if any(id(variable) in fixed for variable in student.trainable_variables):
        raise ValueError(
            "`student` shares trainable weights with `teacher`, which must not change. Build the student "
            "on layers of its own, such as those of keras.models.clone_model(teacher)."
        )
    _check_shapes(teacher, student, "input", "Build the student with the teacher's input shape.")


def check_outputs(teacher: keras.Model, student: keras.Model) -> None:
    """Raises ValueError where the models' outputs cannot be compared with each other."""
    _check_shapes(teacher, student, "output", "Give the student one output per class of the teacher.")


def feature_extractor(model: keras.Model, tapped: list[str]) -> keras.Model | None:
    """A model of a network's output and tapped layers, as Keras's distiller has one; not used in training.

    Args:
        model: a functional or built Sequential network.
        tapped: paths of layers.

    Returns:
        A model whose outputs are `final_output` and one for each path; None without paths.
    """
    if not tapped:
        return None
    outputs = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    layers = {tap: taps.resolve(model, tap).output for tap in tapped}
    return keras.Model(model.inputs, {"final_output": outputs, **layers}, name=f"{model.name}_features")


def warn_of_probabilities(model: keras.Model, role: str) -> None:
    """Warns if a model whose outputs a loss takes for logits visibly ends in probabilities."""
    if any(_activation(layer) in _TO_PROBABILITIES for layer in _last_layers(model)):
        warnings.warn(
            f"A distillation loss takes the outputs of the {role} {model.name!r} for logits, but it ends "
            "in a softmax or sigmoid. tfkd.load_teacher(model) makes a copy that returns logits.",
            LogitsWarning,
            stacklevel=4,
        )


def warn_of_logits(loss, student: keras.Model) -> None:
    """Warns if a labels' loss expects probabilities and the student visibly returns logits."""
    last = _last_layers(student)
    linear = bool(last) and all(_activation(layer) is keras.activations.linear for layer in last)
    for each in keras.tree.flatten(loss):
        each = _loss_named(each)
        expects_probabilities = each in _FUNCTIONS
        if isinstance(each, _OF_PROBABILITIES):
            expects_probabilities = not each.get_config()["from_logits"]
        if linear and expects_probabilities:
            name = getattr(each, "__name__", type(each).__name__)
            warnings.warn(
                f"`loss` {name} expects probabilities, but the student {student.name!r} returns logits: "
                "its last layer has no activation. Give the loss as an object with from_logits=True, as in "
                "keras.losses.SparseCategoricalCrossentropy(from_logits=True).",
                LogitsWarning,
                stacklevel=4,
            )


def _loss_named(loss: Any) -> Any:
    """The loss of a name that is one; anything else as it is."""
    try:
        return keras.losses.get(loss) if isinstance(loss, str) else loss
    except ValueError:
        return loss


def _last_layers(model):
    """The layers the outputs come from; none where the graph cannot be walked."""
    return list(first_upstream(model, lambda _: True)) if has_graph(model) else []


def _activation(layer):
    """The function a layer ends in; None where it is not one of a few kinds known to have one."""
    if isinstance(layer, keras.layers.Softmax):
        return keras.activations.softmax
    known = keras.layers.Dense, keras.layers.Activation
    return layer.activation if isinstance(layer, known) else None


def _check_shapes(teacher, student, what, remedy):
    theirs, ours = _shapes(teacher, what), _shapes(student, what)
    if theirs is None or ours is None:
        return
    same = len(theirs) == len(ours) and all(map(_can_match, theirs, ours))
    if not same:
        received = [each[0] if len(each) == 1 else each for each in (theirs, ours)]
        raise ValueError(
            f"`teacher` and `student` must have the same {what} shape. Received: teacher "
            f"{received[0]}, student {received[1]}. {remedy}"
        )


def _can_match(a, b):
    return len(a) == len(b) and all(x is None or y is None or x == y for x, y in zip(a, b, strict=True))


def _shapes(model, what):
    """Shapes of the model's inputs or outputs, in order; None where they are not known."""
    tensors = getattr(model, f"{what}s", None)
    return [tuple(tensor.shape) for tensor in tensors] if tensors else None
