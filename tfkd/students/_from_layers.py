"""A student made from some of a transformer's layers, at the same or a smaller width."""

import sys
from collections.abc import Sequence
from typing import NamedTuple

import keras

from tfkd._core.copies import cloned_model, remade
from tfkd._core.graphs import has_graph, nodes, trainable_config
from tfkd._core.keras_versions import check_keras_3
from tfkd._core.token_marks import mark_tokenizer, tokenizer_of
from tfkd.students._attention_blocks import attention_blocks, check_can_be_left_out, without_blocks
from tfkd.students._narrowing import Narrowing, Sizes
from tfkd.students._spread_layers import chosen_layers


def from_layers(
    teacher: keras.Model,
    layers: int | Sequence[int] | None = None,
    hidden_dim: int | None = None,
    num_heads: int | None = None,
    intermediate_dim: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """A student initialized from some of a transformer's layers, with embeddings and heads.

    With the teacher's sizes, each layer is an exact copy: a student with all layers has the same outputs.
    With another `hidden_dim`, the teacher's weights are projected onto directions P: the first right
    singular vectors of its token embeddings, and the direction that normalization removes. Embeddings E
    become E P, and linear layers W become P' W P. In each attention head, the products of queries and keys,
    and of values and outputs, are approximated at the smaller head size. In a feed-forward layer, the
    neurons with the largest weights are kept. Scales of normalizations are projected as a diagonal, the
    coarsest of these steps. With another number of heads, attention is newly initialized.

    Args:
        teacher: a backbone of keras-hub (BERT, RoBERTa, DistilBERT, GPT-2, Llama, Gemma and others with
            `num_layers`), one of its classifiers or language models, a model of `tfkd.text`, or a
            functional model of attention layers with residual connections. It is not changed.
        layers: the indices of the layers to keep, in ascending order; or their number, spread by
            `spread_layers`; None for half of them.
        hidden_dim: size of the hidden states, at most the teacher's; None for the teacher's.
        num_heads: number of attention heads; None for the teacher's.
        intermediate_dim: size of the feed-forward layers, at most the teacher's; None for the teacher's
            multiple of `hidden_dim`.
        name: name of the student; None for the teacher's name with the number of layers appended.

    Returns:
        A model of the same kind with the same inputs and new, trainable layers, numbered without gaps.

    Raises:
        ValueError: if the teacher has too few layers, the indices do not ascend, layers share weights
            (ALBERT), or the sizes are not possible; the message names the remedy.

    Example:
        >>> student = tfkd.students.from_layers(teacher, layers=[0, 2, 5])
        >>> small = tfkd.students.from_layers(teacher, 3, hidden_dim=192, intermediate_dim=768)

    Reference:
        Sanh et al., "DistilBERT", 2019, for taking every second layer; Jiao et al., "TinyBERT", 2020, for
        narrower students, which start there from general distillation, not from projected weights.
    """
    check_keras_3("teacher", teacher)
    sizes = Sizes(hidden_dim, num_heads, intermediate_dim)
    made = _made(teacher, layers, sizes)
    made.student.name = name or f"{teacher.name}_{len(made.kept)}_layers"
    return mark_tokenizer(made.student, tokenizer_of(teacher))


class _Made(NamedTuple):
    """A student, the indices of its kept layers, and the function that copies the teacher's weights."""

    student: keras.Model
    kept: list[int]
    narrowing: Narrowing


def _made(teacher, layers, sizes):
    if _is_of_hub(teacher, "Backbone"):
        return _of_backbone(teacher, layers, sizes)
    if _is_of_hub(teacher, "Task"):
        return _of_hub_task(teacher, layers, sizes)
    if not has_graph(teacher):
        raise ValueError(
            f"`teacher` must be a keras-hub backbone or a functional model. Received: {teacher.name!r} "
            f"({type(teacher).__name__}). Build the student by hand."
        )
    return _of_graph(teacher, layers, sizes) or _of_nested(teacher, layers, sizes)


def _is_of_hub(model, kind):
    # No model can come from keras-hub before it has been imported.
    hub = sys.modules.get("keras_hub")
    return hub is not None and isinstance(model, getattr(hub.models, kind))


def _of_backbone(teacher, layers, sizes):
    """A backbone of the same class, made from its config."""
    blocks = getattr(teacher, "transformer_layers", None)
    if not blocks or isinstance(blocks[0], list) or len(blocks) != getattr(teacher, "num_layers", None):
        why = "they share their weights" if blocks else "it does not list them"
        raise ValueError(
            f"`teacher`: the layers of a {type(teacher).__name__} cannot be removed one by one, since "
            f"{why}. Use a BERT, RoBERTa, DistilBERT, GPT-2, Llama or Gemma, or build the student by hand."
        )
    kept = chosen_layers(layers, len(blocks), teacher.name)
    config = {**teacher.get_config(), "trainable": True}
    if hasattr(teacher, "tie_word_embeddings"):
        # keras-hub's Llama omits it.
        config["tie_word_embeddings"] = teacher.tie_word_embeddings
    changed = sizes.of(teacher, config)
    student = type(teacher).from_config({**config, "num_layers": len(kept), **changed})
    pairs = [(blocks[old], new) for old, new in zip(kept, student.transformer_layers, strict=True)]
    for old, new in pairs:
        _check_same_window(old, new)
    inside = {id(block) for block in blocks}
    pairs += [(layer, student.get_layer(layer.name)) for layer in teacher.layers if id(layer) not in inside]
    narrowing = Narrowing(teacher, changed)
    for old, new in pairs:
        if old.weights:
            narrowing.copy(old, new)
    return _Made(student, kept, narrowing)


def _check_same_window(old, new):
    """In some networks, such as Gemma 2, every second block attends to a window of tokens only."""
    key = "use_sliding_window_attention"
    before, after = getattr(old, key, None), getattr(new, key, None)
    if before != after:
        raise ValueError(
            f"`layers`: {old.name!r} has {key}={before}, but the layer at its new position has "
            f"{key}={after}. Keep even and odd layers alternating, as in the teacher."
        )


def _of_hub_task(teacher, layers, sizes):
    """A classifier or language model of keras-hub: the same head on a smaller backbone."""
    made = _of_backbone(teacher.backbone, layers, sizes)
    made.student.name = teacher.backbone.name
    student = type(teacher).from_config(
        {**teacher.get_config(), "backbone": made.student, "preprocessor": teacher.preprocessor}
    )
    for layer in teacher.layers:
        if layer is not teacher.backbone and layer.weights:
            made.narrowing.copy(layer, student.get_layer(layer.name))
    return made._replace(student=student)


def _of_graph(teacher, layers, sizes):
    """A functional model without some of its blocks; None if it has none."""
    blocks = attention_blocks(teacher)
    if not blocks:
        return None
    kept = chosen_layers(layers, len(blocks), teacher.name)
    if len(kept) < len(blocks):
        check_can_be_left_out(teacher, blocks)
    begin = next(node for node in nodes(teacher) if node.operation is blocks[0].entry)
    hidden = begin.input_tensors[blocks[0].place].shape[-1]
    layer = blocks[0].layer
    changed = sizes.of(teacher, {**(layer.get_config() if layer else {}), "hidden_dim": hidden})

    # A layer may also have been called in other models, which its own `output` does not distinguish.
    ranks = {id(node.operation): len(node.outputs[0].shape) for node in nodes(teacher)}

    def made_like(operation):
        of_tokens = ranks.get(id(operation)) == 3
        config = _resized(trainable_config(operation), hidden, changed, of_tokens)
        return remade(operation, config)

    student, pairs = without_blocks(teacher, blocks, kept, made_like)
    narrowing = Narrowing(teacher, changed)
    for old, new in pairs:
        if getattr(old, "weights", ()):
            narrowing.copy(old, new)
    return _Made(student, kept, narrowing)


def _resized(config, hidden, changed, of_tokens):
    """The config of a layer for hidden states of another size."""
    if not changed:
        return config
    own = {key: changed[key] for key in ("num_heads", "intermediate_dim") if key in config}
    for key in ("output_dim", "embedding_dim"):
        if config.get(key) == hidden:
            own[key] = changed["hidden_dim"]
    for key, value in config.items():
        # For decoders, which store the shape they were built for.
        if key.endswith("sequence_shape") and value:
            own[key] = (*value[:-1], changed["hidden_dim"])
    # Such as the layer before logits of the vocabulary; outputs keep their size.
    if of_tokens and config.get("units") == hidden:
        own["units"] = changed["hidden_dim"]
    return {**config, **own}


def _of_nested(teacher, layers, sizes):
    """A functional model with one nested network of blocks, which is made smaller."""
    found = [each for each in teacher.layers if isinstance(each, keras.Model) and _has_blocks(each)]
    if len(found) != 1:
        raise ValueError(
            "`teacher` must have attention layers with residual connections, or one nested network of "
            f"them. Received: {teacher.name!r} with {len(found)} such networks. For other networks: "
            "tfkd.students.scale_depth."
        )
    made = _made(found[0], layers, sizes)
    made.student.name = found[0].name
    pairs = []

    def cloned(operation):
        if operation is found[0]:
            return made.student
        clone = remade(operation, trainable_config(operation))
        pairs.append((operation, clone))
        return clone

    student = cloned_model(teacher, clone_function=cloned)
    for old, new in pairs:
        if getattr(old, "weights", ()):
            made.narrowing.copy(old, new)
    return made._replace(student=student)


def _has_blocks(model):
    return _is_of_hub(model, "Backbone") or (has_graph(model) and bool(attention_blocks(model)))
