"""The weights of a Hugging Face folder, without reading whole files."""

import difflib
import json
import math
import os
import re
import shutil
import struct
import warnings
from typing import Any

import numpy as np

from tfkd._core import extras
from tfkd.text._tokenizer_files import read_json

_WEIGHTS, _INDEX, _OLD = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
# Name prefixes that keras-hub's converters expect; networks saved without a head lack them.
_PREFIXES = {"distilbert": "distilbert.", "roberta": "roberta.", "albert": "albert."}
_POOLERS = {"bert": "pooler.dense", "albert": "pooler"}
_HIDDEN = ("hidden_size", "dim", "n_embd")
_ROWS = ("vocab_size", "intermediate_size", "hidden_dim", "max_position_embeddings", "n_positions")
_LONGEST_HEADER = 100_000_000
_SAFE = (
    "Write them as .safetensors with transformers: AutoModel.from_pretrained(name).save_pretrained(folder, "
    "safe_serialization=True)."
)


class Checkpoint:
    """The tensors of a folder's `.safetensors` files.

    Args:
        folder: a folder with `model.safetensors`, or several files and their index.

    Attributes:
        shapes: dict of tuples, the shape of each tensor by its name.

    Raises:
        ValueError: if there are none, or a file is damaged.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        index = read_json(os.path.join(folder, _INDEX))
        places = index.get("weight_map") if index is not None else {"": _WEIGHTS}
        if not isinstance(places, dict):
            raise ValueError(f"`folder`: {_INDEX!r} of {folder!r} has no `weight_map`. Copy it again.")
        names = sorted(set(map(str, places.values())))
        self._single = index is None
        for name in names:
            if os.path.basename(name) != name or not os.path.isfile(os.path.join(folder, name)):
                there = _OLD in os.listdir(folder)
                old = f"{_OLD} is a pickle, which can run code, so it is not read. " if there else ""
                raise ValueError(f"`folder`: {folder!r} has no weights in {name!r}. {old}{_SAFE}")
        self.shapes, self._files = {}, {}
        for path in (os.path.join(folder, name) for name in names):
            for tensor, entry in _header(path).items():
                if tensor != "__metadata__":
                    self.shapes[tensor], self._files[tensor] = tuple(entry["shape"]), path

    def check_sizes(self, config: dict[str, Any]) -> None:
        """Rejects a config with larger tensors than the file has, before memory is allocated.

        Raises:
            ValueError: naming the option.
        """
        hidden = next((config[key] for key in _HIDDEN if isinstance(config.get(key), int)), 1)
        stored = sum(math.prod(shape) for shape in self.shapes.values())
        for key in _ROWS:
            rows = config.get(key)
            if isinstance(rows, int) and rows * hidden > stored:
                raise ValueError(
                    f"`folder`: config.json of {self._folder!r} has {key}={rows} for hidden states of size "
                    f"{hidden}, but its weights have only {stored} numbers in all. Copy both from the same "
                    "source."
                )

    def tensor(self, ending: str) -> np.ndarray | None:
        """The only tensor whose name ends in `ending`, in float32; None if there is none, or several."""
        names = [name for name in self.shapes if name.endswith(ending)]
        if len(names) != 1:
            return None
        library = extras.require("safetensors", "text", "Loading a text model")
        with library.safe_open(self._files[names[0]], framework="numpy") as file:
            return np.asarray(file.get_tensor(names[0]), "float32")

    def close_to(self, name: str, count: int = 5) -> list[str]:
        """The tensor names most similar to a given name."""
        ending = name.rsplit(".", 2)[-2:]
        close = difflib.get_close_matches(name, self.shapes, n=count, cutoff=0.3)
        alike = [each for each in self.shapes if each.split(".")[-2:] == ending and each not in close]
        return (close + alike)[:count] or list(self.shapes)[:count]

    def number_of_layers(self) -> int | None:
        """The number of layers in the tensor names; None if there are none, or layers share weights."""
        found = [re.match(r"(?:[\w]+\.)*?(?:layer|layers|h)\.(\d+)\.", name) for name in self.shapes]
        numbers = [int(each[1]) for each in found if each]
        return max(numbers) + 1 if numbers else None

    def readable(self, model_type: str, hidden_dim: Any, copy: str) -> str:
        """A folder in which keras-hub finds all tensors it needs.

        Names get the prefix that they have under a head. A missing pooler, as in language models, is filled
        with zeros, with a warning.

        Args:
            model_type: the type in `config.json`.
            hidden_dim: size of the hidden states in `config.json`.
            copy: an empty folder, filled if names must be changed.

        Returns:
            The checkpoint's own folder, or `copy`.
        """
        prefix, pooler = _PREFIXES.get(model_type, ""), _POOLERS.get(model_type, "")
        if any(name.startswith(prefix) for name in self.shapes):
            prefix = ""
        added = {}
        if pooler and isinstance(hidden_dim, int) and not any(pooler in name for name in self.shapes):
            pooler = _PREFIXES.get(model_type, "") + pooler
            added = {f"{pooler}.weight": [hidden_dim, hidden_dim], f"{pooler}.bias": [hidden_dim]}
            warnings.warn(
                f"The checkpoint {self._folder!r} has no pooler: `pooled_output` is zeros until it is "
                "trained. Models of tfkd.text do not use it.",
                stacklevel=4,
            )
        if not self._single or not (prefix or added):
            return self._folder
        for name in os.listdir(self._folder):
            path = os.path.join(self._folder, name)
            if name.endswith((".json", ".txt", ".model")) and os.path.isfile(path):
                shutil.copyfile(path, os.path.join(copy, name))
        _rewrite(os.path.join(self._folder, _WEIGHTS), os.path.join(copy, _WEIGHTS), prefix, added)
        return copy


def _header(path):
    """The header of a `.safetensors` file: types, shapes and offsets of its tensors."""
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(_LONGEST_HEADER, os.path.getsize(path)):
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
            for name, entry in header.items():
                if name != "__metadata__":
                    tuple(entry["shape"])
        return header
    except (ValueError, struct.error, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"`folder`: {path!r} is not a .safetensors file: {error}. Copy it again."
        ) from error


def _rewrite(source, target, prefix, added):
    """Writes a `.safetensors` file with a prefix on all names, and with zero tensors added."""
    header = _header(source)
    found = {prefix + name: entry for name, entry in header.items() if name != "__metadata__"}
    size = begin = max((entry["data_offsets"][1] for entry in found.values()), default=0)
    for name, shape in added.items():
        end = size + 4 * math.prod(shape)
        found[name] = {"dtype": "F32", "shape": shape, "data_offsets": [size, end]}
        size = end
    text = json.dumps(found).encode()
    text += b" " * (-len(text) % 8)
    with open(source, "rb") as old, open(target, "wb") as new:
        (length,) = struct.unpack("<Q", old.read(8))
        old.seek(8 + length)
        new.write(struct.pack("<Q", len(text)) + text)
        shutil.copyfileobj(old, new)
        new.write(bytes(size - begin))
