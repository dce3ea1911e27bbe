"""Text files packed into a TFLite file, which is a zip archive, too."""

import io
import zipfile
from collections.abc import Mapping, Sequence


def with_files(content: bytes, files: Mapping[str, Sequence[str]]) -> bytes:
    """The file with text files behind it, as TFLite packs associated files.

    Args:
        content: a TFLite file.
        files: lines by the name of their file.

    Returns:
        A TFLite file. What is packed into it is not compressed, which the readers of phones ask for.
    """
    if not files:
        return content
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name, lines in files.items():
            # Without a time stamp, so that the file is the same each time.
            archive.writestr(zipfile.ZipInfo(name), "".join(f"{line}\n" for line in lines))
    return buffer.getvalue()


def read_lines(content: bytes, name: str) -> list[str]:
    """The lines of a file that is packed into a TFLite file.

    Raises:
        BadZipFile: if nothing is packed into it.
        KeyError: if no such file is.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(name).decode().split("\n")[:-1]
