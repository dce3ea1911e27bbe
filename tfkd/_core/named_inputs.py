"""Named inputs: each network takes the inputs that it needs from the data."""

from typing import Any

import keras
from keras import tree

from tfkd._core.graphs import has_graph
from tfkd._core.keras_internals import history

# The name of the input of text models for token ids.
TOKENS = "token_ids"


def named_inputs(model: keras.Model) -> dict[str, Any] | None:
    """The symbolic inputs of a model by name; None if the model has no graph."""
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
    """Selects a model's inputs from named inputs; inputs without names are returned unchanged.

    Args:
        model: a model; one without a graph gets all inputs.
        inputs: a dictionary of tensors, or anything else that models take.

    Returns:
        Inputs in the structure that the model was built with.

    Raises:
        ValueError: if an input that the model needs is missing.
    """
    known = named_inputs(model)
    if known is None or not isinstance(inputs, dict) or not _is_flat(_structure(model)):
        return inputs
    missing = [name for name, tensor in known.items() if name not in inputs and not _is_optional(tensor)]
    if missing:
        raise ValueError(
            f"`x` lacks {missing}, which the model {model.name!r} takes. Received: {sorted(inputs)}. The "
            "data must have all inputs, by the names of the models' keras.Input layers."
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
    """Whether a model takes texts: whether its graph has an input named `token_ids`."""
    return TOKENS in (named_inputs(model) or {})
