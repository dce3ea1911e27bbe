"""Scalings by evidence: a network's response to images under each candidate scaling."""

from collections.abc import Callable, Mapping

import keras
import numpy as np
from keras import layers

from tfkd import taps
from tfkd._core.asking import answers
from tfkd.tasks import Classification, task_of
from tfkd.teachers._input_scaling import Scaling, candidates
from tfkd.teachers._scaling import preparation
from tfkd.teachers._scaling_pictures import pictures_for

# The first normalizations say most about the input's scale.
_NORMALIZATIONS = 4
# Maximum distance of batch statistics for the right scaling, and minimum ratio for the others.
_NEAR, _TIMES_AS_FAR = 1.0, 1.5
# Minimum ratio of varied outputs between the right scaling and the others.
_TIMES_AS_LIVELY = 1.25
_CERTAIN = 0.999
_SEEN_CHANNELS = (1, 3)
_LEAST_SIDE, _MOST_TIMES_AS_LONG = 8, 2


def scaling_by_evidence(teacher: keras.Model) -> Scaling | None:
    """The scaling under which images suit a network best.

    If it has trained batch normalizations, images should have the statistics that these stored. Otherwise
    it should distinguish images: if the scale is too small or shifted, most of them get the same output; if
    it is too large, all outputs are certain.

    Args:
        teacher: a teacher from `load_teacher`, without any scaling.

    Returns:
        The best candidate, certain if it is far better than the others; None if there is no evidence.
    """
    shape = tuple(teacher.input_shape[1:])
    if not _may_be_pictures(shape):
        return None
    if remembered := _remembered(teacher):
        return _by_statistics(teacher, shape, remembered)
    # For other tasks there is nothing to count.
    if type(task_of(teacher)) is Classification:
        return _by_answers(teacher, shape)
    return None


def _may_be_pictures(shape):
    if len(shape) != 3 or shape[-1] not in _SEEN_CHANNELS:
        return False
    short, long = sorted(shape[:2])
    return short >= _LEAST_SIDE and long <= _MOST_TIMES_AS_LONG * short


def _remembered(teacher):
    """Stored mean, variance and axis of the first normalizations, by the tap of their input."""
    found = {
        f"{path}:input": (np.asarray(layer.moving_mean), np.asarray(layer.moving_variance), layer.axis)
        for path, layer in taps.named_layers(teacher).items()
        if isinstance(layer, layers.BatchNormalization)
    }
    untrained = all((mean == 0).all() and (variance == 1).all() for mean, variance, _ in found.values())
    return {} if untrained else dict(list(found.items())[:_NORMALIZATIONS])


def _by_statistics(teacher, shape, remembered):
    def distance(pictures):
        with taps.record(teacher, remembered) as seen:
            teacher(pictures, training=False)
        apart = [_divergence(np.asarray(seen[tap], "float64"), *kept) for tap, kept in remembered.items()]
        return float(np.mean(apart))

    # The network was trained on at most one of several kinds of images.
    distances = _for_each_candidate(shape, distance, min)
    best, other = sorted(distances, key=distances.__getitem__)[:2]
    sure = distances[best] < _NEAR and distances[other] > _TIMES_AS_FAR * distances[best]
    return best.because(
        f"the batch statistics of images are {distances[best]:.2g} away from those of its training, with "
        f"{other.name} {distances[other]:.2g}",
        sure,
    )


def _divergence(values, mean, variance, axis):
    """Kullback-Leibler divergence of a normalization's inputs from its stored statistics.

    The median over channels, assuming Gaussians, since some channels may be dead.
    """
    values = np.moveaxis(values, axis, -1).reshape(-1, len(mean))
    floor = 1e-3 * variance.mean() + 1e-10
    ratio = (values.var(axis=0) + floor) / (variance + floor)
    shift = (values.mean(axis=0) - mean) ** 2 / (variance + floor)
    return np.median(ratio + shift - 1 - np.log(ratio)) / 2


def _by_answers(teacher, shape):
    def lively(pictures):
        logits = answers(teacher, pictures).astype("float64")
        if not np.isfinite(logits).all():
            return 0.0
        p = np.exp(logits - logits.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        named = np.bincount(p.argmax(axis=-1), minlength=p.shape[-1]) / len(p)
        classes = np.exp(-(named * np.log(named + 1e-12)).sum())
        return classes * float((p.max(axis=-1) < _CERTAIN).mean())

    lively_classes = _for_each_candidate(shape, lively, lambda each: np.prod(each) ** (1 / len(each)))
    best, other = sorted(lively_classes, key=lively_classes.__getitem__, reverse=True)[:2]
    return best.because(
        f"images are spread over {lively_classes[best]:.1f} classes, with {other.name} over "
        f"{lively_classes[other]:.1f}, not counting outputs that are certain",
        sure=lively_classes[best] > _TIMES_AS_LIVELY * lively_classes[other],
    )


def _for_each_candidate(
    shape: tuple[int, int, int], measure: Callable, together: Callable
) -> Mapping[Scaling, float]:
    """The measurement for images under each candidate, all kinds of images together."""
    kinds = pictures_for(shape).values()
    found = {}
    for scaling in candidates(shape[-1]):
        prepared = preparation(shape=shape, **scaling.options)
        found[scaling] = together([measure(prepared.of_arrays(pictures)) for pictures in kinds])
    return found
