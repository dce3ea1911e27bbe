"""The process for models that may crash the converter: `python -m tfkd.export._converting FOLDER`."""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf

from tfkd.export._conversion import converted


def run(folder: pathlib.Path) -> None:
    """Converts the SavedModel in a folder to a file `model.tflite` in it.

    Args:
        folder: holds `model`, `options.json`, and `inputs.npz` if there are calibration inputs.
    """
    options = json.loads((folder / "options.json").read_text(encoding="utf-8"))
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "model"))
    content = converted(converter, _inputs(folder / "inputs.npz"), **options)
    (folder / "model.tflite").write_bytes(content)


def _inputs(path):
    """Inputs by name, or a single array without a name; None if there is no file."""
    if not path.exists():
        return None
    with np.load(path) as saved:
        return saved["arr_0"] if saved.files == ["arr_0"] else {name: saved[name] for name in saved.files}


if __name__ == "__main__":
    try:
        run(pathlib.Path(sys.argv[1]))
    except Exception as error:
        # The whole message: the caller searches it for missing operators.
        sys.exit(str(error))
