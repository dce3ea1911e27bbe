"""Checks whether a teacher and a student fit together."""

import warnings
from typing import Any

import keras
import tensorflow as tf

from tfkd import taps
from tfkd._core.graphs import first_upstream, has_graph
from tfkd._core.keras_versions import check_keras_3
from tfkd._core.named_inputs import named_inputs, takes_names
from tfkd._core.names import snake_case
from tfkd.distilling._token_tables import check_tokens

# Label losses that expect probabilities by default, and their function forms.
_OF_PROBABILITIES = (
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
    keras.losses.BinaryCrossentropy,
    keras.losses.BinaryFocalCrossentropy,
)
_FUNCTIONS = tuple(getattr(keras.losses, snake_case(each.__name__)) for each in _OF_PROBABILITIES)
_TO_PROBABILITIES = (keras.activations.softmax, keras.activations.sigmoid)


_LOGITS_FROM = {
    "teacher": "tfkd.load_teacher(teacher) makes a copy that returns logits (with "
    'task="multi_label" for independent labels).',
    "student": "Build its last layer without an activation, and give the labels' loss from_logits=True.",
}


_INPUT_REMEDY = (
    "Build the student with the teacher's input shape. If only the image sizes differ, pass "
    "resize_inputs=True to tfkd.Distiller, or put keras.layers.Resizing in front of one of the networks."
)
_OUTPUT_REMEDY = (
    "Give the student one output per class of the teacher. If output maps differ in size, add "
    "keras.layers.Resizing after the student's last layer."
)


class LogitsWarning(UserWarning):
    """Warns of logits where probabilities are expected, or vice versa."""


def check_model(model: keras.Model, role: str) -> None:
    """Raises ValueError, as Keras does, if the argument `role` is not a Keras model."""
    check_keras_3(role, model, ValueError)
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"`{role}` must be a keras.Model. Received: {model!r} of type {type(model)}. Load files with "
            "tfkd.load_teacher or keras.models.load_model."
        )


def check_scope(made: keras.Layer, role: str) -> None:
    """Raises ValueError if the argument `role` was created under another `tf.distribute` strategy."""
    extended = tf.distribute.get_strategy().extended
    seeds = [v for v in made.variables if v.path.endswith("seed_generator_state")]
    if not all(extended.variable_created_in_scope(v.value) for v in (*made.weights, *seeds)):
        raise ValueError(
            f"`{role}` must be created under the strategy of the distiller. Received: {made.name!r}, whose "
            "variables belong to another one. Create or load it and the distiller within the same `with "
            "strategy.scope():`, or both outside of any."
        )


def check_pair(teacher: keras.Model, student: keras.Model, resized: bool = False) -> None:
    """Raises ValueError, with a remedy, for models that do not fit together.

    Args:
        teacher: the teacher.
        student: the student.
        resized: whether images are resized for each model.
    """
    fixed = {id(variable) for variable in teacher.variables}
    if any(id(variable) in fixed for variable in student.trainable_variables):
        raise ValueError(
            "`student` shares trainable weights with `teacher`, whose weights must not change. Build the "
            "student from layers of its own, such as those of keras.models.clone_model(teacher)."
        )
    if resized:
        _check_images(teacher, student)
    else:
        _check_inputs(teacher, student)
        check_tokens(teacher, student)


def check_outputs(teacher: keras.Model, student: keras.Model) -> None:
    """Raises ValueError if the models' outputs cannot be compared with each other."""
    _check_shapes(_shapes(teacher, "output"), _shapes(student, "output"), "output", _OUTPUT_REMEDY)


def feature_extractor(model: keras.Model, tapped: list[str]) -> keras.Model | None:
    """A model that returns a network's output and tapped layers, as in Keras; not used in training.

    Args:
        model: a functional or built Sequential network.
        tapped: paths of layers.

    Returns:
        A model with the outputs `final_output` and one for each path; None if there are no paths.
    """
    if not tapped:
        return None
    outputs = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    layers = {tap: taps.resolve(model, tap).output for tap in tapped}
    return keras.Model(model.inputs, {"final_output": outputs, **layers}, name=f"{model.name}_features")


def ends_in_probabilities(model: keras.Model) -> bool:
    """Whether a model visibly ends in a softmax or sigmoid."""
    return any(_activation(layer) in _TO_PROBABILITIES for layer in _last_layers(model))


def warn_of_probabilities(model: keras.Model, role: str) -> None:
    """Warns if a model visibly ends in probabilities, but a loss expects logits."""
    if ends_in_probabilities(model):
        warnings.warn(
            f"A distillation loss expects logits from the {role} {model.name!r}, but it ends in a softmax "
            f"or sigmoid. {_LOGITS_FROM[role]}",
            LogitsWarning,
            stacklevel=4,
        )


def warn_of_logits(loss, student: keras.Model) -> None:
    """Warns if a labels' loss expects probabilities and the student visibly returns logits."""
    last = _last_layers(student)
    linear = bool(last) and all(_activation(layer) is keras.activations.linear for layer in last)
    for each in keras.tree.flatten(loss):
        each = loss_named(each)
        expects_probabilities = each in _FUNCTIONS
        if isinstance(each, _OF_PROBABILITIES):
            expects_probabilities = not each.get_config()["from_logits"]
        if linear and expects_probabilities:
            name = getattr(each, "__name__", _class_name(each))
            warnings.warn(
                f"`loss` {name} expects probabilities, but the student {student.name!r} returns logits: "
                "its last layer has no activation. Pass the loss as an object: "
                f"keras.losses.{_class_name(each)}(from_logits=True).",
                LogitsWarning,
                stacklevel=4,
            )


def loss_named(loss: Any) -> Any:
    """The loss with a given name; anything else is returned unchanged."""
    try:
        return keras.losses.get(loss) if isinstance(loss, str) else loss
    except ValueError:
        return loss


def _class_name(loss):
    """The class name of a loss, even if it was given as a function."""
    if loss in _FUNCTIONS:
        return _OF_PROBABILITIES[_FUNCTIONS.index(loss)].__name__
    return type(loss).__name__


def _last_layers(model):
    """The layers that compute the outputs; none if the model has no graph."""
    return list(first_upstream(model, lambda _: True)) if has_graph(model) else []


def _activation(layer):
    """The activation that a layer ends in; None if its class is not known to have one."""
    if isinstance(layer, keras.layers.Softmax):
        return keras.activations.softmax
    known = keras.layers.Dense, keras.layers.Activation
    return layer.activation if isinstance(layer, known) else None


def _check_images(teacher, student):
    """Raises ValueError unless both models take a single image, of possibly different sizes."""
    shapes = [_shapes(model, "input") or [()] for model in (teacher, student)]
    images = all(len(each) == 1 and len(each[0]) == 4 for each in shapes)
    if not images or shapes[0][0][3] != shapes[1][0][3]:
        raise ValueError(
            "`resize_inputs` needs a teacher and a student that each have a single image input (batch, "
            "height, width, channels) of known shape, with the same number of channels. Received: teacher "
            f"{shapes[0]}, student {shapes[1]}. Add keras.layers.Resizing to one of the networks instead."
        )


def _check_inputs(teacher, student):
    """Checks input shapes. Named inputs are compared by name; neither model has to take all of them."""
    if not (takes_names(teacher) or takes_names(student)):
        _check_shapes(_shapes(teacher, "input"), _shapes(student, "input"), "input", _INPUT_REMEDY)
        return
    theirs, ours = named_inputs(teacher), named_inputs(student)
    if theirs is None or ours is None:
        return
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise ValueError(
            "`teacher` and `student` must take the same inputs by name, or the student some of the "
            f"teacher's. Received: teacher {sorted(theirs)}, student {sorted(ours)}. Give the student's "
            "keras.Input layers the same names as the teacher's."
        )
    for name in shared:
        shapes = [tuple(theirs[name].shape)], [tuple(ours[name].shape)]
        _check_shapes(*shapes, f"input {name!r}", _INPUT_REMEDY)


def _check_shapes(theirs, ours, what, remedy):
    if theirs is None or ours is None:
        return
    if what.startswith("input"):
        # Keras itself adds or removes a last axis of size 1.
        theirs, ours = ([_without_ones(shape) for shape in shapes] for shapes in (theirs, ours))
    same = len(theirs) == len(ours) and all(map(_can_match, theirs, ours))
    if not same:
        received = [each[0] if len(each) == 1 else each for each in (theirs, ours)]
        raise ValueError(
            f"`teacher` and `student` must have the same {what} shape. Received: teacher "
            f"{received[0]}, student {received[1]}. {remedy}"
        )


def _without_ones(shape):
    return shape[:-1] if len(shape) > 2 and shape[-1] == 1 else shape


def _can_match(a, b):
    return len(a) == len(b) and all(x is None or y is None or x == y for x, y in zip(a, b, strict=True))


def _shapes(model, what):
    """The shapes of the model's inputs or outputs, in order; None if they are not known."""
    tensors = getattr(model, f"{what}s", None)
    return [tuple(tensor.shape) for tensor in tensors] if tensors else None
