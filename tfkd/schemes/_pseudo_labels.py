"""Pseudo-labels: a teacher's confident outputs for unlabelled inputs, balanced by class."""

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
    """Labels inputs with a teacher, and keeps the confident ones.

    The teacher runs once, in inference mode on the unchanged inputs; its outputs are stored, the inputs are
    not. Examples come in the order of the data set, with copies next to each other, so shuffle them; a
    shuffle with `seed` and a buffer for all examples mixes best. Each pass over the result is a pass over
    `dataset`, which must give the same examples in the same order every time.

    Args:
        teacher: a trained model that returns logits, as from `tfkd.load_teacher`.
        dataset: unlabelled inputs: an array `(n, ...)`, several in the structure of the teacher's inputs,
            or a data set of these; any labels are ignored.
        hard: whether labels are 1 for the most likely class and 0 for others; otherwise they are
            probabilities at temperature 1.
        least: minimum confidence, in [0, 1], such as 0.3; None for any.
        per_class: number of examples that each class is balanced to: larger classes keep their most
            confident examples; smaller ones are repeated, the most confident examples once more if it does
            not divide evenly. None to use each example once.
        path: folder for the teacher's outputs, as in `tfkd.cache_teacher`, from which an interrupted
            computation resumes. None keeps them in memory.
        batched: whether the elements of a data set are batches.
        task: the task of the teacher's outputs, which must have classes; None for
            `tfkd.tasks.task_of(teacher)`.

    Returns:
        A data set of single examples `(x, y)`, `y` float32 `(classes,)`. Its length is known.

    Raises:
        TypeError: if the teacher is a tf_keras model.
        ValueError: if there are no inputs, no output is confident enough, or a class has none although
            `per_class` is given; if a number is out of range; if `hard` is used with independent labels.

    Warns:
        UserWarning: if a class has no pseudo-label and `per_class` is None; lists the counts of all
            classes.

    Example:
        >>> labelled = tfkd.schemes.pseudo_labels(teacher, x, least=0.3, per_class=1000)
        >>> student.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
        >>> student.fit(labelled.shuffle(10_000).batch(128), epochs=10)

    Reference:
        Xie et al., "Self-training with Noisy Student improves ImageNet classification", 2020: confidence of
        at least 0.3 and 130,000 images per class. There, random images are repeated; here, all of a class,
        as evenly as possible.
    """
    task = checked_task(teacher, task, hard)
    check_options(least, per_class)
    inputs = as_batches(dataset, "dataset", batched).map(inputs_alone)
    if next(iter(inputs), None) is None:
        raise ValueError("`dataset` is empty: there is nothing to label. Give unlabelled inputs.")
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
    """The task of a network, which must have classes.

    Raises:
        ValueError: if it does not, if outputs are visibly probabilities, or if `hard` labels are requested
            for independent labels.
    """
    found = as_class_task(task_of(teacher) if task is None else as_task(task, teacher.output_shape[1:]))
    check_returns_logits(teacher)
    if hard and not isinstance(found, Classification):
        raise ValueError(
            f"`hard` labels need one class among several. Received: hard={hard!r} for {found!r}. Use "
            "hard=False: the probabilities of each label."
        )
    return found


def check_returns_logits(network: keras.Model) -> None:
    """Raises ValueError if a network visibly returns probabilities."""
    if activation_of(last_operation(network)) in ("softmax", "sigmoid"):
        raise ValueError(
            f"Networks that teach must return logits, but {network.name!r} ends in a softmax or sigmoid. "
            "tfkd.load_teacher(model) makes a copy that returns logits; build students without that "
            "activation."
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
    """The inputs of an element, without anything else."""
    return keras.utils.unpack_x_y_sample_weight(element[0] if len(element) == 1 else element)[0]


def labels_of(task: ClassTask, outputs: Any, hard: bool) -> Any:
    """Pseudo-labels of a batch: float32 `(batch, classes)`."""
    if hard:
        return ops.one_hot(task.group(outputs), task.classes, dtype="float32")
    return ops.exp(task.log_probabilities(outputs))


def judged(cached: tf.data.Dataset, task: ClassTask) -> tuple[np.ndarray, np.ndarray]:
    """The teacher's confidence for each example, and the predicted class: two arrays `(n,)`."""

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
    """How often each example is used: int64 `(n,)`.

    Args:
        confidence: `(n,)`.
        groups: the examples' classes `(n,)`.
        classes: number of classes.
        least: minimum confidence, or None.
        per_class: number of examples per class, or None.
        stacklevel: as for `warnings.warn`, counted from the caller of this function.

    Raises:
        ValueError: if no output is confident enough, or a class has none although `per_class` is given.
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
        # Stable, so that equal ones stay in the order of the data set.
        by_confidence = members[np.argsort(-confidence[members], kind="stable")]
        often, once_more = divmod(per_class, int(count))
        times[members] = often
        times[by_confidence[:once_more]] += 1
    return times


def _missing(counts, confidence, groups, least, per_class):
    """A message about classes without a pseudo-label, or None; raises if `per_class` is given."""
    missing = np.flatnonzero(counts == 0)
    if not len(missing):
        return None
    best = {int(label): confidence[groups == label].max(initial=0) for label in missing}
    if not counts.any():
        raise ValueError(
            f"`least`: the teacher is never that confident. Received: least={least!r}; its highest "
            f"confidence is {_down(confidence.max())}. Lower `least` to that value or below."
        )
    seen = {label: value for label, value in best.items() if value}
    unseen = [label for label in best if label not in seen]
    unsure = ", ".join(f"class {label} (at most {_down(value)})" for label, value in seen.items())
    never = ", ".join(f"class {label}" for label in unseen)
    text = f"Pseudo-labels of each class: {counts.tolist()}."
    if unsure:
        text += f" The teacher's confidence does not reach least={least!r} for {unsure}."
        text += f" Lower `least` to {_down(min(seen.values()))} or below."
    if unseen:
        text += f" It classifies no input as {never}. Give such inputs"
        text += "." if per_class is None else ", or per_class=None."
    if per_class is not None:
        raise ValueError(f"`per_class`: {per_class} examples of each class are not available. {text}")
    return f"{text} Students see these classes only with true labels."


def _down(confidence):
    """A confidence rounded down, so that an example with it still passes."""
    return f"{np.floor(float(confidence) * 1000) / 1000:.3f}"


def repeated(cached: tf.data.Dataset, times: np.ndarray) -> tf.data.Dataset:
    """Batches of a data set of `cache_teacher` with each example repeated as often as `times` says.

    Examples repeated 0 times are left out; batches differ in length and may be empty.
    """
    of_all = tf.constant(times)

    def chosen(*element):
        index = caching.unpack(element[0]).index
        places = tf.repeat(tf.range(tf.size(index)), tf.gather(of_all, index))
        picked = keras.tree.map_structure(lambda value: tf.gather(value, places), element)
        return picked[0] if len(picked) == 1 else picked

    return cached.map(chosen)
