"""Writing files whole or not at all."""

import contextlib
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np

# `.student-ab_c12d3.keras`, as `tempfile` chooses letters.
_TEMPORARY = re.compile(r"\.(?P<stem>[^.]+)-[a-z0-9_]{8}(?P<ending>\..*)?")


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
    """Gives a temporary name beside `path`, and renames it to `path` once the block succeeds.

    Args:
        path: the file to write; its folder is made if need be.

    Returns:
        A context manager that yields the temporary name, with the same ending as `path`.

    Raises:
        OSError: if the folder cannot be written or the disk is full; `path` is then as it was, and
            the message names it.

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
    """Raises ValueError for a whole model in the older format, which knows Keras's classes only.

    Args:
        path: where a model is to be saved.
        what: the model, in words.
        remedy: what else to save.
    """
    if os.fspath(path).endswith((".h5", ".hdf5")):
        raise ValueError(
            f"`filepath`: {what} cannot be read back from {os.fspath(path)!r}, since .h5 files know "
            f"Keras's own classes only. Save it as .keras, or {remedy}."
        )


def temporary_of(name: str) -> str | None:
    """The name of the file that a temporary one of `replacing` was to become; None for other files."""
    match = _TEMPORARY.fullmatch(name)
    return match and match["stem"] + (match["ending"] or "")


def write_arrays(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an npz file of arrays under any name; `numpy.savez` cannot take one called "file"."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file whole or not at all."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Writes a binary file whole or not at all."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(data)
