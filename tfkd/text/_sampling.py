"""Sampling from a causal language model within a compiled step."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfkd._core.named_inputs import taken_by

IGNORED = -100


class Sampled(NamedTuple):
    """The result of `sample`.

    Args:
        inputs: the model's inputs: prompts followed by sampled tokens.
        labels: int32 `(batch, tokens)`, at each position the next sampled token, -100 elsewhere.
    """

    inputs: dict
    labels: Any


def prompt_lengths(inputs: dict, labels) -> Any:
    """The number of tokens before the first one with a label: int32 `(batch,)`.

    Args:
        inputs: with `token_ids` and `padding_mask` `(batch, tokens)`.
        labels: `(batch, tokens)`, at each position the next token, -100 where it does not count; None if
            all tokens are prompts.

    Returns:
        The lengths of the prompts; all real tokens if no label counts.
    """
    real = tf.reduce_sum(tf.cast(inputs["padding_mask"], "int32"), axis=1)
    if labels is None:
        return real
    counts = tf.not_equal(labels, IGNORED)
    first = tf.argmax(tf.cast(counts, "int32"), axis=1, output_type="int32") + 1
    return tf.where(tf.reduce_any(counts, axis=1), first, real)


def sample(
    model: keras.Model,
    inputs: dict,
    lengths: Any,
    seed: Any,
    *,
    temperature: float = 1.0,
    max_new_tokens: int | None = None,
    end_id: int | None = None,
    pad_id: int = 0,
) -> Sampled:
    """Samples continuations of prompts, token by token, up to the length of the batch.

    The model runs on the whole sequences for each token; nothing is cached between runs.

    Args:
        model: a causal language model that returns logits `(batch, tokens, vocabulary)`.
        inputs: with `token_ids` int32 and `padding_mask` `(batch, tokens)`, padded at the end; tokens after
            the prompts are ignored.
        lengths: int32 `(batch,)`, number of tokens in each prompt, at least 1.
        seed: int32 `(2,)`.
        temperature: divides the logits; above 0.
        max_new_tokens: maximum number of tokens after each prompt; None for as many as fit.
        end_id: the token that ends a sequence, and is kept; None if there is none.
        pad_id: the padding token.

    Returns:
        The prompts with the sampled tokens, and their labels.
    """
    ids, mask = tf.cast(inputs["token_ids"], "int32"), inputs["padding_mask"]
    places, tokens = tf.range(tf.shape(ids)[1])[None], tf.shape(ids)[1]
    last = tokens if max_new_tokens is None else tf.minimum(tokens, lengths + max_new_tokens)
    last = tf.broadcast_to(last, tf.shape(lengths))
    steps = tf.reduce_max(last - lengths)

    def unfinished(step, ids, ends):
        return (step < steps) & tf.reduce_any(lengths + step < ends)

    def extended(step, ids, ends):
        place = lengths + step
        real = places < tf.minimum(place, ends)[:, None]
        given = {**inputs, "token_ids": ids, "padding_mask": tf.cast(real, mask.dtype)}
        logits = model(taken_by(model, given), training=False)
        before = tf.minimum(place, tokens) - 1
        logits = tf.gather(tf.cast(logits, "float32"), before, batch_dims=1) / temperature
        own_seed: Any = tf.random.fold_in(seed, step)
        drawn = tf.random.stateless_categorical(logits, 1, own_seed, dtype="int32")
        here = (places == place[:, None]) & (place < ends)[:, None]
        if end_id is not None:
            ended = (drawn[:, 0] == end_id) & (place < ends)
            ends = tf.where(ended, place + 1, ends)
        return step + 1, tf.where(here, drawn, ids), ends

    begun = tf.where(places < lengths[:, None], ids, pad_id)
    _, ids, ends = tf.while_loop(unfinished, extended, (0, begun, last))
    real = places < ends[:, None]
    follows = (places + 1 >= lengths[:, None]) & (places + 1 < ends[:, None])
    labels = tf.where(follows, tf.roll(ids, -1, axis=1), IGNORED)
    made = {**inputs, "token_ids": tf.where(real, ids, pad_id), "padding_mask": tf.cast(real, mask.dtype)}
    # In the data's form, so that the two are interchangeable.
    made["token_ids"] = tf.cast(made["token_ids"], inputs["token_ids"].dtype)
    return Sampled(made, labels)
