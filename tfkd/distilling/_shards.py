"""Shards of a cache: runs of consecutive examples, in memory or in one file each."""

import functools
import json
import os
import zipfile
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from tfkd._core import files
from tfkd._core.checks import check_int
from tfkd._core.untrusted import check_arrays
from tfkd.distilling._cached_rows import Arrays

_INDEX = "index.json"
# Two, since a batch may start in one shard and end in the next.
_OPEN = 2


class Shards(Protocol):
    """A store of shards, by their numbers.

    Attributes:
        size: the number of examples in a shard; the last one may have fewer.
        examples: the total number of examples; None until all have been seen.
    """

    size: int
    examples: int | None

    def __contains__(self, number: int) -> bool: ...

    def write(self, number: int, arrays: Arrays) -> None:
        """Stores a shard."""

    def read(self, number: int) -> Arrays:
        """Returns a stored shard."""
        ...

    def finish(self, examples: int) -> None:
        """Records that all examples have been seen."""


class ShardsInMemory:
    """Shards in memory.

    Args:
        size: the number of examples in a shard.
    """

    def __init__(self, size: int) -> None:
        self.size: int = size
        self.examples: int | None = None
        self._shards: dict[int, Arrays] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._shards

    def write(self, number: int, arrays: Arrays) -> None:
        self._shards[number] = arrays

    def read(self, number: int) -> Arrays:
        return self._shards[number]

    def finish(self, examples: int) -> None:
        self.examples = examples


class ShardFolder:
    """Shards in a folder: an npz file for each, written completely or not at all, and an index file.

    Several processes may read and write different shards of one folder at the same time.

    Args:
        path: the folder.
        description: the settings that the shards depend on, which must be the same when they are reused.
        size: the number of examples per shard in a new folder.
        check: raises ValueError if arrays from a file do not form a shard.

    Raises:
        ValueError: if the folder holds shards made with other settings.
    """

    def __init__(
        self, path: str, description: dict[str, Any], size: int, check: Callable[[Arrays], None]
    ) -> None:
        self._path, self._check = path, check
        self._description = json.loads(json.dumps(description))
        self.size: int = size
        self.examples: int | None = None
        self._read = functools.lru_cache(_OPEN)(self._read_file)
        if os.path.exists(self._file(_INDEX)):
            self._take_index()
        elif os.path.exists(self._file("progress.json")):
            raise self._unusable("they are in the format of an older version of tfkd")
        else:
            self._write_index()

    def _file(self, name):
        return os.path.join(self._path, name)

    def _unusable(self, reason):
        return ValueError(
            f"The outputs at {self._path!r} cannot be used: {reason}. Pass another `path`, or remove that "
            "folder."
        )

    def _take_index(self):
        try:
            with open(self._file(_INDEX), encoding="utf-8") as file:
                found = dict(json.load(file))
            for key, now in self._description.items():
                if found.get(key) != now:
                    raise self._unusable(f"their {key} is {found.get(key)!r}, but now it is {now!r}")
            self.size = check_int("shard_size", found["shard_size"])
            self.examples = found["examples"] and check_int("examples", found["examples"])
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise self._unusable(f"their {_INDEX} is damaged ({error})") from error

    def _write_index(self):
        index = {**self._description, "shard_size": self.size, "examples": self.examples}
        files.write_text(self._file(_INDEX), json.dumps(index, indent=1))

    def _shard(self, number):
        return self._file(f"{number:05}.npz")

    def __contains__(self, number: int) -> bool:
        return os.path.exists(self._shard(number))

    def write(self, number: int, arrays: Arrays) -> None:
        with files.replacing(self._shard(number)) as temporary:
            np.savez(temporary, **arrays)

    def read(self, number: int) -> Arrays:
        return self._read(number)

    def _read_file(self, number):
        path = self._shard(number)
        try:
            if not zipfile.is_zipfile(path):
                raise ValueError("it is not an npz file")
            with np.load(path, allow_pickle=False) as archive:
                check_arrays(path, f"{path!r}", archive.files)
                arrays = dict(archive)
            self._check(arrays)
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path!r} is damaged or does not hold these outputs: {error}. Remove that file and call "
                "tfkd.cache_teacher again to recompute it."
            ) from error
        return arrays

    def finish(self, examples: int) -> None:
        self.examples = examples
        self._write_index()
