"""keras-hub image classifiers: presets by name, and saved preset folders."""

import json
import os
from typing import Any

import keras
import numpy as np

from tfkd._core import extras, untrusted
from tfkd.teachers._input_scaling import Scaling

_CONFIG, _TASK, _CONVERTER = "config.json", "task.json", "image_converter.json"
_REMEDY = (
    "Without network access, save it elsewhere with classifier.save_to_preset('folder'), and give that "
    "folder: --teacher=keras_hub:folder."
)
_TRUST = "If you trust its author, load it with keras_hub and pass the model instead of the name."


def preset(name: str) -> tuple[keras.Model, Scaling]:
    """A keras-hub image classifier, and the scaling of its preprocessing.

    The configs in a folder are checked against the allow-list. Its preprocessor is not created; only two
    numbers of it are read.

    Args:
        name: name of a preset of `keras_hub.models.ImageClassifier`, or a folder that contains one.

    Raises:
        ImportError: if keras-hub is not installed.
        ValueError: if there is no such preset, it cannot be obtained, or it needs more than tfkd allows.
    """
    hub = extras.require("keras_hub", "text", "A teacher given by a preset name")
    if os.path.isdir(name):
        return _of_folder(hub, name)
    if name not in hub.models.ImageClassifier.presets:
        raise ValueError(
            f"`source`: there is no folder {name!r} and no keras-hub image classifier of that name. "
            "keras_hub.models.ImageClassifier.presets lists them; or give a folder written by "
            "save_to_preset (--teacher=keras_hub:FOLDER)."
        )
    try:
        converter = hub.layers.ImageConverter.from_preset(name)
        network = hub.models.ImageClassifier.from_preset(name, preprocessor=None)
    except Exception as error:
        # Any failure of a download.
        reason = untrusted.in_one_line(error)[:200]
        raise ValueError(
            f"`source`: 'keras_hub:{name}' could not be downloaded: {reason} {_REMEDY}"
        ) from error
    return network, _scaling(converter.scale, converter.offset)


def _of_folder(hub, folder):
    what = f"`source`: 'keras_hub:{folder}'"
    untrusted.check_folder_size(folder, what)
    task = _read(folder, _TASK, what)
    # The preprocessor is not created.
    task["config"] = {**task["config"], "preprocessor": None}
    for part in (_read(folder, _CONFIG, what), task):
        untrusted.check_configuration(part, what, _TRUST)
    weights = [os.path.join(folder, each) for each in os.listdir(folder) if each.endswith(".h5")]
    for each in weights:
        untrusted.check_hdf5_can_be_read(each, what)
    stored = sum(untrusted.check_hdf5(each, what) for each in weights)
    try:
        with untrusted.weights_within(what, stored):
            network = hub.models.ImageClassifier.from_preset(folder, preprocessor=None)
    except untrusted.RefusedFile:
        raise
    except Exception as error:
        raise untrusted.refusal(what, f"is not a keras-hub image classifier: {error}", _TRUST) from error
    converter = _read(folder, _CONVERTER, what)["config"]
    return network, _scaling(converter.get("scale"), converter.get("offset"))


def _read(folder, name, what):
    """The description of an object in a preset file."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            described = json.load(file)
        if isinstance(described["config"], dict):
            return described
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise untrusted.refusal(
        what,
        f"has no {name} that describes an image classifier.",
        "Save a whole keras_hub.models.ImageClassifier with save_to_preset.",
    )


def _scaling(scale: Any, offset: Any) -> Scaling:
    """The scaling `images * scale + offset`, for images of 0 to 255."""
    factor = np.asarray(1.0 if scale is None else scale, "float64")
    added = np.asarray(0.0 if offset is None else offset, "float64")
    return Scaling(
        input_range=(0, 255),
        mean=(-added / factor).tolist(),
        std=(1 / factor).tolist(),
        name="the preset's own",
    )
