"""The examples of a run by purpose: training, selection, evaluation."""

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

# Limits on arrays of examples: bytes, and number of examples.
_MEASURED_BYTES, _HELD_BYTES = 2**31, 2**28
_JUDGING, _CALIBRATION = 2000, 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOfRun:
    """Examples that do not overlap, except `judging`.

    Attributes:
        whole: all training data.
        training: the part used for training.
        validation: the held-out part.
        judging: some of the held-out part as arrays, for comparing files and making choices.
        evaluation: arrays for evaluation only, or None.
        unlabelled: inputs without labels, or None.
        seed: int seed of the split and samples.
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
        """The examples to measure on: `evaluation`, or the held-out ones."""
        return self.judging if self.evaluation is None else self.evaluation

    @property
    def measured_on(self) -> str:
        """A description of those examples."""
        return "held-out training examples" if self.evaluation is None else "evaluation examples"

    @property
    def measured_of(self) -> str:
        """The argument they come from."""
        return "training_data" if self.evaluation is None else "evaluation_data"

    def calibration(self) -> Any:
        """Some training inputs, as an array."""
        x, _ = self.training.sample(_affordable(self.training, _HELD_BYTES, _CALIBRATION), self.seed)
        return x

    def readable(self) -> contextlib.AbstractContextManager[None]:
        """Turns a failure to decode an image into an error that names it."""
        return readable(training_data=self.whole, unlabelled_data=self.unlabelled)

    def counts(self) -> dict[str, int | None]:
        """The number of examples of each kind, for the records."""
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
        training_data: as for `distil_with_data`.
        evaluation_data: the same, or None.
        unlabelled_data: the same, or None.
        validation_split: fraction of the training data to hold out.
        labels: names of the classes, or None.
        model: the model that takes the inputs.
        task: the task, which defines the labels.
        seed: int seed of the split and samples.
        say: prints a line, or does nothing.

    Raises:
        FileNotFoundError: if a file does not exist.
        ValueError: as for `load_data`.
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
    """Examples to measure on, all of them or as many as fit in memory."""
    data = load_data(source, model, task, "test", "evaluation_data", folders or labels)
    if folders and data.class_names and folders != data.class_names:
        raise ValueError(
            "`evaluation_data`: its folders must have the names of those in the training data, "
            f"{', '.join(folders)}. Received: {', '.join(data.class_names)}."
        )
    count = _affordable(data, _MEASURED_BYTES, data.count)
    if count < data.count:
        say(f"measuring on {count:,} of {data.count:,} evaluation examples, which is what fits in memory")
    with readable(evaluation_data=data):
        return data.sample(count, seed)


def _affordable(data: TrainingData, most_bytes: int, most: int) -> int:
    """How many of `most` examples fit in the given number of bytes."""
    spec: Any = keras.tree.flatten(data.examples().element_spec)[0]
    return min(most, data.count, max(1, most_bytes // (spec.dtype.size * math.prod(spec.shape))))
