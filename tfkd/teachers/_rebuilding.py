"""Files that only answer, as networks with layers where they can be rebuilt."""

from collections.abc import Callable

import keras
import numpy as np

from tfkd._core import model_files, untrusted
from tfkd._core.asking import answers
from tfkd._core.runtimes import SavedModelFolder, TFLiteFile

# Differences as a share of the largest output: of sums in another order, and where a file rounds.
_TOLERANCES = {False: 1e-4, True: 0.05}
# Inputs on the scale of [0, 1] and of 0 to 255; and what stands for an open size.
_SCALES, _EXAMPLES, _OPEN_SIZE = (1.0, 255.0), 4, 32


def rebuilt(
    file: TFLiteFile | SavedModelFolder, build: Callable[[], keras.Model], what: str
) -> keras.Model | TFLiteFile | SavedModelFolder:
    """A file that only answers as a Keras model, if one can be built that gives the same answers.

    Args:
        file: the file, ready to run.
        build: builds the model, or raises an error that says why not.
        what: the argument and the file, for messages.

    Returns:
        The model; or the file, whose `reason` then says why.
    """
    try:
        model = build()
        model_files.check_outputs(model, what)
        _check_same_answers(model, file)
    except Exception as error:
        # Strangers' files fail in ways of their own, and still answer.
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
        raise ValueError(f"its layers have the outputs {[*ours]}, and it answers with {[*theirs]}")
    for name, expected in theirs.items():
        difference, tolerance = np.abs(ours[name] - expected).max(), _TOLERANCES[file.rounds]
        # NaN compares as false, so that a difference of NaN is one, too.
        if not difference <= tolerance * max(1.0, np.abs(expected).max()):
            raise ValueError(
                "it computes something else once its layers are rebuilt: outputs for random inputs differ "
                f"by up to {difference:.2g}"
            )
