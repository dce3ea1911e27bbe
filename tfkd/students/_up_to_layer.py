"""The first part of a model with a small head."""

import keras
from keras import layers

from tfkd._core.copies import cloned_model, remade
from tfkd._core.graphs import copy_input_statistics, copy_weights, has_graph, nodes, trainable_config
from tfkd._core.keras_versions import check_keras_3
from tfkd._core.names import lookup

_POOLING = {
    3: layers.GlobalAveragePooling1D,
    4: layers.GlobalAveragePooling2D,
    5: layers.GlobalAveragePooling3D,
}
POOLING, LOGITS = "exit_pooling", "exit_logits"


def up_to_layer(
    model: keras.Model, layer: str, name: str | None = None, inherit: bool = False
) -> keras.Model:
    """The network up to a layer, followed by global average pooling and a linear layer.

    Args:
        model: a functional or Sequential model with one input and one output `(batch, outputs)`.
        layer: name of the last layer to keep, which must not be inside a nested model; its output is a
            vector, a series or an image.
        name: name of the new model; None for the model's name with the layer's appended.
        inherit: whether the kept layers keep their weights; otherwise they, and in any case the new ones,
            are newly initialized.

    Returns:
        A model with the same input and output shapes, whose outputs are logits or numbers.

    Raises:
        ValueError: if the model has no graph, or several inputs or outputs, or no such layer (with close
            matches), or the layer's output has an unsupported shape.

    Example:
        >>> student = tfkd.students.up_to_layer(teacher, "stage2_block1_relu2", inherit=True)

    Reference:
        Teerapittayanon et al., "BranchyNet", 2016, for exits from a network's inner layers; here there is
        one exit, and everything after it is removed.
    """
    check_keras_3("model", model)
    if not has_graph(model) or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "`model` must be functional or a built Sequential model with one input and one output. "
            f"Received: {model.name!r} ({type(model).__name__})."
        )
    if len(model.output_shape) != 2:
        raise ValueError(
            f"`model` must return (batch, outputs). Received: {model.name!r}, which returns "
            f"{model.output_shape}."
        )
    output = lookup(_outputs(model), layer, f"layer of {model.name!r}")
    if len(output.shape) not in (2, *_POOLING) or None in output.shape[-1:]:
        raise ValueError(
            f"`layer`: the output of {layer!r} must be a vector, a series or an image. Received: shape "
            f"{tuple(output.shape)}. Choose an earlier or a later layer."
        )
    part = keras.Model(model.inputs[0], output)
    begin = cloned_model(
        part, clone_function=lambda each: remade(each, trainable_config(each)), recursive=True
    )
    begin.trainable = True
    copy = copy_weights if inherit else copy_input_statistics
    copy(part, begin)
    x = begin.outputs[0]
    if len(output.shape) > 2:
        x = _POOLING[len(output.shape)](name=POOLING)(x)
    x = layers.Dense(model.output_shape[-1], name=LOGITS)(x)
    return keras.Model(begin.inputs[0], x, name=name or f"{model.name}_up_to_{layer}".replace("/", "_"))


def _outputs(model):
    """The output of each layer's last call, by name, without inputs."""
    return {
        node.operation.name: node.outputs[0]
        for node in nodes(model)
        if not isinstance(node.operation, layers.InputLayer) and len(node.outputs) == 1
    }
