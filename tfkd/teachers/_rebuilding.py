"""Rebuilding black-box files as networks with layers."""

from collections.abc import Callable

import keras
import numpy as np

from tfkd._core import model_files, untrusted
from tfkd._core.asking import answers
from tfkd._core.runtimes import SavedModelFolder, TFLiteFile

# Tolerances relative to the largest output: for reordered sums, and for files that round.
_TOLERANCES = {False: 1e-4, True: 0.05}
# Test inputs in [0, 1] and in 0 to 255; and the value for an open size.
_SCALES, _EXAMPLES, _OPEN_SIZE = (1.0, 255.0), 4, 32


def rebuilt(
    file: TFLiteFile | SavedModelFolder, build: Callable[[], keras.Model], what: str
) -> keras.Model | TFLiteFile | SavedModelFolder:
    """A black-box file as a Keras model, if one can be built with the same outputs.

    Args:
        file: the file, ready to run.
        build: a function that builds the model, or raises an error with the reason.
        what: the argument and the file, for messages.

    Returns:
        The model; or the file, whose `reason` then says why.
    """
    try:
        model = build()
        model_files.check_outputs(model, what)
        _check_same_answers(model, file)
    except Exception as error:
        # Rebuilding may fail in unexpected ways, while the file still works.
        file.reason = untrusted.in_one_line(error).replace(what, "it", 1).rstrip(".")
        return file
    return model


def _check_same_answers(model, file):
    rng = np.random.default_rng(0)
    shape = (_EXAMPLES, *(size or _OPEN_SIZE for size in file.input_shape[1:]))
    inputs = np.concatenate([scale * rng.uniform(size=shape) for scale in _SCALES]).astype("float32")
    theirs = dict(zip(file.output_shapes, file(inputs), strict=True))
    ours = keras.tree.flatten(answers(model, inputs))
    names = model.output_names if len(ours) > 1 else theirs
    ours = dict(zip(names, ours, strict=True))
    if ours.keys() != theirs.keys():
        raise ValueError(f"its layers have the outputs {[*ours]}, but the file returns {[*theirs]}")
    for name, expected in theirs.items():
        difference, tolerance = np.abs(ours[name] - expected).max(), _TOLERANCES[file.rounds]
        # Comparisons with NaN are false, so NaN also counts as a difference.
        if not difference <= tolerance * max(1.0, np.abs(expected).max()):
            raise ValueError(
                "its rebuilt layers compute something different: outputs for random inputs differ by up "
                f"to {difference:.2g}"
            )
