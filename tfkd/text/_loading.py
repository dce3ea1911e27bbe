"""Text models from Hugging Face folders."""

import os
import re
import tempfile
import warnings
from typing import Any, NamedTuple

import keras

from tfkd._core import extras
from tfkd._core.token_marks import mark_tokenizer
from tfkd.text._checkpoints import Checkpoint
from tfkd.text._exact_gelu import approximate_blocks, exact_gelu
from tfkd.text._tokenizer import Tokenizer
from tfkd.text._tokenizer_files import read_json

_LONGEST = 128
_EXACT, _APPROXIMATE = ("gelu", "gelu_python"), ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
_ACTIVATIONS = ("hidden_act", "activation_function", "activation")


class Loaded(NamedTuple):
    """The network and tokenizer of a text model.

    Attributes:
        backbone: a keras-hub backbone.
        tokenizer: a `tfkd.text.Tokenizer`.
    """

    backbone: keras.Model
    tokenizer: Tokenizer


def load(folder: str | os.PathLike, max_length: int | None = None) -> Loaded:
    """Loads the network and the tokenizer of a Hugging Face folder.

    keras-hub creates the network: BERT, RoBERTa, DistilBERT, ALBERT, GPT-2, Llama, Gemma and others it can
    convert. GELU is exact if the checkpoint's is. Heads in the checkpoint are ignored. Nothing in the
    folder is executed: weights are read from `.safetensors` only.

    Args:
        folder: a folder with `config.json`, `model.safetensors` and the files of a tokenizer.
        max_length: number of tokens at which texts are truncated; None for 128, or the network's number of
            positions if smaller.

    Returns:
        A tuple `(backbone, tokenizer)`.

    Raises:
        ImportError: if keras-hub or the `tokenizers` library is missing; the message says what to install.
        ValueError: if the folder has no config, weights or tokenizer, keras-hub does not support the kind
            of model, or tensors are missing or have other names; the message names them.

    Example:
        >>> backbone, tokenizer = tfkd.text.load("all-MiniLM-L6-v2")
        >>> encoder = tfkd.text.sentence_encoder(backbone)
        >>> embeddings = encoder.predict(tokenizer(["a film", "a movie"]))
    """
    hub = extras.require("keras_hub", "text", "Loading a text model")
    folder = os.fspath(folder)
    config = _configuration(folder)
    checkpoint = Checkpoint(folder)
    checkpoint.check_sizes(config)
    # Checked before the weights, which take longer.
    tokenizer = Tokenizer(folder)
    backbone = _backbone(hub, folder, config, checkpoint)
    _check_depth(backbone, checkpoint, folder)
    backbone = _with_activation_of(config, backbone, folder)
    _add_only_segment(backbone, checkpoint)
    tokenizer.max_length = _max_length(max_length, backbone)
    _check_vocabulary(tokenizer, backbone, folder)
    return Loaded(mark_tokenizer(backbone, tokenizer.fingerprint), tokenizer)


def _configuration(folder):
    if not os.path.isdir(folder):
        raise ValueError(
            f"`folder` must be a folder. Received: {folder!r}. Download a model from the Hugging Face Hub "
            "first: huggingface-cli download NAME --local-dir FOLDER."
        )
    config = read_json(os.path.join(folder, "config.json"))
    if config is None or not isinstance(config.get("model_type"), str) or "registered_name" in config:
        raise ValueError(
            f"`folder`: {folder!r} has no config.json with a `model_type`, as in Hugging Face models. "
            "Models saved by keras-hub are read by keras_hub.models.Backbone.from_preset(folder)."
        )
    if (kind := config.get("position_embedding_type", "absolute")) != "absolute":
        raise ValueError(
            f"`folder`: {folder!r} has position_embedding_type={kind!r}, which keras-hub would read as "
            "'absolute'. Choose another checkpoint."
        )
    return config


def _backbone(hub, folder, config, checkpoint):
    """The network converted by keras-hub, from a copy if names must be changed."""
    with tempfile.TemporaryDirectory() as copy:
        readable = checkpoint.readable(config["model_type"], config.get("hidden_size"), copy)
        try:
            backbone = hub.models.Backbone.from_preset(readable)
        # Converters raise many kinds of errors: names, shapes, config options.
        except Exception as error:
            raise ValueError(_why(error, folder, config, checkpoint)) from error
    if "token_ids" not in {tensor.name for tensor in backbone.inputs}:
        raise ValueError(
            f"`folder`: {folder!r} contains a {type(backbone).__name__}, which does not take token ids. "
            "Choose a text model."
        )
    return backbone


def _why(error, folder, config, checkpoint):
    kind = config["model_type"]
    begin = f"`folder`: the {kind!r} model of {folder!r} cannot be loaded"
    if "no converter" in str(error):
        return (
            f"{begin}: keras-hub has no converter for this `model_type`. It has them for 'bert', "
            "'roberta', 'distilbert', 'albert', 'gpt2', 'llama', 'gemma' and others."
        )
    if isinstance(error, KeyError):
        return f"{begin}: its config.json has no {error.args[0]!r}. Copy it again from its source."
    if missing := re.search(r"tensor[ '\"]+([\w.]+)", str(error)):
        name = missing[1]
        close = checkpoint.close_to(name)
        return (
            f"{begin}: its weights lack the tensor {name!r}. It has {len(checkpoint.shapes)} tensors, such "
            f"as {', '.join(close)}. Save it as the model in config.json, with transformers: "
            "AutoModel.from_pretrained(name).save_pretrained(folder)."
        )
    shown = f"{type(error).__name__}: {str(error)[:300]}"
    return f"{begin}: {shown}. Check that config.json belongs to the weights."


def _check_depth(backbone, checkpoint, folder):
    """Layers beyond the count in the config would silently be ignored."""
    stored = checkpoint.number_of_layers()
    if stored is not None and stored != (expected := getattr(backbone, "num_layers", stored)):
        raise ValueError(
            f"`folder`: the weights of {folder!r} have {stored} layers, but its config.json has "
            f"{expected}. Copy both from the same source."
        )


def _with_activation_of(config: dict[str, Any], backbone, folder):
    said = next((config[key] for key in _ACTIVATIONS if isinstance(config.get(key), str)), None)
    approximate = bool(approximate_blocks(backbone))
    if said in _EXACT:
        return exact_gelu(backbone) if approximate else backbone
    has_gelu = approximate or any(
        getattr(layer, "activation", None) is keras.activations.gelu for layer in backbone.layers
    )
    if has_gelu and said is not None and not (approximate and said in _APPROXIMATE):
        raise ValueError(
            f"`folder`: the model of {folder!r} has the activation {said!r}, but keras-hub's "
            f"{type(backbone).__name__} computes {'an approximate' if approximate else 'an exact'} GELU. "
            "Choose another checkpoint."
        )
    epsilon = config.get("layer_norm_eps")
    own = next((layer.epsilon for layer in backbone.layers if hasattr(layer, "epsilon")), None)
    if epsilon is not None and own is not None and epsilon > 10 * max(own, 1e-6):
        warnings.warn(
            f"The model of {folder!r} was trained with layer_norm_eps={epsilon}; keras-hub uses {own}.",
            stacklevel=3,
        )
    return backbone


def _add_only_segment(backbone, checkpoint):
    """Adds RoBERTa's only segment embedding, which keras-hub omits, to all position embeddings."""
    segments = checkpoint.tensor("embeddings.token_type_embeddings.weight")
    if (
        "segment_ids" in {tensor.name for tensor in backbone.inputs}
        or segments is None
        or len(segments) != 1
    ):
        return
    positions = backbone.embeddings.position_embedding.position_embeddings
    positions.assign(positions + segments)


def _max_length(max_length, backbone):
    positions = getattr(backbone, "max_sequence_length", None)
    if max_length is None:
        return min(_LONGEST, positions or _LONGEST)
    if positions is not None and max_length > positions:
        raise ValueError(
            f"`max_length` must be at most {positions}, the network's number of positions. Received: "
            f"max_length={max_length}."
        )
    return max_length


def _check_vocabulary(tokenizer, backbone, folder):
    if len(tokenizer.vocabulary) > (rows := backbone.vocabulary_size):
        raise ValueError(
            f"`folder`: the tokenizer of {folder!r} has {len(tokenizer.vocabulary)} tokens, but its "
            f"network has embeddings for {rows}. Copy both from the same source."
        )
