"""Image files: finding, decoding, and converting them to a network's input."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from generators._picture_files import ENDINGS, check_pictures


class ImageReader:
    """Decodes images and resizes them to a network's size, in [0, 1].

    TensorFlow cannot decode an image of more than half a gigabyte.

    Args:
        model: takes images `(height, width, channels)`.
        what: the argument, for messages.

    Raises:
        ValueError: if the model does not take images of a fixed size, greyscale or colour.
    """

    def __init__(self, model: keras.Model, what: str) -> None:
        shape = tuple(model.input_shape[1:])
        if len(shape) != 3 or None in shape or shape[2] not in (1, 3):
            raise ValueError(
                f"{what}: image files need a network that takes (height, width, 1 or 3). Received: a "
                f"network that takes {shape}. Give an npz file with inputs of that shape."
            )
        self.size, self.channels = shape[:2], shape[2]

    def __call__(self, content: Any) -> Any:
        """Decodes one image.

        Args:
            content: the encoded image, a string tensor.

        Returns:
            float32 `(height, width, channels)`; other aspect ratios are stretched.
        """
        image = tf.io.decode_image(content, self.channels, expand_animations=False)
        image = tf.image.resize(image, self.size, antialias=True)
        image = tf.clip_by_value(image / 255.0, 0.0, 1.0)
        return tf.ensure_shape(image, (*self.size, self.channels))


def folder_of_classes(
    path: str, what: str, order: Sequence[str] | None
) -> tuple[list[str], np.ndarray, list[str]]:
    """The images of a folder with one subfolder per class.

    Args:
        path: the folder.
        what: the argument, for messages.
        order: order of the classes, if these are their names; otherwise they are sorted.

    Returns:
        Paths of the images, their class indices and the names of the classes.

    Raises:
        ValueError: if there are fewer than two classes, one has no image, or a file is not an image.
    """
    names = sorted(each.name for each in os.scandir(path) if each.is_dir() and each.name[0] != ".")
    if order is not None and sorted(order) == names:
        names = list(order)
    if len(names) < 2:
        raise ValueError(
            f"{what}: {path!r} must contain a folder of images for each of at least two classes. Received: "
            f"{', '.join(names) or 'none'}."
        )
    # Finds images as Keras does, including in nested folders.
    found = keras.utils.image_dataset_from_directory(
        path, class_names=names, shuffle=False, batch_size=None, verbose=False
    )
    files = list(found.file_paths)
    lengths = len(os.path.join(path, ""))
    numbers = {name: number for number, name in enumerate(names)}
    labels = np.array([numbers[file[lengths:].split(os.sep)[0]] for file in files], "int64")
    if empty := [name for number, name in enumerate(names) if number not in labels]:
        raise ValueError(
            f"{what}: {path!r} has no image ({', '.join(ENDINGS)}) in {', '.join(empty[:5])}. Put images "
            "there, or remove the folder."
        )
    check_pictures(files, what)
    return files, labels, names
