"""Finds the token masks of values whose layers do not set any."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import ops, tree

from tfkd._core.interposing import around
from tfkd._core.keras_internals import flatten_layers, mask_of, with_mask
from tfkd._core.named_inputs import named_inputs, takes_names

# The argument names by which models and layers take a mask `(batch, tokens)`.
_NAMES = "padding_mask", "decoder_padding_mask"


class TokenMasks:
    """The masks `(batch, tokens)` that occur in a model's forward pass.

    Keras attaches masks to tensors, but attention layers and operations that are not layers drop them, and
    keras-hub models take them as additional inputs.

    Args:
        model: the model.
        inputs: the inputs of the pass, including named ones that the model does not take.
    """

    def __init__(self, model: keras.Model, inputs: Any) -> None:
        self._graph = tf.compat.v1.get_default_graph()
        self._made: list = []
        self._given: list = []
        named = _named(model, inputs)
        for name in _NAMES:
            if name in named:
                self._note(self._given, ops.convert_to_tensor(named[name]))

    def noting(self, layer: keras.Layer) -> dict[str, Callable]:
        """The wrappers of a layer's methods, by name, that record the masks of its calls."""
        around_methods: dict[str, Callable] = {}
        if type(layer).compute_mask is not keras.Layer.compute_mask:
            around_methods["compute_mask"] = self._note_made
        if isinstance(layer, keras.layers.Masking):
            around_methods["call"] = self._note_output
        signature = inspect.signature(type(layer).call)
        if any(name in signature.parameters for name in _NAMES):
            around_methods["call"] = functools.partial(self._note_given, signature, layer)
        return around_methods

    def _note_made(self, call, *args, **kwargs):
        mask = call(*args, **kwargs)
        self._note(self._made, mask)
        return mask

    def _note_output(self, call, *args, **kwargs):
        # The output already has its mask, so Keras does not call `compute_mask`.
        output = call(*args, **kwargs)
        self._note(self._made, mask_of(output))
        return output

    def _note_given(self, signature, layer, call, *args, **kwargs):
        arguments = signature.bind(layer, *args, **kwargs).arguments
        for mask in map(arguments.get, _NAMES):
            self._note(self._given, mask)
        return call(*args, **kwargs)

    def _note(self, masks, mask):
        # Tensors computed inside a graph loop cannot be used outside of it.
        if self._graph is tf.compat.v1.get_default_graph() and _is_mask(mask):
            masks.append(mask)

    def handed_to(self, values: Any) -> Any:
        """The values, with a mask attached to those that have a token axis but no mask.

        Args:
            values: a tensor or a structure of tensors. A tensor has a token axis if it has at least three
                axes and the second is as long as the mask.
        """
        # The last mask that a layer made belongs to the tokens at that point.
        masks = [*reversed(self._made), *reversed(self._given)]
        return tree.map_structure(lambda value: _handed(value, masks), values) if masks else values


@contextlib.contextmanager
def token_masks(model: keras.Model, inputs: Any) -> Iterator[TokenMasks]:
    """Records the masks of a model's calls inside the block.

    These are the masks that layers make or get as arguments, and the input named `padding_mask`.

    Args:
        model: any Keras model.
        inputs: the inputs that it will be called with.
    """
    masks = TokenMasks(model, inputs)
    with contextlib.ExitStack() as stack:
        for layer in flatten_layers(model, include_self=False):
            # The masks of bridged tf_keras layers are not visible.
            around_methods = masks.noting(layer) if isinstance(layer, keras.Layer) else {}
            for method, note in around_methods.items():
                stack.enter_context(around(layer, method, note))
        yield masks


def check_same_tokens(teacher: Any, student: Any) -> None:
    """Makes a step fail, except under XLA, if two networks have different token masks.

    Args:
        teacher: the mask of the teacher's values, or None.
        student: the mask of the student's values, of the same shape.

    Raises:
        ValueError: if the masks have different lengths.
    """
    if not (_is_mask(teacher) and _is_mask(student)) or teacher is student:
        return
    lengths = teacher.shape[1], student.shape[1]
    if None not in lengths and lengths[0] != lengths[1]:
        raise ValueError(_refusal(f"{lengths[0]} and {lengths[1]} tokens"))
    if tf.executing_eagerly():
        if not bool(ops.all(ops.equal(teacher, student))):
            raise ValueError(_refusal("masks that differ"))
    else:
        tf.debugging.assert_equal(teacher, student, _refusal("masks that differ"))


def _refusal(received):
    return (
        "`teacher` and `student` must see the same tokens, with padding in the same places. Received: "
        f"{received}. Give both the ids of one tokenizer, and mask its padding in both, by padding_mask or "
        "by layers such as Embedding(mask_zero=True)."
    )


def _is_mask(mask):
    return isinstance(mask, tf.Tensor) and mask.shape.rank == 2


def _named(model, inputs):
    """The inputs by name, if they have names."""
    if isinstance(inputs, dict):
        return inputs
    known = None if takes_names(model) else named_inputs(model)
    flat = tree.flatten(inputs)
    return dict(zip(known, flat, strict=True)) if known and len(known) == len(flat) else {}


def _handed(value, masks):
    if not isinstance(value, tf.Tensor) or (value.shape.rank or 0) < 3 or mask_of(value) is not None:
        return value
    for mask in masks:
        if mask.shape[1] == value.shape[1] or value.shape[1] is None:
            return with_mask(value, _of_length(ops.cast(mask, "bool"), value))
    return value


def _of_length(mask, value):
    """The mask; at run time, an all-true mask if the value turns out to have another length."""
    if None not in (mask.shape[1], value.shape[1]):
        return mask
    length, tokens = tf.shape(value)[1], tf.shape(mask)[1]
    places = tf.minimum(tf.range(length), tokens - 1)
    return tf.gather(mask, places, axis=1) | tf.not_equal(length, tokens)
