"""Noise inside a student while it trains: stochastic depth, and dropout before its classifier."""

import keras
from keras import layers

from tfkd._core.checks import check_number
from tfkd._core.copies import cloned_model, remade
from tfkd._core.graphs import copy_weights, first_upstream, has_graph
from tfkd._core.keras_internals import is_functional
from tfkd._core.keras_versions import check_keras_3
from tfkd.students._depth import residual_blocks
from tfkd.students._dropout import DROPOUTS


@keras.saving.register_keras_serializable(package="tfkd")
class StochasticDepth(layers.Dropout):
    """Drops whole examples of a residual branch in training, so that only their shortcuts stay.

    A dropout whose mask has one number an example: with probability `rate` an example becomes zeros, else
    it is multiplied by 1 / (1 - rate). In inference mode inputs pass through as they are.

    Args:
        rate: probability of an example to be dropped, in [0, 1); the survival probability is 1 - rate.
        seed: int that the drawn masks follow from; None for a fresh one.
        **kwargs: passed to `keras.Layer`.

    Call arguments:
        inputs: a tensor `(batch, ...)` of floats.
        training: whether to drop.

    Returns:
        A tensor like the inputs.

    Raises:
        ValueError: if the rate is out of range.

    Example:
        >>> branch = tfkd.students.StochasticDepth(0.2)(branch)
        >>> x = keras.layers.Add()([branch, shortcut])

    Reference:
        Huang et al., "Deep Networks with Stochastic Depth", 2016. There whole batches are dropped, and
        branches are multiplied by their survival probability in inference mode; here it is examples, and
        what survives is divided by it in training, which has the same mean and leaves nothing to be done
        in a file for phones.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs) -> None:
        super().__init__(check_number("rate", rate, least=0, below=1), seed=seed, **kwargs)

    def build(self, input_shape) -> None:
        self.noise_shape = (None, *(1 for _ in input_shape[1:]))
        super().build(input_shape)

    def get_config(self) -> dict:
        config = super().get_config()
        # Follows from the input.
        del config["noise_shape"]
        return config


def with_noise(
    model: keras.Model, dropout: float = 0.5, depth: float = 0.2, seed: int | None = None
) -> keras.Model:
    """The same network with dropout before its classifier and stochastic depth on its residual branches.

    Of L residual blocks, block l drops its branch at rate `depth * l / L` (linear decay). Blocks whose
    shortcut changes the shape count among the L and drop nothing, since both of their ways are made by
    layers; those of nested models are not searched. A network without residual blocks has the dropout
    alone. In inference mode, and so in exported files, the noise does nothing; `without_noise` takes the
    layers out again, for tools that know Keras's own layers only.

    Args:
        model: a functional or built Sequential model, which stays as it is.
        dropout: rate before the last layer with weights, in [0, 1); 0 for none.
        depth: rate of the last block, in [0, 1); 0 for none.
        seed: int that all masks follow from; None for fresh ones.

    Returns:
        A functional model with the same weights and with layers of the same names besides the new ones.

    Raises:
        ValueError: if a rate is out of range, the model has no graph, or nothing would be added.

    Example:
        >>> student = tfkd.students.with_noise(tfkd.students.resnet(20), dropout=0.5, depth=0.2)

    Reference:
        Xie et al., "Self-training with Noisy Student improves ImageNet classification", 2020, for both
        rates; Huang et al., "Deep Networks with Stochastic Depth", 2016, for linear decay.
    """
    check_number("dropout", dropout, least=0, below=1)
    check_number("depth", depth, least=0, below=1)
    graph = _graph_of(model)
    places = {**_branches(graph, depth), **_classifiers(graph, dropout)}
    if not places:
        raise ValueError(
            f"`model` {model.name!r} has no place for noise with dropout={dropout!r} and depth={depth!r}: "
            "dropout goes before a last layer with weights, stochastic depth into residual blocks (nested "
            "models are not searched). Give a rate above 0 for what the model has."
        )
    noises = {
        key: (place, kind(rate, seed=None if seed is None else seed + number, name=name))
        for number, (key, (place, kind, rate, name)) in enumerate(places.items())
    }

    def called(original, operation, *args, **kwargs):
        if id(original) in noises:
            place, noise = noises[id(original)]
            inputs = keras.tree.flatten((args, kwargs))
            inputs[place] = noise(inputs[place])
            args, kwargs = keras.tree.pack_sequence_as((args, kwargs), inputs)
        return operation(*args, **kwargs)

    return _rebuilt(graph, called)


def without_noise(model: keras.Model) -> keras.Model:
    """The same network without its layers of dropout and stochastic depth.

    Args:
        model: a functional or built Sequential model, which stays as it is.

    Returns:
        A functional model with the same weights and names, and the same outputs in inference mode; `model`
        itself if it has no such layer. Nested models and rates inside other layers stay:
        `without_dropout` sets those to 0.

    Raises:
        ValueError: if the model has no graph.

    Example:
        >>> student = tfkd.students.without_noise(scheme.student)
    """
    graph = _graph_of(model)

    def called(original, operation, *args, **kwargs):
        return args[0] if isinstance(original, DROPOUTS) else operation(*args, **kwargs)

    noisy = any(isinstance(operation, DROPOUTS) for operation in graph.operations)
    return _rebuilt(graph, called) if noisy else model


def _graph_of(model):
    """The model as a functional one, of the same layers."""
    check_keras_3("model", model)
    if not has_graph(model):
        raise ValueError(
            f"`model` must be functional or a built Sequential model. Received: {model.name!r} "
            f"({type(model).__name__}). Put tfkd.students.StochasticDepth and keras.layers.Dropout in "
            "where it is made."
        )
    if is_functional(model):
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def _branches(model, depth):
    """Place, kind, rate and name of the noise of each residual block, by the identity of its Add."""
    blocks = residual_blocks(model) if depth else []
    return {
        id(block.add): (
            1 - block.shortcut,
            StochasticDepth,
            depth * number / len(blocks),
            f"{block.add.name}_stochastic_depth",
        )
        for number, block in enumerate(blocks, start=1)
        if block.shortcut is not None
    }


def _classifiers(model, rate):
    """The same for dropout, by the identity of the last layers with weights."""
    if not rate:
        return {}
    own = {id(operation) for operation in model.operations}
    found = first_upstream(model, lambda operation: bool(getattr(operation, "weights", ())))
    return {
        id(layer): (0, layers.Dropout, rate, f"{layer.name}_dropout") for layer in found if id(layer) in own
    }


def _rebuilt(model, called):
    """A clone with the same weights; `called` applies a clone and gets the operation it was made of too."""
    originals = {}

    def cloned(operation):
        clone = remade(operation, operation.get_config())
        originals[id(clone)] = operation
        return clone

    made = cloned_model(
        model,
        clone_function=cloned,
        call_function=lambda clone, *args, **kwargs: called(
            originals.get(id(clone)), clone, *args, **kwargs
        ),
    )
    for layer in made.layers:
        if layer.weights:
            copy_weights(model.get_layer(layer.name), layer)
    return made
