"""Reads the npz files of images and labels that flags name."""

import os

import numpy as np

_FLAGS = {"test": "--eval_data", "train": "--train_data"}


def load_images(
    path: str, image_shape: tuple[int, int, int], classes: int, part: str = "test"
) -> tuple[np.ndarray, np.ndarray]:
    """Reads images and labels from an npz file.

    Args:
        path: the file. `x_test` is (N, H, W) or (N, H, W, C), uint8 or float in [0, 1]; `y_test` has
            N class numbers.
        image_shape: what the teacher takes.
        classes: how many classes it knows.
        part: "test", which --eval_data names, or "train" for `x_train` and `y_train`, --train_data.

    Returns:
        float32 images in [0, 1] and int64 labels.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no npz, lacks an array, or shapes or values do not fit.
    """
    flag, x, y = _FLAGS[part], f"x_{part}", f"y_{part}"
    if not os.path.exists(path):
        raise FileNotFoundError(f"{flag}: there is no file {path!r}.")
    try:
        with np.load(path) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except Exception as error:
        raise ValueError(f"{flag}: {path!r} is not a readable npz file: {error}") from error
    if missing := {x, y} - set(found):
        raise ValueError(
            f"{flag}: {path!r} lacks {' and '.join(sorted(missing))}; it has "
            f"{sorted(found) or 'nothing'}. Save it with np.savez(path, {x}=..., {y}=...)."
        )
    images = _images(found[x], image_shape, f"{flag}: {x}")
    return images, _labels(found[y], len(images), classes, f"{flag}: {y}")


def _images(x, image_shape, what):
    shape = x.shape
    x = x[..., None] if x.ndim == 3 else x
    if x.shape[1:] != tuple(image_shape) or not len(x):
        raise ValueError(
            f"{what} must be images of shape (n, {', '.join(map(str, image_shape))}), "
            f"which is what the teacher takes. Received: {shape}."
        )
    if x.dtype == np.uint8:
        return x.astype("float32") / 255.0
    if not np.issubdtype(x.dtype, np.floating) or not (x.min() >= 0 and x.max() <= 1):
        raise ValueError(
            f"{what} must be uint8, or float between 0 and 1. Received: "
            f"{x.dtype} from {x.min()} to {x.max()}."
        )
    return x.astype("float32")


def _labels(y, n, classes, what):
    flat = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if flat.shape != (n,):
        raise ValueError(f"{what} must be {n} class numbers, one per image. Received: shape {y.shape}.")
    if flat.min() < 0 or flat.max() >= classes or (flat != flat.astype("int64")).any():
        raise ValueError(
            f"{what} must hold classes from 0 to {classes - 1}, which is what the "
            f"teacher knows. Received values from {flat.min()} to {flat.max()}."
        )
    return flat.astype("int64")
