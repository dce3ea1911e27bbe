"""The process that converts what may crash the converter: `python -m tfkd.export._converting FOLDER`."""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf

from tfkd.export._conversion import converted


def run(folder: pathlib.Path) -> None:
    """Converts the SavedModel of a folder to the file `model.tflite` in it.

    Args:
        folder: holds `model`, `options.json`, and `images.npy` where there are images to calibrate by.
    """
    options = json.loads((folder / "options.json").read_text(encoding="utf-8"))
    images = folder / "images.npy"
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "model"))
    content = converted(converter, np.load(images) if images.exists() else None, **options)
    (folder / "model.tflite").write_bytes(content)


if __name__ == "__main__":
    try:
        run(pathlib.Path(sys.argv[1]))
    except Exception as error:
        # All of it: the caller looks for operators that the converter lacks.
        sys.exit(str(error))
