"""Functional models with several exits: exit names, the layers up to each exit, and those between exits.

An exit is an output. Exits are in order of depth, and the last one is the network's own output.
"""

import keras

from tfkd._core.graphs import has_graph, nodes, operation_of


def check_exits(model: keras.Model, argument: str = "model") -> None:
    """Raises TypeError or ValueError if a model does not have several exits to the same classes.

    Args:
        model: the value to check.
        argument: its name in messages.
    """
    remedy = "tfkd.schemes.attach_exits(model, exits) makes one."
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`{argument}` must be a keras.Model with exits. Received: {model!r} of type {type(model)}. "
            f"{remedy}"
        )
    if not has_graph(model) or len(model.outputs) < 2:
        outputs = f"{len(model.outputs)} output" if has_graph(model) else "no graph"
        raise ValueError(
            f"`{argument}` must be a functional model with several exits, each an output. Received: "
            f"{model.name!r} with {outputs}. {remedy}"
        )
    shapes = [tuple(output.shape) for output in model.outputs]
    if any(len(shape) != 2 or shape != shapes[-1] for shape in shapes):
        raise ValueError(
            f"`{argument}`: all exits must return (batch, classes) for the same classes. Received: "
            f"{model.name!r} with output shapes {shapes}. {remedy}"
        )


def exit_names(model: keras.Model) -> list[str]:
    """The names of the layers that compute the outputs; tap them to get the exits' logits."""
    return [operation_of(output)[0].name for output in model.outputs]


def exit_tensors(model: keras.Model) -> list:
    """The input of each exit's head: the features that the rest of the network continues from."""
    return [operation_of(output)[1][0] for output in model.outputs]


def up_to_exits(model: keras.Model) -> list[keras.Model]:
    """For each exit, the part of the model that has run by then, earlier heads included."""
    outputs = model.outputs
    return [keras.Model(model.inputs, outputs[: i + 1]) for i in range(len(outputs))]


def segments(model: keras.Model) -> list[keras.Model]:
    """The parts of a model between its exits, as models that share its layers.

    Args:
        model: a model with exits and one input.

    Returns:
        One model per exit. The first takes the input; each later one takes the features that the one before
        it returns. They return `[logits, features]`, except the last, which returns logits only.

    Raises:
        ValueError: if the model has several inputs, or if a connection bypasses an exit, so that the exit's
            features are not enough to continue.
    """
    if len(model.inputs) != 1:
        raise ValueError(
            f"`model` must have one input to be run exit by exit. Received: {model.name!r} with "
            f"{len(model.inputs)} inputs. Its exits are still available one by one, in model.outputs."
        )
    tensors, names = exit_tensors(model), exit_names(model)
    parts = [keras.Model(model.inputs[0], [model.outputs[0], tensors[0]], name=names[0])]
    for i in range(1, len(names)):
        ends = [model.outputs[i], *tensors[i : len(names) - 1][:1]]
        parts.append(_stretch(model, tensors[i - 1], ends, names[i - 1 : i + 1]))
    for part in parts:
        # Its layers support masks. Without this, Keras would warn that the model ignores one.
        part.supports_masking = True
    return parts


def _stretch(model, start, ends, exits):
    """A model between two tensors inside a graph; calls the layers between them once more."""
    needed, pending = set(), [id(end) for end in ends]
    ordered = nodes(model)
    maker = {id(tensor): node for node in ordered for tensor in node.output_tensors}
    while pending:
        tensor = pending.pop()
        if tensor == id(start) or id(maker[tensor]) in needed:
            continue
        node = maker[tensor]
        if node.is_input:
            raise ValueError(
                f"`model`: {model.name!r} cannot be split at the exit {exits[0]!r}, since connections "
                "bypass it. Attach that exit where all paths have joined, such as after an Add layer."
            )
        needed.add(id(node))
        pending.extend(id(each) for each in _symbolic((node.arguments.args, _without_mask(node))))
    inputs = keras.Input(batch_shape=start.shape, dtype=start.dtype)
    made = {id(start): inputs}
    for node in (each for each in ordered if id(each) in needed):
        arguments = node.arguments.args, _without_mask(node)
        args, kwargs = keras.tree.map_structure(lambda value: made.get(id(value), value), arguments)
        outputs = keras.tree.flatten(node.operation(*args, **kwargs))
        made.update(zip(map(id, node.output_tensors), outputs, strict=True))
    return keras.Model(inputs, [made[id(end)] for end in ends], name=exits[1])


def _without_mask(node):
    """The keyword arguments of a call without the mask, which layers take from their input anyway."""
    return {name: value for name, value in node.arguments.kwargs.items() if name != "mask"}


def _symbolic(structure):
    return [leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, keras.KerasTensor)]
