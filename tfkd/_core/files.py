"""Writes files completely or not at all."""

import contextlib
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np

# `.student-ab_c12d3.keras`; `tempfile` chooses the letters.
_TEMPORARY = re.compile(r"\.(?P<stem>[^.]+)-[a-z0-9_]{8}(?P<ending>\..*)?")


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
    """Yields a temporary file name next to `path`, and renames the file to `path` if the block succeeds.

    Args:
        path: the file to write; its folder is created if necessary.

    Returns:
        A context manager that yields the temporary name, with the same extension as `path`.

    Raises:
        OSError: naming `path`, if the folder is not writable or the disk is full; `path` is then
            unchanged.

    Example:
        >>> with replacing("student.keras") as temporary:
        ...     student.save(temporary)
    """
    path = os.fspath(path)
    folder, name = os.path.split(os.path.abspath(path))
    temporary = None
    try:
        os.makedirs(folder, exist_ok=True)
        stem, dot, ending = name.partition(".")
        handle, temporary = tempfile.mkstemp(dot + ending, f".{stem}-", folder)
        os.close(handle)
        yield temporary
        # mkstemp's files are private; give the ordinary permissions of a new file.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(error.errno, f"Cannot write {path!r} ({reason}); nothing was changed") from error
    finally:
        if temporary and os.path.exists(temporary):
            os.remove(temporary)


def check_not_hdf5(path: str | os.PathLike, what: str, remedy: str) -> None:
    """Raises ValueError if a whole model would be saved as HDF5, which supports Keras's own classes only.

    Args:
        path: where the model is to be saved.
        what: the model, in words.
        remedy: what to save instead.
    """
    if os.fspath(path).endswith((".h5", ".hdf5")):
        raise ValueError(
            f"`filepath`: {what} could not be loaded again from {os.fspath(path)!r}, since .h5 files "
            f"support Keras's own classes only. Save it as .keras, or {remedy}."
        )


def temporary_of(name: str) -> str | None:
    """The final name of a temporary file made by `replacing`; None for other files."""
    match = _TEMPORARY.fullmatch(name)
    return match and match["stem"] + (match["ending"] or "")


def write_arrays(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays to an npz file under any names; `numpy.savez` does not accept the name "file"."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file completely or not at all."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Writes a binary file completely or not at all."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(data)
