"""Picture files: those in a folder, and the photographs shipped with the library."""

import base64
import os
import pathlib

import numpy as np
import tensorflow as tf

SHIPPED = pathlib.Path(__file__).with_name("pictures")

# Minimum length of a picture's shorter side in pixels, since smaller ones leave little to crop, and maximum
# length of its longer side, since more pixels do not improve crops.
LEAST, MOST = 32, 448
# More pictures would take more than about 400 MB.
_PICTURES = 256

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
# The first bytes of these kinds of files.
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM")


def read_pictures(folder: str | os.PathLike | None = None, what: str = "pictures") -> list[np.ndarray]:
    """Decodes all pictures in a folder, in the order of their names.

    Args:
        folder: a folder with PNG, JPEG, GIF or BMP files, also in subfolders; of an animation only the
            first picture is used. None for the photographs shipped with the library.
        what: the name of the argument or flag, for messages.

    Returns:
        uint8 arrays `(height, width, 3)` of at most 448 pixels a side; larger pictures are scaled down, and
        grey ones have three equal channels.

    Raises:
        ValueError: if the folder does not exist, if it contains no pictures or more than 256, or if one of
            them cannot be decoded or is smaller than 32 pixels.

    Example:
        >>> {picture.shape[-1] for picture in read_pictures()}
        {3}
    """
    path = os.fspath(SHIPPED if folder is None else folder)
    if not os.path.isdir(path):
        raise ValueError(f"{what}: {path!r} is not a folder. Pass the path of a folder of pictures.")
    files = pictures_in(path, what)
    if len(files) > _PICTURES:
        raise ValueError(
            f"{what}: at most {_PICTURES} pictures are held in memory. Received: {len(files)} in {path!r}. "
            "Pass a folder with fewer pictures."
        )
    return [_read(file, what) for file in files]


def pictures_in(folder: str, what: str) -> list[str]:
    """The sorted paths of all pictures in a folder and its subfolders.

    Raises:
        ValueError: if there are no pictures, or if a file with a picture's ending is not a picture.
    """
    files = sorted(
        os.path.join(inside, name)
        for inside, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(ENDINGS)
    )
    if not files:
        raise ValueError(
            f"{what}: there is no image ({', '.join(ENDINGS)}) in {folder!r}. Add some, or pass another "
            "folder."
        )
    check_pictures(files, what)
    return files


def check_pictures(files: list[str], what: str) -> None:
    """Raises ValueError for files that are not pictures, which training would notice only later."""
    for path in files:
        with open(path, "rb") as file:
            if not file.read(8).startswith(_BEGINNINGS):
                raise ValueError(
                    f"{what}: {path!r} is not a PNG, JPEG, GIF or BMP image. Remove it, or save it in one "
                    "of these formats."
                )


def _read(path, what):
    try:
        picture = _decoded(tf.io.read_file(path))
    except tf.errors.OpError as error:
        raise ValueError(
            f"{what}: {path!r} cannot be decoded ({error.message}). Remove it, or save it again."
        ) from error
    return as_picture(picture, f"{what}: {path!r}")


def _decoded(content):
    return tf.io.decode_image(content, 3, expand_animations=False).numpy()


def as_picture(picture: np.ndarray, what: str) -> np.ndarray:
    """A picture in colour, uint8 `(height, width, 3)`, of at most 448 pixels a side.

    Args:
        picture: uint8 `(height, width)`, `(height, width, 1)` or `(height, width, 3)`.
        what: a description of the picture, for messages.

    Raises:
        ValueError: if the dtype or shape does not match, or if it is smaller than 32 pixels a side.
    """
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or not (picture.ndim == 2 or picture.shape[2:] in ((1,), (3,))):
        raise ValueError(
            f"{what} must be uint8 (height, width), (height, width, 1) or (height, width, 3). Received: "
            f"{picture.dtype} {picture.shape}."
        )
    height, width = picture.shape[:2]
    if min(height, width) < LEAST:
        raise ValueError(
            f"{what} must have at least {LEAST} pixels a side. Received: {height} x {width}. Remove it, or "
            "pass a larger picture."
        )
    picture = np.broadcast_to(picture.reshape(height, width, -1), (height, width, 3))
    if max(height, width) <= MOST:
        return picture
    sides = [max(LEAST, round(side * MOST / max(height, width))) for side in (height, width)]
    return resized(picture, *sides)


def resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture resized without aliasing."""
    made = tf.image.resize(picture, (height, width), antialias=True)
    return np.clip(np.rint(made), 0, 255).astype("uint8")


def as_text(picture: np.ndarray) -> str:
    """A picture as text for JSON: a high-quality JPEG in base 64."""
    content = tf.io.encode_jpeg(picture, quality=95, chroma_downsampling=False).numpy()
    return base64.b64encode(content).decode("ascii")


def from_text(text: str, what: str) -> np.ndarray:
    """The picture encoded by `as_text`, except for JPEG's losses.

    Raises:
        ValueError: if the text is not a picture.
    """
    try:
        return as_picture(_decoded(base64.b64decode(text, validate=True)), what)
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{what} is not a picture from a saved configuration. {error}") from error
