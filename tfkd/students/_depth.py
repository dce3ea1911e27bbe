"""A model's architecture with fewer residual blocks."""

import dataclasses

import keras

from tfkd._core.copies import cloned_model, remade
from tfkd._core.graphs import (
    copy_input_statistics,
    copy_weights,
    has_graph,
    nodes,
    operation_of,
    times_used,
    trainable_config,
)
from tfkd._core.keras_versions import check_keras_3


def scale_depth(
    model: keras.Model, factor: float, name: str | None = None, inherit: bool = False
) -> keras.Model:
    """The same architecture with some residual blocks removed.

    A block can be removed if an `Add` joins a tensor to the output of layers with weights that depend on
    that tensor alone; the tensor then replaces the block's output. Among blocks of the same shape, such as
    those of a ResNet stage, the kept ones are spread evenly and include the last, so at least one stays. If
    blocks of several kinds alternate, such as attention and feed-forward blocks in a transformer, one of
    each kind form a block together. Blocks that change the shape, contain others or produce an output are
    kept, as are those in nested models.

    Args:
        model: a functional model with residual blocks.
        factor: fraction of the blocks of each shape to keep, in (0, 1]; 0.6 keeps three of five.
        name: name of the new model; None for the model's name with the factor appended.
        inherit: whether the remaining layers keep their weights, which makes training much faster;
            otherwise they are newly initialized.

    Returns:
        A model with the same input and output shapes and the same layer names.

    Raises:
        ValueError: if the factor is out of range, the model is not functional, no residual block is found,
            or all of them would be kept.

    Example:
        >>> student = tfkd.students.scale_depth(teacher, 0.6, inherit=True)  # a ResNet-20 of a ResNet-32

    Reference:
        Veit et al., "Residual Networks Behave Like Ensembles of Relatively Shallow Networks", 2016, for
        removing blocks; Sanh et al., "DistilBERT", 2019, for initializing a student from every second layer
        of its teacher.
    """
    check_keras_3("model", model)
    if not 0 < factor <= 1:
        raise ValueError(f"`factor` must be above 0 and at most 1. Received: factor={factor!r}.")
    if not has_graph(model):
        raise ValueError(
            f"`model` must be functional, so that its blocks can be found. Received: {type(model)}. "
            "Choose a student from tfkd.students, or build one by hand."
        )
    blocks = residual_blocks(model)
    if all(block.shortcut is None for block in blocks):
        raise ValueError(
            f"`model` has no residual block that could be removed: no Add of {model.name!r} joins a tensor "
            "to the output of layers that depend on it alone (nested models are not searched). Use "
            "tfkd.students.scale_width, or a student of the zoo."
        )
    left_out = _left_out(blocks, factor)
    if factor < 1 and not left_out:
        raise ValueError(
            f"`factor` keeps all {len(blocks)} residual blocks of {model.name!r}: one of each shape must "
            f"stay. Received: factor={factor!r}. Use a smaller factor if there are several of a shape, or "
            "tfkd.students.scale_width."
        )
    student = _without(model, left_out)
    student.name = name or f"{model.name}_{factor:g}deep"
    copy = copy_weights if inherit else copy_input_statistics
    for layer in student.layers:
        if layer.weights:
            copy(model.get_layer(layer.name), layer)
    return student


@dataclasses.dataclass(frozen=True)
class ResidualBlock:
    """An Add and the branch that leads to it.

    Args:
        add: the Add.
        stage: shape of its output.
        shortcut: index of the Add's input that is the block's input; None if the block must stay.
        branch: classes of the layers that produce the other input.
    """

    add: keras.Operation
    stage: tuple
    shortcut: int | None
    branch: tuple[str, ...]


def residual_blocks(model):
    """The residual blocks in the order of the graph."""
    found = []
    outputs = {id(tensor) for tensor in model.outputs}
    for node in nodes(model):
        if not _adds_two(node.operation, node.input_tensors) or times_used(model, node.operation) > 1:
            continue
        added = node.input_tensors
        branches = {i: _branch(added[1 - i], added[i]) for i in (0, 1)}
        shortcuts = [i for i, branch in branches.items() if branch]
        optional = shortcuts and id(node.outputs[0]) not in outputs
        shortcut = shortcuts[0] if optional else None
        branch = branches[shortcuts[0]] if shortcuts else ()
        found.append(ResidualBlock(node.operation, tuple(node.outputs[0].shape), shortcut, branch))
    return found


def _adds_two(operation, inputs):
    # The layer, and the operation for `+`.
    return type(operation).__name__ == "Add" and len(inputs) == 2


def _branch(tensor, origin):
    """Classes of layers from `origin` to a tensor that depends on it alone; no block between.

    Some have weights. Empty if the tensor was made differently.
    """
    if tensor.shape != origin.shape:
        return ()
    pending, seen, kinds, weights = [tensor], {id(origin)}, [], 0
    while pending:
        tensor = pending.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation, inputs = operation_of(tensor)
        if not inputs or _adds_two(operation, inputs):
            return ()
        kinds.append(type(operation).__name__)
        weights += len(getattr(operation, "weights", ()))
        pending.extend(inputs)
    return tuple(kinds) if weights else ()


def _left_out(blocks, factor):
    """The input that replaces an Add, by the Add's identity."""
    left_out = {}
    for stage in {block.stage: None for block in blocks}:
        same = _taking_turns([block for block in blocks if block.stage == stage])
        optional = [together for together in same if all(block.shortcut is not None for block in together)]
        staying = max(1, round(factor * len(same))) - (len(same) - len(optional))
        staying = min(max(0, staying), len(optional))
        # Spread evenly, always including the last one.
        kept = {-(-i * len(optional) // staying) - 1 for i in range(1, staying + 1)}
        for i, together in enumerate(optional):
            if i not in kept:
                left_out |= {id(block.add): block.shortcut for block in together}
    return left_out


def _taking_turns(blocks):
    """Blocks in groups, one of each kind if kinds alternate; otherwise single blocks."""
    kinds = [block.branch for block in blocks]
    for turn in range(2, len(blocks) // 2 + 1):
        if len(set(kinds[:turn])) > 1 and kinds == kinds[:turn] * (len(blocks) // turn):
            return [blocks[i : i + turn] for i in range(0, len(blocks), turn)]
    return [[block] for block in blocks]


def _without(model, left_out):
    """A clone in which the given Adds pass on one of their inputs."""
    passing = {}

    def cloned(operation):
        clone = remade(operation, trainable_config(operation))
        if id(operation) in left_out:
            passing[id(clone)] = left_out[id(operation)]
        return clone

    def called(operation, *args, **kwargs):
        if id(operation) in passing:
            return keras.tree.flatten((args, kwargs))[passing[id(operation)]]
        return operation(*args, **kwargs)

    return cloned_model(model, clone_function=cloned, call_function=called)
