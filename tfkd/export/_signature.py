"""The named inputs of a network: their shapes and dtypes, and which of them are texts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfkd._core.graphs import has_graph, nodes
from tfkd._core.keras_internals import build_shapes
from tfkd._core.named_inputs import TOKENS

IMAGE = "image"
# 1 where a token is real.
PADDING_MASK = "padding_mask"
_AUTOMATIC = ("keras_tensor", "input_layer")
NEVER_CALLED = (
    "`model`: {!r} was never called, so its inputs are unknown. Call it on a batch of inputs first."
)


class Declared(NamedTuple):
    """One input of a network.

    Args:
        shape: the shape of one example, with None for unknown sizes.
        dtype: the dtype; None if it is known only from the data.
    """

    shape: tuple[int | None, ...]
    dtype: str | None

    @property
    def rank(self) -> int:
        """Number of axes of one example."""
        return len(self.shape)

    @property
    def is_row_of_integers(self) -> bool:
        """Whether the input holds token ids, a mask of tokens, or similar."""
        integers = self.dtype is not None and (self.dtype == "bool" or "int" in self.dtype)
        # uint8 values are pixels from a camera, not tokens.
        return self.rank == 1 and integers and self.dtype != "uint8"


def declared_inputs(model: keras.Model, examples: Any = None) -> dict[str, Declared]:
    """The inputs of a network by their names in a file.

    Args:
        model: a network, functional or not.
        examples: example inputs, an array or a dictionary of arrays, which give the dtypes for models
            that are not functional; None for none.

    Returns:
        The inputs by name. A single unnamed input is called "image", or "token_ids" if it is a row of
        integers.

    Raises:
        ValueError: if the network was never built, or takes nested inputs.
    """
    structure = input_structure(model)
    if isinstance(structure, Mapping):
        named = structure
    else:
        several = keras.tree.flatten(structure)
        named = {each.name: each for each in several} if len(several) > 1 else {IMAGE: several[0]}
    if any(map(keras.tree.is_nested, named.values())):
        raise ValueError(
            f"`model`: {model.name!r} takes nested inputs. Build a keras.Model that takes a flat "
            "dictionary of inputs."
        )
    declared = {name: _declared(model, name, each, examples) for name, each in named.items()}
    if not isinstance(structure, Mapping) and len(declared) == 1:
        ((name, only),) = declared.items()
        return {_name_of_single(named[name], only): only}
    return declared


def input_structure(model: keras.Model) -> Any:
    """The inputs of a network as symbolic tensors, in the structure that it is called with.

    Raises:
        ValueError: if the network was never built.
    """
    if has_graph(model):
        return model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    if "input_shape" in dir(type(model)):
        # A black box.
        return keras.KerasTensor(model.input_shape, "float32")
    shapes: Any = list(build_shapes(model).values())
    if not shapes or shapes[0] is None:
        raise ValueError(NEVER_CALLED.format(model.name))
    if len(shapes) != 1:
        raise ValueError(
            f"`model`: {model.name!r} is called with {len(shapes)} arguments. Wrap it in a keras.Model "
            "that takes a dictionary of inputs."
        )
    return keras.tree.map_shape_structure(lambda shape: keras.KerasTensor(shape, "float32"), shapes[0])


def takes_texts(declared: Mapping[str, Declared]) -> bool:
    """Whether all inputs are rows of integers, such as token ids and masks."""
    return all(each.is_row_of_integers for each in declared.values())


def is_named(network: keras.Model) -> bool:
    """Whether a network takes a dictionary of inputs."""
    return isinstance(input_structure(network), Mapping)


def signature(network: keras.Model) -> dict[str, tf.TensorSpec]:
    """The inputs of a file, by name, one example at a time.

    Args:
        network: a network returned by `with_known_sides`, with one input or a dictionary of inputs.
    """
    structure = input_structure(network)
    tensors = structure if isinstance(structure, Mapping) else {IMAGE: keras.tree.flatten(structure)[0]}
    return {
        name: tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, name=name)
        for name, tensor in tensors.items()
    }


def _declared(model, name, tensor, examples):
    shape = tuple(tensor.shape[1:])
    if has_graph(model) or "input_shape" in dir(type(model)):
        return Declared(shape, _dtype(model, tensor))
    declared = Declared(shape, _dtype_seen(examples, name))
    # A model that is not functional takes texts of other lengths than the first call's.
    return declared._replace(shape=(None,)) if declared.is_row_of_integers else declared


def _dtype(model, tensor):
    """The dtype of an input; int32 if it is declared as float but used only by embedding layers."""
    if not has_graph(model) or not keras.backend.is_float_dtype(tensor.dtype):
        return tensor.dtype
    takers = [node.operation for node in nodes(model) if any(each is tensor for each in node.input_tensors)]
    looked_up = bool(takers) and all(isinstance(each, layers.Embedding) for each in takers)
    return "int32" if looked_up else tensor.dtype


def _dtype_seen(examples, name):
    """The dtype of the examples in a file, for a model that does not declare one."""
    if examples is None:
        return None
    seen = np.asarray(examples[name] if isinstance(examples, Mapping) else examples).dtype
    if seen.kind == "f":
        return "float32"
    return "int32" if seen == np.int64 else seen.name


def _name_of_single(tensor, declared):
    if not declared.is_row_of_integers:
        return IMAGE
    return TOKENS if tensor.name.startswith(_AUTOMATIC) else tensor.name
