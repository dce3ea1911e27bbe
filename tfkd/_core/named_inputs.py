"""Inputs by name: each network takes, of what the data hold, what it needs."""

from typing import Any

import keras
from keras import tree

from tfkd._core.graphs import has_graph
from tfkd._core.keras_internals import history

# What models of text call the ids of a text's tokens.
TOKENS = "token_ids"


def named_inputs(model: keras.Model) -> dict[str, Any] | None:
    """The symbolic inputs of a model by name; None of one whose graph does not tell."""
    if not has_graph(model):
        return None
    structure = _structure(model)
    if isinstance(structure, dict) and _is_flat(structure):
        return dict(structure)
    return {tensor.name: tensor for tensor in model.inputs}


def takes_names(model: keras.Model) -> bool:
    """Whether a model was built to take a dictionary of inputs."""
    return has_graph(model) and isinstance(_structure(model), dict)


def taken_by(model: keras.Model, inputs: Any) -> Any:
    """What a model takes of named inputs; inputs without names as they are.

    Args:
        model: a model; one without a graph gets all there is.
        inputs: a dictionary of tensors, or what else models take.

    Returns:
        Inputs in the structure that the model was built with.

    Raises:
        ValueError: if an input that the model needs is not there.
    """
    known = named_inputs(model)
    if known is None or not isinstance(inputs, dict) or not _is_flat(_structure(model)):
        return inputs
    missing = [name for name, tensor in known.items() if name not in inputs and not _is_optional(tensor)]
    if missing:
        raise ValueError(
            f"`x` lacks {missing}, which the model {model.name!r} takes. Received: {sorted(inputs)}. Give "
            "the data all inputs, by the names of the models' keras.Input layers."
        )
    values = [inputs.get(name) for name in known]
    structure = _structure(model)
    if isinstance(structure, dict):
        return dict(zip(known, values, strict=True))
    return tree.pack_sequence_as(structure, values)


def _is_flat(structure):
    return not tree.is_nested(structure) or not any(map(tree.is_nested, _children(structure)))


def _children(structure):
    return structure.values() if isinstance(structure, dict) else structure


def _structure(model):
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def _is_optional(tensor):
    return history(tensor).operation.optional


def takes_texts(model: keras.Model) -> bool:
    """Whether the graph of a model shows that it takes texts: an input named `token_ids`."""
    return TOKENS in (named_inputs(model) or {})
