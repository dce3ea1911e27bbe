"""The examples of a run, by what each is for: to learn from, to choose by, to measure on."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfkd.pipelines._datasets import TrainingData, load_data, load_unlabelled, readable
from tfkd.pipelines._examples import Examples
from tfkd.tasks import Task

# Arrays of examples have no more than so many bytes, or so many examples.
_MEASURED_BYTES, _HELD_BYTES = 2**31, 2**28
_JUDGING, _CALIBRATION = 2000, 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOfRun:
    """Examples that do not overlap, but for `judging`.

    Attributes:
        whole: all training data.
        training: what is learned from.
        validation: the share that was held out.
        judging: some of that as arrays, which files are compared on and choices are made by.
        evaluation: arrays that nothing but figures come from, or None.
        unlabelled: inputs without labels, or None.
        seed: what was drawn by.
    """

    whole: TrainingData
    training: TrainingData
    validation: TrainingData
    judging: Examples
    evaluation: Examples | None
    unlabelled: TrainingData | None
    seed: int

    @property
    def measured(self) -> Examples:
        """What figures are of: `evaluation`, or what was held out."""
        return self.judging if self.evaluation is None else self.evaluation

    @property
    def measured_on(self) -> str:
        """What that is, in words."""
        return "held-out training examples" if self.evaluation is None else "evaluation examples"

    @property
    def measured_of(self) -> str:
        """The argument that it comes from."""
        return "training_data" if self.evaluation is None else "evaluation_data"

    def calibration(self) -> Any:
        """Some inputs that were learned from, as an array."""
        x, _ = self.training.sample(_affordable(self.training, _HELD_BYTES, _CALIBRATION), self.seed)
        return x

    def readable(self) -> contextlib.AbstractContextManager[None]:
        """Has an image that cannot be decoded be an error that names it."""
        return readable(training_data=self.whole, unlabelled_data=self.unlabelled)

    def counts(self) -> dict[str, int | None]:
        """How many examples there are of each, for records."""
        return {
            "training_images": self.training.count,
            "validation_images": self.validation.count,
            "evaluation_images": None if self.evaluation is None else len(self.evaluation[0]),
            "unlabelled_images": None if self.unlabelled is None else self.unlabelled.count,
        }


def load_data_of_run(
    training_data: Any,
    evaluation_data: Any,
    unlabelled_data: Any,
    validation_split: float,
    labels: Sequence[str] | None,
    model: keras.Model,
    task: Task,
    seed: int,
    say: Callable[[str], None],
) -> DataOfRun:
    """Finds all examples of a run.

    Args:
        training_data: as of `distil_with_data`.
        evaluation_data: likewise, or None.
        unlabelled_data: likewise, or None.
        validation_split: share of the training data to hold out.
        labels: names of the classes, or None.
        model: takes the inputs.
        task: what labels mean.
        seed: what is drawn by.
        say: prints a line, or does not.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: as of `load_data`.
    """
    by_name = isinstance(training_data, str | os.PathLike)
    say(f"reading {os.fspath(training_data) if by_name else 'training data'}")
    whole = load_data(training_data, model, task, "train", "training_data", labels)
    training, validation = whole.split(validation_split, seed)
    evaluation = unlabelled = None
    if evaluation_data is not None:
        evaluation = _evaluation(evaluation_data, model, task, whole.class_names, labels, seed, say)
    if unlabelled_data is not None:
        unlabelled = load_unlabelled(unlabelled_data, model, "unlabelled_data")
    with readable(training_data=whole):
        judging = validation.sample(_affordable(validation, _HELD_BYTES, _JUDGING), seed)
    return DataOfRun(
        whole=whole,
        training=training,
        validation=validation,
        judging=judging,
        evaluation=evaluation,
        unlabelled=unlabelled,
        seed=seed,
    )


def _evaluation(source, model, task, folders, labels, seed, say) -> Examples:
    """Examples to measure on, all of them or as many as memory holds."""
    data = load_data(source, model, task, "test", "evaluation_data", folders or labels)
    if folders and data.class_names and folders != data.class_names:
        raise ValueError(
            "`evaluation_data`: its folders must be those of the training data, "
            f"{', '.join(folders)}. Received: {', '.join(data.class_names)}."
        )
    count = _affordable(data, _MEASURED_BYTES, data.count)
    if count < data.count:
        say(f"measuring on {count:,} of {data.count:,} evaluation examples, which is what memory holds")
    with readable(evaluation_data=data):
        return data.sample(count, seed)


def _affordable(data: TrainingData, most_bytes: int, most: int) -> int:
    """How many examples there are of so many, that take no more than so many bytes."""
    spec: Any = keras.tree.flatten(data.examples().element_spec)[0]
    return min(most, data.count, max(1, most_bytes // (spec.dtype.size * math.prod(spec.shape))))
