"""Packs text files into TFLite files, which can also be zip archives."""

import io
import zipfile
from collections.abc import Mapping, Sequence


def with_files(content: bytes, files: Mapping[str, Sequence[str]]) -> bytes:
    """Appends text files to a TFLite file, in the way that TFLite packs associated files.

    Args:
        content: a TFLite file.
        files: lines by file name.

    Returns:
        A TFLite file. The packed files are not compressed, as readers on phones require.
    """
    if not files:
        return content
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name, lines in files.items():
            # Without a time stamp, so that the file is reproducible.
            archive.writestr(zipfile.ZipInfo(name), "".join(f"{line}\n" for line in lines))
    return buffer.getvalue()


def read_lines(content: bytes, name: str) -> list[str]:
    """The lines of a text file packed into a TFLite file.

    Raises:
        BadZipFile: if no files are packed into it.
        KeyError: if there is no such file in it.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(name).decode().split("\n")[:-1]
