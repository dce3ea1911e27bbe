"""Text models of Hugging Face folders."""

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
    """A text model's network and its tokenizer.

    Attributes:
        backbone: a backbone of keras-hub.
        tokenizer: a `tfkd.text.Tokenizer`.
    """

    backbone: keras.Model
    tokenizer: Tokenizer


def load(folder: str | os.PathLike, max_length: int | None = None) -> Loaded:
    """The network and the tokenizer of a Hugging Face folder.

    keras-hub makes the network: BERT, RoBERTa, DistilBERT, ALBERT, GPT-2, Llama, Gemma and what else it
    converts. A GELU is exact where the checkpoint's is. Heads that a checkpoint has besides are not taken.
    Nothing in the folder is run: weights are read from `.safetensors` only.

    Args:
        folder: with `config.json`, `model.safetensors` and the files of a tokenizer.
        max_length: tokens at which texts are cut; None for 128, or for what the network has positions for
            where that is less.

    Returns:
        A tuple `(backbone, tokenizer)`.

    Raises:
        ImportError: if keras-hub or the `tokenizers` library is missing; says what to install.
        ValueError: if the folder has no configuration, weights or tokenizer, if keras-hub does not know the
            kind of model, or tensors are missing or called otherwise; names them.

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
    # Before the weights, which take longer.
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
            f"`folder` must be a folder. Received: {folder!r}. A model of the Hugging Face hub has to be "
            "there first: huggingface-cli download NAME --local-dir FOLDER."
        )
    config = read_json(os.path.join(folder, "config.json"))
    if config is None or not isinstance(config.get("model_type"), str) or "registered_name" in config:
        raise ValueError(
            f"`folder`: {folder!r} has no config.json with a `model_type`, as Hugging Face's models have. "
            "Models that keras-hub has saved are read by keras_hub.models.Backbone.from_preset(folder)."
        )
    if (kind := config.get("position_embedding_type", "absolute")) != "absolute":
        raise ValueError(
            f"`folder`: {folder!r} has position_embedding_type={kind!r}, which keras-hub would take for "
            "'absolute'. Choose another checkpoint."
        )
    return config


def _backbone(hub, folder, config, checkpoint):
    """The network as keras-hub converts it, from a copy if names have to be changed."""
    with tempfile.TemporaryDirectory() as copy:
        readable = checkpoint.readable(config["model_type"], config.get("hidden_size"), copy)
        try:
            backbone = hub.models.Backbone.from_preset(readable)
        # Converters raise whatever comes up: names, shapes, options of the configuration.
        except Exception as error:
            raise ValueError(_why(error, folder, config, checkpoint)) from error
    if "token_ids" not in {tensor.name for tensor in backbone.inputs}:
        raise ValueError(
            f"`folder`: {folder!r} holds a {type(backbone).__name__}, which does not read token ids. "
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
        return f"{begin}: its config.json has no {error.args[0]!r}. Copy it again from where it comes from."
    if missing := re.search(r"tensor[ '\"]+([\w.]+)", str(error)):
        name = missing[1]
        close = checkpoint.close_to(name)
        return (
            f"{begin}: its weights lack the tensor {name!r}. It has {len(checkpoint.shapes)} tensors, "
            f"such as {', '.join(close)}. Save it as the model that config.json says, with transformers: "
            "AutoModel.from_pretrained(name).save_pretrained(folder)."
        )
    shown = f"{type(error).__name__}: {str(error)[:300]}"
    return f"{begin}: {shown}. Check that config.json belongs to the weights."


def _check_depth(backbone, checkpoint, folder):
    """Layers that the configuration does not count would silently be left out."""
    stored = checkpoint.number_of_layers()
    if stored is not None and stored != (expected := getattr(backbone, "num_layers", stored)):
        raise ValueError(
            f"`folder`: the weights of {folder!r} have {stored} layers, and its config.json says "
            f"{expected}. Copy both from the same place."
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
            f"`folder`: the model of {folder!r} has the activation {said!r}, and keras-hub's "
            f"{type(backbone).__name__} computes {'an approximated' if approximate else 'an exact'} GELU. "
            "Choose another checkpoint."
        )
    epsilon = config.get("layer_norm_eps")
    own = next((layer.epsilon for layer in backbone.layers if hasattr(layer, "epsilon")), None)
    if epsilon is not None and own is not None and epsilon > 10 * max(own, 1e-6):
        warnings.warn(
            f"The model of {folder!r} was trained with layer_norm_eps={epsilon}; keras-hub's has {own}.",
            stacklevel=3,
        )
    return backbone


def _add_only_segment(backbone, checkpoint):
    """RoBERTa has one segment, whose embedding keras-hub leaves out: it goes to those of all positions."""
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
            f"`max_length` must be at most {positions}, for which the network has positions. Received: "
            f"max_length={max_length}."
        )
    return max_length


def _check_vocabulary(tokenizer, backbone, folder):
    if len(tokenizer.vocabulary) > (rows := backbone.vocabulary_size):
        raise ValueError(
            f"`folder`: the tokenizer of {folder!r} has {len(tokenizer.vocabulary)} tokens, and its "
            f"network embeddings of {rows}. Copy both from the same place."
        )
