"""Noise in a student during training: stochastic depth, and dropout before the classifier."""

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
    """Drops whole examples of a residual branch in training, so that only the shortcut remains.

    A dropout whose mask has one value per example: with probability `rate` an example becomes zeros,
    otherwise it is multiplied by 1 / (1 - rate). In inference mode inputs pass through unchanged.

    Args:
        rate: probability that an example is dropped, in [0, 1); the survival probability is 1 - rate.
        seed: int seed of the masks; None for a random one.
        **kwargs: passed to `keras.Layer`.

    Call arguments:
        inputs: a float tensor `(batch, ...)`.
        training: whether to drop.

    Returns:
        A tensor like the inputs.

    Raises:
        ValueError: if the rate is out of range.

    Example:
        >>> branch = tfkd.students.StochasticDepth(0.2)(branch)
        >>> x = keras.layers.Add()([branch, shortcut])

    Reference:
        Huang et al., "Deep Networks with Stochastic Depth", 2016. There, whole batches are dropped, and
        branches are multiplied by their survival probability in inference mode. Here, examples are dropped
        and the others divided by that probability in training, which has the same mean and leaves no
        operation in an exported file.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs) -> None:
        super().__init__(check_number("rate", rate, least=0, below=1), seed=seed, **kwargs)

    def build(self, input_shape) -> None:
        self.noise_shape = (None, *(1 for _ in input_shape[1:]))
        super().build(input_shape)

    def get_config(self) -> dict:
        config = super().get_config()
        # Determined by the input.
        del config["noise_shape"]
        return config


def with_noise(
    model: keras.Model, dropout: float = 0.5, depth: float = 0.2, seed: int | None = None
) -> keras.Model:
    """The same network with dropout before the classifier and stochastic depth on residual branches.

    Of L residual blocks, block l drops its branch at rate `depth * l / L` (linear decay). Blocks whose
    shortcut changes the shape are counted among the L but drop nothing, since both paths have layers;
    nested models are not searched. A network without residual blocks only gets the dropout. In inference
    mode, and so in exported files, the noise does nothing; `without_noise` removes the layers, for tools
    that support only Keras's own layers.

    Args:
        model: a functional or built Sequential model; it is not changed.
        dropout: dropout rate before the last layer with weights, in [0, 1); 0 for none.
        depth: stochastic depth rate of the last block, in [0, 1); 0 for none.
        seed: int seed of all masks; None for a random one.

    Returns:
        A functional model with the same weights and layer names, plus the new layers.

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
            "models are not searched). Give a rate above 0 for one that the model has."
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
    """The same network without its dropout and stochastic depth layers.

    Args:
        model: a functional or built Sequential model; it is not changed.

    Returns:
        A functional model with the same weights and names, and the same outputs in inference mode; `model`
        itself if it has no such layer. Nested models and rates inside other layers are kept:
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
    """The model as a functional model with the same layers."""
    check_keras_3("model", model)
    if not has_graph(model):
        raise ValueError(
            f"`model` must be functional or a built Sequential model. Received: {model.name!r} "
            f"({type(model).__name__}). Add tfkd.students.StochasticDepth and keras.layers.Dropout where "
            "it is built."
        )
    if is_functional(model):
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def _branches(model, depth):
    """Position, kind, rate and name of each residual block's noise, by the identity of its Add."""
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
    """A clone with the same weights; `called` applies each clone and also gets its original."""
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
