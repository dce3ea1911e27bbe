"""Which tokens of a batch count, for values whose layers do not say it."""

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

# What models and layers call a mask `(batch, tokens)` that is given to them.
_NAMES = "padding_mask", "decoder_padding_mask"


class TokenMasks:
    """The masks `(batch, tokens)` that a model's pass has to do with.

    Keras has a mask travel with a tensor, but attention layers and operations that are not layers drop it,
    and models of keras-hub take it as an input beside the tokens.

    Args:
        model: the model.
        inputs: of the pass, named ones that the model does not take included.
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
        """What has to be put around a layer's methods, by their names, to note the masks of its calls."""
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
        # It has its mask already, so that Keras does not ask the layer for one.
        output = call(*args, **kwargs)
        self._note(self._made, mask_of(output))
        return output

    def _note_given(self, signature, layer, call, *args, **kwargs):
        arguments = signature.bind(layer, *args, **kwargs).arguments
        for mask in map(arguments.get, _NAMES):
            self._note(self._given, mask)
        return call(*args, **kwargs)

    def _note(self, masks, mask):
        # What is computed inside a loop cannot be used outside of it.
        if self._graph is tf.compat.v1.get_default_graph() and _is_mask(mask):
            masks.append(mask)

    def handed_to(self, values: Any) -> Any:
        """The values, each of a token axis with the mask of its tokens, if it has none of its own.

        Args:
            values: a tensor or a structure of tensors. Those of at least three axes whose second is as long
                as the mask have a token axis.
        """
        # The last mask that a layer made is that of the tokens as they are by then.
        masks = [*reversed(self._made), *reversed(self._given)]
        return tree.map_structure(lambda value: _handed(value, masks), values) if masks else values


@contextlib.contextmanager
def token_masks(model: keras.Model, inputs: Any) -> Iterator[TokenMasks]:
    """Finds the masks of a model's calls inside the `with` block: those made, those given to layers, and
    the input named `padding_mask`.

    Args:
        model: any Keras model.
        inputs: what it will be called with.
    """
    masks = TokenMasks(model, inputs)
    with contextlib.ExitStack() as stack:
        for layer in flatten_layers(model, include_self=False):
            # Those of tf_keras, behind a bridge, keep their masks to themselves.
            around_methods = masks.noting(layer) if isinstance(layer, keras.Layer) else {}
            for method, note in around_methods.items():
                stack.enter_context(around(layer, method, note))
        yield masks


def check_same_tokens(teacher: Any, student: Any) -> None:
    """Has a step fail, but for XLA's steps, if two networks disagree about which tokens count.

    Args:
        teacher: mask of the teacher's values, or None.
        student: of the student's, of the same shape.

    Raises:
        ValueError: if the masks are of different lengths.
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
        "`teacher` and `student` must see the same tokens, and padding at the same places. Received: "
        f"{received}. Give both the ids of one tokenizer, and layers such as Embedding(mask_zero=True) its "
        "padding: 0 in masks of both."
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
    """The mask, or one of which everything counts if the value turns out to be of another length."""
    if None not in (mask.shape[1], value.shape[1]):
        return mask
    length, tokens = tf.shape(value)[1], tf.shape(mask)[1]
    places = tf.minimum(tf.range(length), tokens - 1)
    return tf.gather(mask, places, axis=1) | tf.not_equal(length, tokens)
