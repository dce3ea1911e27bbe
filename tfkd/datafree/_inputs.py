"""Inputs: the form in which a run makes and stores inputs, and how networks take them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from generators import TokenGenerator, model_inputs
from tfkd._core.layouts import probes
from tfkd._core.named_inputs import named_inputs
from tfkd._core.token_marks import tokenizer_of
from tfkd.datafree import _views as views


@dataclasses.dataclass(frozen=True)
class Inputs:
    """One float tensor, such as images, which networks take unchanged.

    Args:
        teacher: the network that takes them.
        shape: the shape of one input.
    """

    teacher: keras.Model
    shape: tuple[int, ...]

    def memory_dtype(self, asked: str) -> str:
        """The dtype in which inputs are stored in memory, given the recipe's."""
        return asked

    def given(self, values) -> Any:
        """The networks' inputs for values `(batch, *shape)`."""
        return values

    def zeros(self, n: int) -> Any:
        """The networks' inputs for `n` examples of zeros."""
        return self.given(ops.zeros((n, *self.shape)))

    def probes(self, n: int, seed: int) -> Any:
        """The networks' inputs for `n` examples that depend only on the seed."""
        return probes(self.teacher, n, seed)


@dataclasses.dataclass(frozen=True)
class TokenInputs(Inputs):
    """Token ids, int32 `(batch, length)`, which networks take with a padding mask.

    Args:
        teacher: a language model.
        shape: `(length,)`.
        pad_id: the padding token.
        draw: `draw(n, seed)` makes `n` sequences that depend only on the integer seed.
    """

    pad_id: int
    draw: Callable[[int, int], Any]

    def memory_dtype(self, asked: str) -> str:
        return "int32"

    def given(self, values) -> Any:
        names = named_inputs(self.teacher)
        if names is not None and "token_ids" not in names:
            return ops.cast(values, "int32")
        made = model_inputs(values, self.pad_id)
        if names is not None and "segment_ids" in names:
            made["segment_ids"] = ops.zeros_like(made["token_ids"])
        return made

    def zeros(self, n: int) -> Any:
        return self.given(ops.zeros((n, *self.shape), dtype="int32"))

    def probes(self, n: int, seed: int) -> Any:
        return self.given(self.draw(n, seed))


def one_shape(model: keras.Model) -> tuple[int | None, ...] | None:
    """The shape of a model's only input, without the batch; None if it has several or takes token ids."""
    shape = model.input_shape
    if takes_tokens(model) or isinstance(shape, dict) or not shape or isinstance(shape[0], (tuple, list)):
        return None
    return tuple(shape[1:])


def takes_images(model: keras.Model) -> bool:
    """Whether a model takes images, `(batch, height, width, channels)`."""
    return views.fit(one_shape(model) or ())


def takes_tokens(model: keras.Model) -> bool:
    """Whether the graph of a model shows that it takes token ids."""
    return _token_input(model) is not None


def _token_input(model):
    """The symbolic input of token ids; None if there is none, or the model has no graph."""
    inputs = named_inputs(model) or {}
    if "token_ids" in inputs:
        return inputs["token_ids"]
    if len(inputs) != 1:
        return None
    (alone,) = inputs.values()
    return alone if keras.backend.is_int_dtype(alone.dtype) and len(alone.shape) == 2 else None


def inputs_of(teacher: keras.Model, recipe: str) -> Inputs:
    """The inputs of a teacher that takes one float tensor.

    Args:
        teacher: the teacher.
        recipe: the name of the recipe that makes them, for messages.

    Raises:
        ValueError: if the teacher has several inputs, takes token ids, or its input size is not known.
    """
    if takes_tokens(teacher):
        raise ValueError(
            f"`recipe`: {recipe} makes float inputs, but {teacher.name!r} takes token ids. Use a recipe "
            "whose `prior` makes token ids, such as "
            "tfkd.datafree.ProceduralText(prior=tfkd.generators.Words.from_tokenizer(tokenizer))."
        )
    shape = one_shape(teacher)
    if shape is None:
        raise ValueError(
            f"`teacher` must have one input. Received: {teacher.name!r} with input shapes "
            f"{teacher.input_shape}."
        )
    if not shape or None in shape:
        raise ValueError(
            "`teacher` must take inputs of one known size: images (height, width, channels), series (time, "
            f"channels) or vectors (features,). Received: input shape {teacher.input_shape}."
        )
    return Inputs(teacher, tuple(side for side in shape if side is not None))


def tokens_of(teacher: keras.Model, made_by: Sequence[TokenGenerator]) -> TokenInputs:
    """The inputs of a language model, made by generators of token ids.

    Args:
        teacher: the teacher.
        made_by: the generators, which draw equal shares.

    Raises:
        ValueError: if the teacher takes other inputs, sequences of another length, or ids of another
            tokenizer; or if the generators differ in length or padding.
    """
    if len({(each.length, each.pad_id) for each in made_by}) > 1:
        raise ValueError(
            "`prior`: generators of token ids must have the same `length` and `pad_id`. Received: "
            f"{[(each.name, each.length, each.pad_id) for each in made_by]}. Give all of them the longest "
            "`length`."
        )
    check_tokens(teacher, made_by[0].length, "prior")
    read = tokenizer_of(teacher)
    for each in made_by:
        if None not in (read, each.tokenizer) and read != each.tokenizer:
            raise ValueError(
                f"`prior`: {each.name!r} makes ids of tokenizer {each.tokenizer}, but teacher "
                f"{teacher.name!r} takes those of {read}. Make it from the teacher's tokenizer: "
                "tfkd.generators.Words.from_tokenizer(tokenizer)."
            )

    def draw(n, seed):
        made = zip(made_by, equal_parts(n, len(made_by)), strict=True)
        return ops.concatenate([each.sample(size, seed) for each, size in made if size])

    return TokenInputs(teacher, (made_by[0].length,), made_by[0].pad_id, draw)


def check_tokens(teacher: keras.Model, length: int, argument: str) -> None:
    """Raises ValueError if a teacher's graph shows that it does not take sequences of this length."""
    token_ids = _token_input(teacher)
    if token_ids is None and named_inputs(teacher) is not None:
        raise ValueError(
            f"`{argument}` makes token ids, but teacher {teacher.name!r} takes inputs of shape "
            f"{teacher.input_shape}. Language models take int32 `token_ids` and `padding_mask`."
        )
    taken = None if token_ids is None else token_ids.shape[1]
    if taken not in (None, length):
        raise ValueError(
            f"`{argument}` makes sequences of {length} tokens, but teacher {teacher.name!r} takes "
            f"{taken}. Pass length={taken}."
        )


def equal_parts(n: int, parts: int) -> list[int]:
    """The sizes of the parts when `n` items are divided as equally as possible."""
    return np.diff(np.linspace(0, n, parts + 1).round().astype(int)).tolist()
