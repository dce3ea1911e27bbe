"""Pseudo-labels: a teacher's answers to inputs without labels, sure ones, classes in balance."""

import os
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfkd._core.checks import check_int, check_number
from tfkd.distilling import _caching as caching
from tfkd.distilling import cache_teacher
from tfkd.tasks import Classification, ClassTask, Task, as_task, task_of
from tfkd.tasks._endings import activation_of, last_operation
from tfkd.tasks._task import as_class_task

BATCH = 256


def pseudo_labels(
    teacher: keras.Model,
    dataset: tf.data.Dataset | Any,
    hard: bool = False,
    least: float | None = None,
    per_class: int | None = None,
    path: str | os.PathLike | None = None,
    batched: bool = True,
    task: Task | type[Task] | str | None = None,
) -> tf.data.Dataset:
    """Labels inputs by a teacher, and keeps those of which it is sure.

    The teacher runs once, in inference mode and on the inputs as they are; its answers are held, the inputs
    are not. Examples come in the order of the data set, copies of one next to each other, so shuffle them;
    a shuffle with `seed` whose buffer holds all of them mixes best. Each pass over the result is one over
    `dataset`, which must give the same examples in the same order every time.

    Args:
        teacher: a trained model that returns logits, as `tfkd.load_teacher` gives it.
        dataset: inputs without labels: an array `(n, ...)`, several in the structure of the teacher's
            inputs, or a data set of such; labels that come with them are not looked at.
        hard: whether labels are 1 for the likeliest class and 0 for others, else they are probabilities at
            temperature 1.
        least: the lowest confidence that is taken, in [0, 1], such as 0.3; None for any.
        per_class: how many examples each class is brought to: the most confident of those that have more;
            examples of the others are repeated, the most confident ones once more than others where it
            does not divide. None to take each example once.
        path: folder for the teacher's answers, as in `tfkd.cache_teacher`: an interrupted computation goes
            on from there. None keeps them in memory.
        batched: whether the elements of a data set are batches.
        task: what the teacher's outputs mean; None for `tfkd.tasks.task_of(teacher)`. Answers have to name
            classes.

    Returns:
        A data set of single examples `(x, y)`, `y` float32 `(classes,)`. It knows its length.

    Raises:
        TypeError: if the teacher is a tf_keras model.
        ValueError: if there are no inputs, no answer is confident enough, or one class has none while
            `per_class` is given; if a number is out of range; if `hard` is asked of independent labels.

    Warns:
        UserWarning: if a class has no pseudo-label and `per_class` is None, with the number of each class.

    Example:
        >>> labelled = tfkd.schemes.pseudo_labels(teacher, x, least=0.3, per_class=1000)
        >>> student.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
        >>> student.fit(labelled.shuffle(10_000).batch(128), epochs=10)

    Reference:
        Xie et al., "Self-training with Noisy Student improves ImageNet classification", 2020: confidence
        of at least 0.3 and 130,000 images a class. There it is random images that are repeated; here all
        of a class are, as evenly as can be.
    """
    task = checked_task(teacher, task, hard)
    check_options(least, per_class)
    inputs = as_batches(dataset, "dataset", batched).map(inputs_alone)
    if next(iter(inputs), None) is None:
        raise ValueError("`dataset` is empty: there is nothing to label. Give inputs without labels.")
    cached = cache_teacher(inputs, teacher, path=path)
    times = repetitions(*judged(cached, task), task.groups, least, per_class)

    def labelled(x):
        batch = caching.unpack(x)
        return batch.inputs, labels_of(task, batch.output, hard)

    examples = repeated(cached, times).map(labelled).unbatch()
    return examples.apply(tf.data.experimental.assert_cardinality(int(times.sum())))


def checked_task(
    teacher: keras.Model, task: Task | type[Task] | str | None, hard: bool = False
) -> ClassTask:
    """The task of a network, whose answers have to name classes.

    Raises:
        ValueError: if they do not, or are visibly probabilities, or are not of one class each and `hard`
            labels are wanted.
    """
    found = as_class_task(task_of(teacher) if task is None else as_task(task, teacher.output_shape[1:]))
    check_returns_logits(teacher)
    if hard and not isinstance(found, Classification):
        raise ValueError(
            f"`hard` labels are those of one class among several. Received: hard={hard!r} for {found!r}. "
            "Use hard=False: the probabilities of each label."
        )
    return found


def check_returns_logits(network: keras.Model) -> None:
    """Raises ValueError if a network visibly returns probabilities."""
    if activation_of(last_operation(network)) in ("softmax", "sigmoid"):
        raise ValueError(
            f"Networks that teach must return logits, and {network.name!r} ends in a softmax or sigmoid. "
            "tfkd.load_teacher(model) makes a copy that returns logits; build students without it."
        )


def check_options(least: float | None, per_class: int | None) -> None:
    """Raises ValueError if a number is out of range."""
    if least is not None:
        check_number("least", least, least=0, most=1)
    if per_class is not None:
        check_int("per_class", per_class)


def as_batches(data: Any, argument: str, batched: bool = True) -> tf.data.Dataset:
    """Arrays, or a data set, as a data set of batches."""
    if not isinstance(data, tf.data.Dataset):
        if data is None or not len(keras.tree.flatten(data)[0]):
            raise ValueError(
                f"`{argument}` is empty. Received: {argument}={data!r}. Give at least one input."
            )
        return tf.data.Dataset.from_tensor_slices(data).batch(BATCH)
    return data if batched else data.batch(BATCH)


def inputs_alone(*element) -> Any:
    """The inputs of an element, whatever comes with them."""
    return keras.utils.unpack_x_y_sample_weight(element[0] if len(element) == 1 else element)[0]


def labels_of(task: ClassTask, outputs: Any, hard: bool) -> Any:
    """Pseudo-labels of a batch: float32 `(batch, classes)`."""
    if hard:
        return ops.one_hot(task.group(outputs), task.classes, dtype="float32")
    return ops.exp(task.log_probabilities(outputs))


def judged(cached: tf.data.Dataset, task: ClassTask) -> tuple[np.ndarray, np.ndarray]:
    """How sure the teacher is of each example, and the class that it counts as: two arrays `(n,)`."""

    def judge(x, *_):
        outputs = caching.unpack(x).output
        return task.confidence(outputs), task.group(outputs)

    confidence, groups = zip(*cached.map(judge).as_numpy_iterator(), strict=True)
    return np.concatenate(confidence), np.concatenate(groups)


def repetitions(
    confidence: np.ndarray,
    groups: np.ndarray,
    classes: int,
    least: float | None,
    per_class: int | None,
    stacklevel: int = 2,
) -> np.ndarray:
    """How often each example is taken: int64 `(n,)`.

    Args:
        confidence: `(n,)`.
        groups: the examples' classes `(n,)`.
        classes: how many there are.
        least: the lowest confidence that is taken, or None.
        per_class: how many of each class, or None.
        stacklevel: how far the line is that a warning is about, as for `warnings.warn` called instead.

    Raises:
        ValueError: if no answer is confident enough, or one class has none while `per_class` is given.
    """
    sure = np.ones(len(groups), bool) if least is None else confidence >= least
    counts = np.bincount(groups[sure], minlength=classes)
    if problem := _missing(counts, confidence, groups, least, per_class):
        warnings.warn(problem, stacklevel=stacklevel + 1)
    times = sure.astype("int64")
    if per_class is None:
        return times
    for label, count in enumerate(counts):
        members = np.flatnonzero(sure & (groups == label))
        # Stable, so that equals stay in the order of the data set.
        by_confidence = members[np.argsort(-confidence[members], kind="stable")]
        often, once_more = divmod(per_class, int(count))
        times[members] = often
        times[by_confidence[:once_more]] += 1
    return times


def _missing(counts, confidence, groups, least, per_class):
    """Which classes have no pseudo-label and what to do about it, or None; may be an error."""
    missing = np.flatnonzero(counts == 0)
    if not len(missing):
        return None
    best = {int(label): confidence[groups == label].max(initial=0) for label in missing}
    if not counts.any():
        raise ValueError(
            f"`least`: the teacher is nowhere as sure as that. Received: least={least!r}; its highest "
            f"confidence is {_down(confidence.max())}. Lower `least` to that, or below."
        )
    seen = {label: value for label, value in best.items() if value}
    unseen = [label for label in best if label not in seen]
    unsure = ", ".join(f"class {label} (at most {_down(value)})" for label, value in seen.items())
    never = ", ".join(f"class {label}" for label in unseen)
    text = f"Pseudo-labels of each class: {counts.tolist()}."
    if unsure:
        text += f" The teacher is not as sure as least={least!r} of any of {unsure}."
        text += f" Lower `least` to {_down(min(seen.values()))}, or below."
    if unseen:
        text += f" It takes no input for {never}. Give inputs of that kind"
        text += "." if per_class is None else ", or per_class=None."
    if per_class is not None:
        raise ValueError(f"`per_class`: {per_class} examples of each class cannot be had. {text}")
    return f"{text} A student sees these classes with true labels only."


def _down(confidence):
    """A confidence rounded down, so that an example with it still passes."""
    return f"{np.floor(float(confidence) * 1000) / 1000:.3f}"


def repeated(cached: tf.data.Dataset, times: np.ndarray) -> tf.data.Dataset:
    """Batches of a data set of `cache_teacher` in which each example is as often as `times` says.

    Examples that are taken 0 times are left out; batches differ in length and may be empty.
    """
    of_all = tf.constant(times)

    def chosen(*element):
        index = caching.unpack(element[0]).index
        places = tf.repeat(tf.range(tf.size(index)), tf.gather(of_all, index))
        picked = keras.tree.map_structure(lambda value: tf.gather(value, places), element)
        return picked[0] if len(picked) == 1 else picked

    return cached.map(chosen)
