"""Walks back from the outputs of functional and Sequential models."""

from collections.abc import Callable, Iterator

import keras

from tfkd._core.keras_internals import (
    flatten_layers,
    history,
    inbound_nodes,
    is_functional,
    nodes_by_depth,
    run_through_graph,
)


def operation_of(tensor):
    """The operation that made a symbolic tensor, and the tensors it was made from."""
    operation, node_index, _ = history(tensor)
    return operation, inbound_nodes(operation)[node_index].input_tensors


def has_graph(model: keras.Model) -> bool:
    """Whether the model is functional or a built Sequential, so that its graph can be walked."""
    # A Sequential model built by its first call has no `outputs`.
    return (isinstance(model, keras.Sequential) or is_functional(model)) and bool(
        model.built and getattr(model, "outputs", None)
    )


def first_upstream(
    model: keras.Model, found: Callable[[keras.Operation], bool]
) -> Iterator[keras.Operation]:
    """The first operation on each path back from each output for which `found` is true.

    Args:
        model: a functional or built Sequential model; nested ones are entered.
        found: returns whether to stop at an operation.

    Yields:
        Operations, usually layers; the same one once for each path that leads to it.
    """
    pending = list(model.outputs)
    while pending:
        operation, inputs = operation_of(pending.pop())
        if isinstance(operation, keras.Model) and has_graph(operation):
            inner = list(first_upstream(operation, found))
            yield from inner
            if inner:
                continue
        if found(operation):
            yield operation
        else:
            pending.extend(inputs)


def nodes(model: keras.Model) -> list:
    """The calls in a model's graph, from inputs to outputs; a nested model is one call.

    A layer may also have been called outside the model, so its own `input` and `output` may belong to
    another graph.
    """
    depths = nodes_by_depth(model)
    return [node for depth in sorted(depths, reverse=True) for node in depths[depth]]


def times_used(model: keras.Model, operation: keras.Operation) -> int:
    """The number of times that an operation occurs in the graphs of a model and its nested models."""
    operations = [node.operation for node in nodes(model)]
    nested = [inner for inner in operations if isinstance(inner, keras.Model) and has_graph(inner)]
    here = sum(other is operation for other in operations)
    return here + sum(times_used(inner, operation) for inner in nested)


def copy_weights(source: keras.Layer, target: keras.Layer) -> None:
    """Copies the weights of `source` to its clone `target`, adapted input statistics included."""
    target.set_weights(source.get_weights())
    for layer in flatten_layers(target):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def copy_input_statistics(source: keras.Layer, target: keras.Layer) -> None:
    """Copies the adapted statistics of `Normalization` layers from `source` to `target`.

    They are part of the preprocessing, not of what a network learns. Both have the same layers.
    """
    for old, new in zip(flatten_layers(source), flatten_layers(target), strict=True):
        if isinstance(old, keras.layers.Normalization):
            copy_weights(old, new)


def trainable_config(operation: keras.Operation) -> dict:
    """The configuration of a layer or other operation, with `trainable` set to True."""
    config = operation.get_config()
    if "trainable" in config:
        config["trainable"] = True
    return config


def apply_layers(model: keras.Model, x):
    """Applies a functional or Sequential model's layers to `x` one by one.

    Unlike `model(x)`, this leaves them as layers of the graph being built instead of one nested model.

    Args:
        model: a model with one input and one output.
        x: the symbolic input.

    Returns:
        The symbolic output.
    """
    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            x = layer(x)
        return x
    # In some models, such as those from old files, the single input is a list of one.
    inputs = keras.tree.map_structure(lambda _: x, model.input)
    return keras.tree.flatten(run_through_graph(model, inputs))[0]
