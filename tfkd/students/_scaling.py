"""A model's architecture at another width."""

from collections.abc import Callable

import keras
from keras import layers

from tfkd._core.copies import cloned_model, remade
from tfkd._core.graphs import copy_input_statistics, first_upstream, has_graph, trainable_config
from tfkd._core.keras_versions import check_keras_3
from tfkd.students._dropout import config_without_dropout
from tfkd.students._inheritance import CRITERIA, WIDTHS, inherit_channels

# Layers with weights whose width follows their input.
_FOLLOWERS = (
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.Normalization,
    layers.PReLU,
)


def scale_width(
    model: keras.Model,
    factor: float,
    dropout: bool = False,
    name: str | None = None,
    inherit: bool = False,
    criterion: str = "worth",
) -> keras.Model:
    """The same architecture with scaled hidden widths, newly initialized or thinned.

    Convolutions and dense layers are scaled, except output layers; depthwise convolutions and
    normalizations follow. Widths are rounded to the nearest integer, at least 1.

    Args:
        model: a functional or Sequential model of Conv, DepthwiseConv, SeparableConv, Dense,
            normalization, Add, Concatenate and layers without weights.
        factor: above 0; 0.5 halves every width.
        dropout: whether dropout layers keep their rates; by default these are 0, since a narrow student
            tends to underfit its teacher rather than overfit it.
        name: name of the new model; None for the model's name with the factor appended.
        inherit: whether the student inherits the weights of the most important channels (channels joined by
            Add are kept or removed together), which makes training faster; otherwise it is newly
            initialized.
        criterion: measure of importance: "worth", the size of channels (after batch normalization if there
            is one) times the norm of the kernels that read them; "norm", the norm of the kernel that
            produces them; or "scale", the scale of their batch normalization, or the norm if there is none.
            `features` in a recipe only supports "worth".

    Returns:
        A model with the same input and output shapes.

    Raises:
        ValueError: if the factor is not positive (or above 1, with `inherit`), the model has no graph, a
            layer cannot be scaled, channels cannot be followed through an inherited one (the message names
            it), or the criterion is unknown.

    Example:
        >>> student = tfkd.students.scale_width(teacher, 0.5)

    Reference:
        For `inherit`, Li et al., "Pruning Filters for Efficient ConvNets", 2017, and Liu et al., "Learning
        Efficient Convolutional Networks through Network Slimming", 2017, which are "norm" and "scale", here
        with the same fraction in each layer. Deviation in "worth": the size of a channel is multiplied by
        the norms of the kernels that read it, relative to their layer's mean, so that joined layers add up.
    """
    check_keras_3("model", model)
    if not 0 < factor <= (1 if inherit else float("inf")):
        raise ValueError(
            f"`factor` must be above 0{' and at most 1 with inherit=True' if inherit else ''}. "
            f"Received: factor={factor!r}."
        )
    if not has_graph(model):
        raise ValueError(
            f"`model` must be functional or a built Sequential model. Received: {type(model)}. "
            "Build a smaller student by hand, or choose one from tfkd.students."
        )
    if criterion not in CRITERIA:
        raise ValueError(f"`criterion` must be one of {', '.join(CRITERIA)}. Received: {criterion!r}.")
    student = resized(
        model,
        lambda layer, width: max(1, round(width * factor)),
        f"at {factor} times their width",
        dropout,
        name or f"{model.name}_{factor:g}x",
    )
    if inherit:
        inherit_channels(model, student, criterion)
    return student


def resized(
    model: keras.Model,
    width_of: Callable[[keras.Layer, int], int],
    how: str,
    dropout: bool,
    name: str,
) -> keras.Model:
    """The same architecture with other widths, newly initialized.

    Args:
        model: a functional or Sequential model.
        width_of: a function from a layer and its width to the new width; not called for output layers.
        how: description of the change, for messages.
        dropout: whether dropout layers keep their rates.
        name: name of the new model.

    Raises:
        ValueError: if a layer's width cannot be changed, or the resulting layers are not compatible.
    """
    outputs = {id(op) for op in first_upstream(model, lambda op: type(op) in WIDTHS)}

    def scaled(layer):
        config = trainable_config(layer)
        width = WIDTHS.get(type(layer))
        if width and id(layer) not in outputs:
            config[width] = width_of(layer, config[width])
            _check_groups(layer, config)
        elif getattr(layer, "weights", ()) and width is None and not isinstance(layer, _FOLLOWERS):
            raise ValueError(
                f"Layer {layer.name!r} ({type(layer).__name__}) has weights whose width cannot be "
                "scaled. Build the student by hand, or choose one from tfkd.students."
            )
        elif not dropout:
            config = config_without_dropout(layer, config)
        return remade(layer, config)

    try:
        student = cloned_model(model, clone_function=scaled, recursive=True)
    except ValueError as error:
        if "cannot be scaled" in str(error):
            raise
        raise ValueError(
            f"The layers of model {model.name!r} are not compatible {how}. The usual reason is a layer "
            f"with fixed sizes (such as Reshape), or an Add with one branch that cannot be scaled. {error}"
        ) from error
    # A clone of a frozen Sequential model is frozen, too.
    student.trainable = True
    student.name = name
    copy_input_statistics(model, student)
    return student


def _check_groups(layer, config):
    if config.get("groups", 1) > 1:
        raise ValueError(
            f"Layer {layer.name!r} is a grouped convolution ({config['groups']} groups), whose "
            "width cannot be scaled. Build the student by hand."
        )
