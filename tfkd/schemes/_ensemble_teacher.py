"""EnsembleTeacher: several teachers combined into one."""

import os
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops, tree
from typing_extensions import Self

from tfkd._core.graphs import has_graph
from tfkd._core.names import lookup
from tfkd.distilling._compatibility import check_model
from tfkd.losses import KnowledgeLoss, WeightedTeachers
from tfkd.losses._keras_losses import as_knowledge_loss
from tfkd.losses._teacher_weights import as_shares
from tfkd.tasks import Task, mark, task_of
from tfkd.tasks._endings import activation_of, last_operation
from tfkd.tasks._finding import name_of_mark
from tfkd.teachers import load_teacher

Teacher = keras.Model | str | os.PathLike


@keras.saving.register_keras_serializable(package="tfkd")
class EnsembleTeacher(keras.Model):
    """Several teachers combined: the weighted mean of their logits or probabilities.

    A Keras model like any other teacher: `tfkd.Distiller`, `tfkd.cache_teacher`, `tfkd.DataFreeDistiller`
    and `tfkd.load_teacher` accept it, and it can be saved and exported. Its layers are the members, so taps
    start with a member's name: `"resnet"` is the output of that member and `"resnet/conv1"` one of its
    layers. If a name is already taken, a number is appended, `"resnet_1"`; the given model keeps its own
    name.

    Every member takes the same inputs, images in [0, 1], and scales them itself, as `tfkd.load_teacher`
    arranges. Members are never changed. With a `tfkd.BlackBoxTeacher` among them, the ensemble is a black
    box, too: it has no gradient and cannot be saved or compiled by XLA, but the layers of the other members
    can be tapped.

    Args:
        teachers: the members, at least one: Keras models that return logits or numbers, black boxes, or
            files and folders, read by `tfkd.load_teacher` with its defaults.
        weights: one for each member, at least 0, divided by their sum; None for equal ones.
        of: "logits" for the mean of the logits, which is a geometric mean of probabilities; "probabilities"
            for logits of the mean of the probabilities: its logarithm for classes, log p - log(1 - p) for
            independent labels. Numbers are averaged directly in either case.
        name: name of the model.

    Attributes:
        weights_of_teachers: the members' weights, which sum to 1.
        of: the averaged outputs.

    Raises:
        ValueError: if there is no member, one is not a Keras model, visibly returns probabilities or has
            unknown inputs; if two members differ in inputs, task or classes, or share weights; if there is
            not one weight for each, one is negative, or all are 0; if `of` is unknown.

    Example:
        >>> ensemble = tfkd.schemes.EnsembleTeacher([first, second, "third.keras"], weights=[2, 1, 1])
        >>> distiller = tfkd.Distiller(ensemble, student, tfkd.losses.SoftTargets(temperature=4))

    Reference:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2, mentions
        both means. You, Xu, Xu, Tao, "Learning from Multiple Teacher Networks", 2017, average probabilities
        softened by a temperature; here probabilities at temperature 1 are averaged, and a loss softens the
        result. `tfkd.losses.WeightedTeachers(SoftTargets(temperature))` has the published gradient exactly.
    """

    def __init__(
        self,
        teachers: Sequence[Teacher],
        weights: Sequence[float] | None = None,
        of: str = "logits",
        name: str = "ensemble",
    ) -> None:
        lookup(dict.fromkeys(("logits", "probabilities")), of, "value of `of`")
        members = [_loaded(each, i) for i, each in enumerate(_checked_list(teachers))]
        _check_apart(members)
        shares = as_shares(weights, len(members))
        inputs = _common_inputs(members)
        task = _common_task(members)
        taken = {tensor.name for tensor in tree.flatten(inputs)}
        members = [_called(member, taken) for member in members]
        mean = MeanAnswer(shares, of, next(iter(task.activations), None), name=_free("mean", taken))
        outputs = mean([member(inputs) for member in members])
        if ending := name_of_mark(keras.Model(inputs, outputs), task):
            outputs = keras.layers.Activation("linear", dtype="float32", name=ending)(outputs)
        super().__init__(inputs, outputs, name=name)
        self.of, self.weights_of_teachers = of, shares
        self._names = [member.name for member in members]
        self.black_box = any(getattr(member, "black_box", False) for member in members)
        mark(self, task)

    @property
    def teachers(self) -> list[keras.Model]:
        """The members, in order, with the names that taps start with."""
        return [self.get_layer(name) for name in self._names]

    def per_teacher(
        self, loss: KnowledgeLoss | Any, weights: Sequence[float] | str | None = None
    ) -> WeightedTeachers:
        """One loss for each member, instead of one for their mean.

        Args:
            loss: a loss of outputs or of inner layers. Its `teacher_layer` is a path inside each member;
                for members whose layers have other names, give `tfkd.losses.WeightedTeachers` their taps.
            weights: as for `tfkd.losses.WeightedTeachers`; None for the ensemble's own.

        Returns:
            A loss for a distiller of this ensemble.

        Raises:
            TypeError: if `loss` is not a knowledge loss.
            ValueError: if the weights are invalid.

        Example:
            >>> hint = tfkd.losses.Hint("conv2", "conv1", projector=True)
            >>> distiller = tfkd.Distiller(ensemble, student, ensemble.per_teacher(hint, "confidence"))
        """

        loss = as_knowledge_loss(loss)
        layer = loss.teacher_layer

        def inside(name):
            if layer is None:
                return name
            return f"{name}/{layer}" if isinstance(layer, str) else [f"{name}/{tap}" for tap in layer]

        weights = self.weights_of_teachers if weights is None else weights
        return WeightedTeachers(loss, [inside(name) for name in self._names], weights, outputs=self._names)

    def get_config(self) -> dict:
        if self.black_box:
            raise ValueError(
                f"The ensemble {self.name!r} cannot be saved: it has a black box among its members. Save "
                "the others, and create the ensemble again."
            )
        return {
            "teachers": [keras.saving.serialize_keras_object(member) for member in self.teachers],
            "weights": self.weights_of_teachers,
            "of": self.of,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Self:
        teachers = [
            keras.saving.deserialize_keras_object(member, custom_objects=custom_objects)
            for member in config["teachers"]
        ]
        return cls(**{**config, "teachers": teachers})


@keras.saving.register_keras_serializable(package="tfkd")
class MeanAnswer(keras.Layer):
    """The weighted mean of several networks' outputs, in float32.

    Args:
        weights: one for each network, which sum to 1.
        of: "logits" or "probabilities".
        activation: the function from logits to probabilities: "softmax", "sigmoid", or None for numbers.
        **kwargs: `name`.
    """

    def __init__(self, weights: Sequence[float], of: str, activation: str | None, **kwargs) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.supports_masking = True
        self.shares, self.of, self.turned_by = list(weights), of, activation

    def call(self, answers):
        # A member of weight 0 has taps, but does not affect the mean.
        each = zip(self.shares, answers, strict=True)
        counted = [(share, ops.cast(answer, "float32")) for share, answer in each if share > 0]
        if self.of == "logits" or self.turned_by is None:
            return sum(share * answer for share, answer in counted)
        if self.turned_by == "softmax":
            return _log_mean([(share, ops.log_softmax(answer, axis=-1)) for share, answer in counted])
        for_it, against_it = (
            _log_mean([(share, ops.log_sigmoid(sign * answer)) for share, answer in counted])
            for sign in (1, -1)
        )
        return for_it - against_it

    def compute_mask(self, inputs, previous_mask):
        return next((mask for mask in tree.flatten(previous_mask) if mask is not None), None)

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self) -> dict:
        own = {"weights": self.shares, "of": self.of, "activation": self.turned_by}
        return {**super().get_config(), **own}


def _log_mean(logarithms):
    """The logarithm of a weighted mean of numbers, from their weights and logarithms."""
    stacked = ops.stack([ops.log(share) + logarithm for share, logarithm in logarithms])
    return ops.logsumexp(stacked, axis=0)


def _checked_list(teachers):
    single = isinstance(teachers, str | os.PathLike | keras.Model)
    if single or not isinstance(teachers, Sequence) or not teachers:
        raise ValueError(
            "`teachers` must be a list of at least one Keras model or file. Received: "
            f"{teachers!r} of type {type(teachers)}."
        )
    return teachers


def _loaded(teacher, i):
    """A member as a model whose outputs can be averaged."""
    if isinstance(teacher, str | os.PathLike):
        return load_teacher(teacher)
    check_model(teacher, f"teachers[{i}]")
    if activation_of(last_operation(teacher)) == "softmax":
        raise ValueError(
            f"`teachers`: {teacher.name!r} ends in a softmax, so it returns probabilities. "
            "tfkd.load_teacher(model) makes a copy that returns logits."
        )
    return teacher


def _check_apart(members):
    """Raises ValueError, naming two, if members share weights: files would store these only once."""
    owners: dict[int, int] = {}
    for i, member in enumerate(members):
        for variable in member.variables:
            owner = owners.setdefault(id(variable), i)
            if owner != i:
                names = f"{members[owner].name!r} (teachers[{owner}]) and {member.name!r} (teachers[{i}])"
                raise ValueError(
                    f"`teachers` must not share weights. Received: {names}. "
                    "Give a model once, with a larger weight, or copies made by keras.models.clone_model "
                    "and set_weights."
                )


def _common_task(members) -> Task:
    """The members' task; raises ValueError, naming two, if they do not have the same."""
    tasks = [task_of(member) for member in members]
    for member, task in zip(members, tasks, strict=True):
        if type(task) is not type(tasks[0]) or task.output_shape != tasks[0].output_shape:
            raise ValueError(
                f"`teachers` must have the same task and classes. Received: {members[0].name!r} with "
                f"{tasks[0]!r}, {member.name!r} with {task!r}. If a task is wrong, specify it: "
                "tfkd.load_teacher(model, task=...). Leave out members with other classes."
            )
    return tasks[0]


def _common_inputs(members):
    """Symbolic inputs like the members'; raises ValueError, naming two, if these differ."""
    shapes = [_input_shapes(member) for member in members]
    for member, shape in zip(members, shapes, strict=True):
        if shape != shapes[0]:
            raise ValueError(
                f"`teachers` must take the same inputs. Received: {members[0].name!r} with {shapes[0]}, "
                f"{member.name!r} with {shape}. For a member with another image size, put a layer in "
                "front: keras.Sequential([keras.Input(shape), keras.layers.Resizing(height, width), "
                "member])."
            )
    if not has_graph(members[0]):
        return keras.Input(shapes[0][1:], name="example")
    return tree.map_structure(
        lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name),
        _graph_input(members[0]),
    )


def _input_shapes(member):
    if has_graph(member):
        return tree.map_structure(lambda tensor: tuple(tensor.shape), _graph_input(member))
    try:
        return tuple(member.input_shape)
    except (AttributeError, TypeError):
        raise ValueError(
            f"`teachers`: {member.name!r} has unknown inputs. Wrap it: inputs = keras.Input(shape); "
            "keras.Model(inputs, member(inputs))."
        ) from None


def _graph_input(model):
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def _called(member, taken):
    """The member, or a model of its layers and weights under a name that is still free."""
    name = _free(member.name, taken)
    if name == member.name:
        return member
    if has_graph(member):
        return keras.Model(_graph_input(member), member.outputs[0], name=name)
    inputs = keras.Input(member.input_shape[1:])
    return keras.Model(inputs, member(inputs), name=name)


def _free(name, taken):
    """The name, with a number appended if it is taken; marks it as taken."""
    free, number = name, 0
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free
