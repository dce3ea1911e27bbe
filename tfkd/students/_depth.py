"""A model's own shape with fewer residual blocks."""

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
    """The same architecture with a share of its residual blocks left out.

    A block can be left out where an `Add` joins a tensor to what layers with weights made of that
    tensor alone; its output is then that tensor. Of the blocks of one shape, such as the stages of a
    ResNet, those that stay are spread evenly, the last one, and so at least one, among them. Where blocks
    of several kinds take turns, as attention and what follows it do in a transformer, one of each kind make
    a block together. Blocks that change the shape, that hold others or that make an output stay, and so do
    those of nested models.

    Args:
        model: a functional model with residual blocks.
        factor: share of the blocks of each shape that stay, in (0, 1]; 0.6 leaves three of five.
        name: name of the new model; None for the model's with the factor appended.
        inherit: whether what stays keeps its weights, from which a student learns in a small part of the
            time; otherwise it is newly initialized.

    Returns:
        A model with the same input and output shapes and layers of the same names.

    Raises:
        ValueError: if the factor is out of range, the model is not functional, no residual block is found,
            or all of them stay.

    Example:
        >>> student = tfkd.students.scale_depth(teacher, 0.6, inherit=True)  # a ResNet-20 of a ResNet-32

    Reference:
        Veit et al., "Residual Networks Behave Like Ensembles of Relatively Shallow Networks", 2016, for
        what is left when blocks go; Sanh et al., "DistilBERT", 2019, for a student that begins with every
        second layer of its teacher.
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
            f"`model` has no residual block that could be left out: no Add of {model.name!r} joins a "
            "tensor to what was made of that tensor alone (nested models are not searched). Use "
            "tfkd.students.scale_width, or a student of the zoo."
        )
    left_out = _left_out(blocks, factor)
    if factor < 1 and not left_out:
        raise ValueError(
            f"`factor` leaves all {len(blocks)} residual blocks of {model.name!r} where they are: one of "
            f"each shape stays. Received: factor={factor!r}. Use a smaller one if there are several of a "
            "shape, or tfkd.students.scale_width."
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
    """An Add with what was made of one of its inputs.

    Args:
        add: the Add.
        stage: shape of what it makes.
        shortcut: which of its two inputs is the whole block's input; None where the block has to stay.
        branch: classes of the layers that made the other one.
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
    # The layer, and the operation behind `+`.
    return type(operation).__name__ == "Add" and len(inputs) == 2


def _branch(tensor, origin):
    """Classes of the layers that made a tensor of `origin` alone, with weights, without a block in between.

    Empty where it was made otherwise.
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
    """Which input takes an Add's place, by the Add's identity."""
    left_out = {}
    for stage in {block.stage: None for block in blocks}:
        same = _taking_turns([block for block in blocks if block.stage == stage])
        optional = [together for together in same if all(block.shortcut is not None for block in together)]
        staying = max(1, round(factor * len(same))) - (len(same) - len(optional))
        staying = min(max(0, staying), len(optional))
        # Spread evenly, the last one always among them.
        kept = {-(-i * len(optional) // staying) - 1 for i in range(1, staying + 1)}
        for i, together in enumerate(optional):
            if i not in kept:
                left_out |= {id(block.add): block.shortcut for block in together}
    return left_out


def _taking_turns(blocks):
    """Blocks in groups, one of each kind where kinds take turns; else each by itself."""
    kinds = [block.branch for block in blocks]
    for turn in range(2, len(blocks) // 2 + 1):
        if len(set(kinds[:turn])) > 1 and kinds == kinds[:turn] * (len(blocks) // turn):
            return [blocks[i : i + turn] for i in range(0, len(blocks), turn)]
    return [[block] for block in blocks]


def _without(model, left_out):
    """A clone in which each of those Adds passes one of its inputs on."""
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
