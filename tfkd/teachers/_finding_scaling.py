"""find_scaling: detects how a network's inputs are scaled, from its structure and outputs."""

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
    """Detects how a trained network's inputs are scaled.

    Candidates are x/255, x/127.5 - 1, 0 to 255, ImageNet's mean and standard deviation, and BGR with
    ImageNet's mean subtracted. Evidence comes from a network's own first operations (`Rescaling`,
    `Normalization`, or any that shift and scale), the integer inputs of a TFLite file, and the layer names
    of `keras.applications`. Otherwise the network is run on crops of photographs, and on drawings if it
    takes greyscale images, under each candidate: batch normalizations should see the statistics they have
    stored, and a classifier without any should distinguish the images.

    Args:
        source: a file, a folder or a Keras model, as for `load_teacher`.
        from_logits, output, task, trust_files, layout, input_shape: as for `load_teacher`.

    Returns:
        The best candidate with its evidence; `sure` says whether that evidence is sufficient.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: as for `load_teacher`, and for a text model, which has nothing to scale.

    Example:
        >>> found = tfkd.teachers.find_scaling("resnet.keras")
        >>> found.words, found.sure, found.evidence
    """
    loaded = source if isinstance(source, keras.Model) else read(os.fspath(source), trust_files)
    if takes_texts(loaded):
        raise ValueError("`source`: a text model takes integers, so there is nothing to scale.")
    return scaling_of(opened(source, loaded, output, layout, input_shape), from_logits, task)


def scaling_of(
    network: Opened, from_logits: bool | None = None, task: str | type[Task] | Task | None = None
) -> Scaling:
    """The scaling of an opened network.

    Args:
        network: the opened network.
        from_logits, task: as for `load_teacher`.
    """
    told = scaling_of_structure(network.network)
    if told is not None and told.sure:
        return told
    plain = preparation(UNIT, 0.0, 1.0, network.shape)
    seen = scaling_by_evidence(network.teacher(plain, from_logits, task)[0])
    if told is None:
        nothing = scalings.UNIT.because("nothing indicates its scale, and x/255 is usual", sure=False)
        return seen or nothing
    if seen is None or not seen.sure:
        return told.because(told.evidence, sure=True)
    if seen.options == told.options:
        return told.because(f"{told.evidence}, and {seen.evidence}", sure=True)
    # Such networks are often fine-tuned with another scaling.
    return seen.because(f"{seen.evidence}, although {told.evidence} ({told.name})", sure=False)
