"""find_scaling: how a network's inputs are scaled, by its structure and by what it makes of pictures."""

import os
from collections.abc import Sequence

import keras

from tfkd._core.named_inputs import takes_texts
from tfkd.tasks import Task
from tfkd.teachers import _input_scaling as scalings
from tfkd.teachers._formats import read
from tfkd.teachers._input_scaling import Scaling
from tfkd.teachers._opened import Opened, opened
from tfkd.teachers._scaling import UNIT, preparation
from tfkd.teachers._scaling_evidence import scaling_by_evidence
from tfkd.teachers._scaling_structure import scaling_of_structure


def find_scaling(
    source: str | os.PathLike | keras.Model,
    from_logits: bool | None = None,
    output: str | int | None = None,
    task: str | type[Task] | Task | None = None,
    trust_files: bool = False,
    layout: str | None = None,
    input_shape: Sequence[int] | None = None,
) -> Scaling:
    """Finds out how a trained network's inputs are scaled.

    Candidates are x/255, x/127.5 - 1, 0 to 255, ImageNet's mean and deviation, and blue first with
    ImageNet's mean subtracted. A network's own first operations (`Rescaling`, `Normalization`, or any
    that shift and scale) tell, and so do the integers that a TFLite file takes, and the layer names of
    `keras.applications`. Otherwise it is shown crops of photographs, and drawings if they are grey,
    under each candidate: batch normalizations should see the statistics that they remember, and a
    classifier without any should tell pictures apart.

    Args:
        source: a file, a folder or a Keras model, as of `load_teacher`.
        from_logits, output, task, trust_files, layout, input_shape: likewise.

    Returns:
        The best candidate with its evidence; `sure` says whether that is enough to go by.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: as `load_teacher`, and for a model of texts, which has nothing to scale.

    Example:
        >>> found = tfkd.teachers.find_scaling("resnet.keras")
        >>> found.words, found.sure, found.evidence
    """
    loaded = source if isinstance(source, keras.Model) else read(os.fspath(source), trust_files)
    if takes_texts(loaded):
        raise ValueError("`source`: a model of texts takes whole numbers, and there is nothing to scale.")
    return scaling_of(opened(source, loaded, output, layout, input_shape), from_logits, task)


def scaling_of(
    network: Opened, from_logits: bool | None = None, task: str | type[Task] | Task | None = None
) -> Scaling:
    """The scaling of a network that is open.

    Args:
        network: what was opened.
        from_logits, task: as of `load_teacher`.
    """
    told = scaling_of_structure(network.network)
    if told is not None and told.sure:
        return told
    plain = preparation(UNIT, 0.0, 1.0, network.shape)
    seen = scaling_by_evidence(network.teacher(plain, from_logits, task)[0])
    if told is None:
        nothing = scalings.UNIT.because("nothing tells its scale, and x/255 is what is usual", sure=False)
        return seen or nothing
    if seen is None or not seen.sure:
        return told.because(told.evidence, sure=True)
    if seen.options == told.options:
        return told.because(f"{told.evidence}, and {seen.evidence}", sure=True)
    # Such networks are often trained once more, with another scaling.
    return seen.because(f"{seen.evidence}, although {told.evidence} ({told.name})", sure=False)
