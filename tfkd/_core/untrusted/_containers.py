"""Checks zip, HDF5 and npz files without unpacking them."""

import io
import json
import math
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from typing import Any, BinaryIO

import h5py
import numpy as np

from tfkd._core.untrusted import _hdf5_trial
from tfkd._core.untrusted._limits import check_size, size_limit
from tfkd._core.untrusted._messages import refusal

CONFIGURATION = "config.json"
METADATA = "metadata.json"
WEIGHTS = "model.weights.h5"
_AGAIN = "Save the model again, or ask for a new copy."
_MOST_ENTRIES = 100_000
# Far longer than reading takes.
_LEAST_SECONDS, _BYTES_A_SECOND = 10, 5e6


def check_archive(path: str, what: str) -> None:
    """Rejects a zip file that is not as Keras writes it, or that is too large once unpacked.

    Args:
        path: the file.
        what: the argument and the file, for the message.

    Raises:
        ValueError: if it is damaged, has entries that point outside the archive, or is too large.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise refusal(what, "is damaged: there is data before the archive.", _AGAIN)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise refusal(what, f"is damaged: {error}.", _AGAIN) from error
    check_size(what, sum(entry.file_size for entry in entries))
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise refusal(what, "is damaged or not genuine: two of its entries have the same name.", _AGAIN)
    for entry in entries:
        parts = entry.filename.replace("\\", "/").split("/")
        linked = stat.S_ISLNK(entry.external_attr >> 16)
        if linked or ".." in parts or parts[0] == "" or ":" in parts[0]:
            reason = f"is not genuine: its entry {entry.filename[:80]!r} points outside the archive."
            raise refusal(what, reason, _AGAIN)


def read_configuration(path: str, what: str) -> Any:
    """The configuration in a `.keras` file.

    Raises:
        ValueError: if it is missing or cannot be read.
    """
    return _read_json(path, CONFIGURATION, what)


def read_metadata(path: str, what: str) -> Any:
    """The metadata in a `.keras` file, such as the version of Keras that wrote it; {} if there is none.

    Raises:
        ValueError: if it cannot be read.
    """
    return _read_json(path, METADATA, what, missing={})


def _read_json(path, name, what, missing=None):
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(name)
    except KeyError:
        if missing is not None:
            return missing
        raise refusal(what, f"cannot be loaded as a Keras model: it lacks {name}.", _AGAIN) from None
    except Exception as error:
        raise refusal(what, f"is damaged: {error}", _AGAIN) from error
    return _parsed(text, what)


def check_hdf5_entry(path: str, what: str) -> int:
    """Checks the weights in a `.keras` file, as `check_hdf5` does.

    Returns:
        The size of its weights in bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if WEIGHTS not in archive.namelist():
                raise refusal(what, f"cannot be loaded as a Keras model: it lacks {WEIGHTS}.", _AGAIN)
            with archive.open(WEIGHTS) as entry:
                content = io.BytesIO(entry.read())
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise refusal(what, f"is damaged: {error}", _AGAIN) from error
    return check_hdf5(content, what)


def check_hdf5_can_be_read(path: str, what: str) -> None:
    """Rejects an HDF5 file that would crash the HDF5 library, or make it hang.

    Raises:
        ValueError: if reading the file in a separate process crashes or does not end.
    """
    command = [sys.executable, "-I", _hdf5_trial.__file__, path, str(size_limit())]
    seconds = _LEAST_SECONDS + os.path.getsize(path) / _BYTES_A_SECOND
    try:
        ended = subprocess.run(command, capture_output=True, timeout=seconds).returncode >= 0
    except subprocess.TimeoutExpired:
        ended = False
    if not ended:
        raise refusal(what, "is damaged: the HDF5 library crashes or hangs on it.", _AGAIN)


def check_hdf5(file: str | BinaryIO, what: str) -> int:
    """Rejects an HDF5 file that reads other files, or that is too large once unpacked.

    Args:
        file: the file, or its name.
        what: the argument and the file, for the message.

    Returns:
        The size of its arrays in bytes.

    Raises:
        ValueError: if it is damaged, has links or arrays that point to other files, or is too large.
    """
    try:
        with h5py.File(file, "r") as opened:
            return _check_groups(opened, what)
    except ValueError:
        raise
    except Exception as error:
        raise refusal(what, f"is damaged: {error}", _AGAIN) from error


def _check_groups(opened, what):
    size, seen, pending = 0, set(), [opened]
    while pending:
        group = pending.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise refusal(what, f"is not genuine: its entry {name[:80]!r} is a link.", _AGAIN)
            part = group[name]
            identity = h5py.h5o.get_info(part.id).addr
            if identity in seen:
                continue
            seen.add(identity)
            if len(seen) > _MOST_ENTRIES:
                raise refusal(what, f"is not genuine: it has more than {_MOST_ENTRIES} arrays.", _AGAIN)
            if isinstance(part, h5py.Group):
                pending.append(part)
            elif isinstance(part, h5py.Dataset):
                size += _size_of(part, what)
                check_size(what, size)
    return size


def _size_of(array, what):
    if array.is_virtual or array.external:
        raise refusal(what, f"is not genuine: its array {array.name[:80]!r} reads another file.", _AGAIN)
    if array.dtype.kind not in "biufcSUV" and h5py.check_string_dtype(array.dtype) is None:
        reason = f"is not genuine: its array {array.name[:80]!r} is of type {array.dtype}."
        raise refusal(what, reason, _AGAIN)
    return math.prod(array.shape or ()) * array.dtype.itemsize


def read_hdf5_configuration(path: str, what: str) -> Any:
    """The configuration in an `.h5` file; None if it holds weights only.

    Raises:
        ValueError: if it cannot be read.
    """
    text = _attribute(path, "model_config", what)
    return None if text is None else _parsed(text, what)


def hdf5_version(path: str, what: str) -> str:
    """The version of Keras that wrote an `.h5` file; "" if the file does not record it.

    Raises:
        ValueError: if it cannot be read.
    """
    version = _attribute(path, "keras_version", what)
    return version.decode("ascii", "replace") if isinstance(version, bytes) else str(version or "")


def _attribute(path, name, what):
    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get(name)
    except Exception as error:
        raise refusal(what, f"is damaged: {error}.", _AGAIN) from error


def _parsed(text, what):
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise refusal(
            what, f"is damaged: its description of the model cannot be read ({error}).", _AGAIN
        ) from error


def check_arrays(path: str, what: str, names: Iterable[str]) -> None:
    """Rejects an npz file whose arrays are too large once unpacked.

    Args:
        path: the file.
        what: the argument and the file, for the message.
        names: the names of the arrays that will be read.

    Raises:
        ValueError: if they are too large by the archive or by their own headers.
    """
    with zipfile.ZipFile(path) as archive:
        for name in names:
            entry = f"{name}.npy"
            if entry in archive.namelist():
                check_size(what, archive.getinfo(entry).file_size, f"{name} has")
                with archive.open(entry) as file:
                    check_size(what, _size_in_header(file), f"{name} has")


def check_array(path: str, what: str) -> None:
    """Rejects an npy file whose array is too large, by its header.

    Raises:
        ValueError: if it is too large, or is not an npy file.
    """
    with open(path, "rb") as file:
        check_size(what, _size_in_header(file), "it has")


def _size_in_header(file):
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return math.prod(shape) * dtype.itemsize


def check_folder_size(path: str, what: str) -> None:
    """Rejects a folder whose files are too large together."""
    files = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    check_size(what, sum(os.path.getsize(file) for file in files))
