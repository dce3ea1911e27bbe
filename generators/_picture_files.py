"""Pictures in files: those of a folder, and the photographs that ship with the library."""

import os
import pathlib

import numpy as np
import tensorflow as tf

SHIPPED = pathlib.Path(__file__).with_name("pictures")

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
# How files of these kinds begin.
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM")


def read_pictures(folder: str | os.PathLike | None = None, what: str = "pictures") -> list[np.ndarray]:
    """Decodes all pictures of a folder, in the order of their names.

    Args:
        folder: holds PNG, JPEG, GIF or BMP files, in folders of its own, too; of an animation the first
            picture is taken. None for the photographs that ship with the library.
        what: the argument or flag, for messages.

    Returns:
        uint8 arrays `(height, width, 3)`; grey pictures have three equal channels.

    Raises:
        ValueError: if there is no such folder, it has no pictures, or one of them cannot be decoded.

    Example:
        >>> {picture.shape[-1] for picture in read_pictures()}
        {3}
    """
    path = os.fspath(SHIPPED if folder is None else folder)
    if not os.path.isdir(path):
        raise ValueError(f"{what}: {path!r} is not a folder. Give the path of a folder of pictures.")
    return [_decoded(file, what) for file in pictures_in(path, what)]


def pictures_in(folder: str, what: str) -> list[str]:
    """The paths of all pictures in a folder, however deep, in sorted order.

    Raises:
        ValueError: if there are none, or a file is not a picture.
    """
    files = sorted(
        os.path.join(inside, name)
        for inside, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(ENDINGS)
    )
    if not files:
        raise ValueError(
            f"{what}: there is no image ({', '.join(ENDINGS)}) in {folder!r}. Put some there, or give "
            "another folder."
        )
    check_pictures(files, what)
    return files


def check_pictures(files: list[str], what: str) -> None:
    """Raises ValueError for what visibly is something else, which would only be noticed in training."""
    for path in files:
        with open(path, "rb") as file:
            if not file.read(8).startswith(_BEGINNINGS):
                raise ValueError(
                    f"{what}: {path!r} is not a PNG, JPEG, GIF or BMP image. Take it away, or save it "
                    "as one."
                )


def _decoded(path, what):
    try:
        return tf.io.decode_image(tf.io.read_file(path), 3, expand_animations=False).numpy()
    except tf.errors.OpError as error:
        raise ValueError(
            f"{what}: {path!r} cannot be decoded ({error.message}). Take it away, or save it again."
        ) from error
