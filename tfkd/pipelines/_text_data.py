"""The texts of a run by purpose: training, selection, evaluation."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfkd import text
from tfkd._core.checks import check_number
from tfkd.pipelines._text_files import Texts, read_texts
from tfkd.tasks import ClassTask, SentenceEmbedding, Task
from tfkd.text import BERTToBiLSTM, EpochSeed, TextRecipe, Tokenizer
from tfkd.text._tokenizer import padded

# Numbers of texts for comparing files, and for calibrating int8 files.
_JUDGING, _CALIBRATION = 2000, 256
# Copies per training text if the recipe does not say.
_COPIES = 3


class Taught(NamedTuple):
    """The training data of a student.

    Args:
        dataset: batches of texts, with or without labels.
        seeds: a callback for `fit` that determines the order of the data.
        labelled: whether there are labels.
        count: number of texts.
    """

    dataset: tf.data.Dataset
    seeds: EpochSeed
    labelled: bool
    count: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextData:
    """Texts that do not overlap.

    Attributes:
        training: the training texts.
        validation: the share that was held out.
        evaluation: texts for evaluation only, or None.
        unlabelled: further training texts.
        tokenizer: the tokenizer of all texts.
        class_names: the classes in order; None without labels.
    """

    training: Texts
    validation: Texts
    evaluation: Texts | None
    unlabelled: list[str]
    tokenizer: Tokenizer
    class_names: list[str] | None

    @property
    def classes(self) -> int | None:
        """The number of classes; None without labels."""
        return None if self.class_names is None else len(self.class_names)

    @property
    def measured(self) -> Texts:
        """The texts to measure on: `evaluation`, or the held-out ones."""
        return self.validation if self.evaluation is None else self.evaluation

    @property
    def measured_on(self) -> str:
        """A description of those texts."""
        return "held-out training texts" if self.evaluation is None else "evaluation texts"

    def for_task(self, task: Task) -> "TextData":
        """The same texts, with labels if the teacher's task has classes.

        Raises:
            ValueError: if the teacher has other classes, or is neither a classifier nor a sentence encoder.
        """
        if isinstance(task, SentenceEmbedding):
            bare = {name: texts and Texts(texts.texts) for name, texts in self._sets().items()}
            return dataclasses.replace(self, **bare, class_names=None)
        if not isinstance(task, ClassTask):
            raise ValueError(
                f"`teacher` must be a classifier or a sentence encoder. Received: the task {task.name!r}. "
                "Language models are distilled in code, by tfkd.text.DistilBERT or tfkd.text.DistilGPT2."
            )
        if self.class_names is not None and len(self.class_names) != task.classes:
            raise ValueError(
                f"`training_data` has {self.classes} classes ({', '.join(self.class_names)[:200]}), but "
                f"the teacher has {task.classes}. Name all of its classes in order with `labels`, or give "
                "data that it was trained for."
            )
        return self

    def _sets(self):
        return {name: getattr(self, name) for name in ("training", "validation", "evaluation")}

    def batches(self, texts: Texts, seeds: EpochSeed, size: int) -> tf.data.Dataset:
        """Batches of texts of similar length, in an order determined by the epoch."""
        return text.batches(
            texts.texts,
            texts.labels,
            tokenizer=self.tokenizer,
            batch_size=size,
            lengths=self._lengths,
            shuffle=True,
            seed=seeds,
        )

    def validation_batches(self, labelled: bool) -> tf.data.Dataset:
        """The held-out texts in order."""
        return text.batches(
            self.validation.texts,
            self.validation.labels if labelled else None,
            tokenizer=self.tokenizer,
            batch_size=64,
            lengths=self._lengths,
        )

    @property
    def _lengths(self):
        longest = self.tokenizer.max_length
        return [each for each in (16, 24, 32, 48, 64, 96, 128, 256) if each < longest] or [longest]

    def to_learn_from(self, recipe: TextRecipe, augment: bool, seed: int) -> Taught:
        """The student's training data; without labels if it includes unlabelled texts.

        Args:
            recipe: the recipe: its batch size and, for a BiLSTM, its augmentation.
            augment: whether to add augmented copies of the training texts.
            seed: int seed of the order and the copies.
        """
        texts, seeds = self.training, EpochSeed((seed, 0))
        if augment or self.unlabelled:
            made = self._augmented(recipe, seed) if augment else texts.texts
            texts = Texts([*made, *self.unlabelled])
        labelled = texts.labels is not None
        return Taught(self.batches(texts, seeds, recipe.batch_size), seeds, labelled, len(texts.texts))

    def _augmented(self, recipe, seed):
        """The training texts and copies of them."""
        mask = self.tokenizer.mask_id
        if mask is None:
            raise ValueError(
                "`augment` masks words, but the tokenizer has no mask token. Leave `augment` out."
            )
        options = {"mask_token": self.tokenizer.vocabulary[mask], "seed": seed}
        if isinstance(recipe, BERTToBiLSTM):
            return recipe.augment(self.training.texts, **options).texts
        return text.augment_words(self.training.texts, copies=_COPIES, **options).texts

    def inputs(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Texts as inputs of networks and files, all of the same length."""
        # Called directly, the tokenizer would warn about truncated texts each time.
        ids, _, _ = self.tokenizer.encode(texts)
        width = self.tokenizer.max_length
        return {
            "token_ids": padded(ids, width, self.tokenizer.pad_id),
            "padding_mask": padded([[1] * len(row) for row in ids], width, 0),
        }

    def judging(self) -> dict[str, np.ndarray]:
        """Held-out texts for comparing files."""
        return self.inputs(self.validation.texts[:_JUDGING])

    def calibration(self) -> dict[str, np.ndarray]:
        """Some of the training texts."""
        return self.inputs(self.training.texts[:_CALIBRATION])

    def counts(self, taught: Taught) -> dict[str, int | None]:
        """The number of texts of each kind, for the records."""
        return {
            "training_images": taught.count,
            "validation_images": len(self.validation.texts),
            "evaluation_images": None if self.evaluation is None else len(self.evaluation.texts),
            "unlabelled_images": len(self.unlabelled),
        }


def load_text_data(
    training_data: str | os.PathLike,
    unlabelled_data: str | os.PathLike | None,
    evaluation_data: str | os.PathLike | None,
    *,
    columns: tuple[str | int | None, str | int | None],
    class_names: Sequence[str] | None,
    tokenizer: Tokenizer,
    validation_split: float,
    seed: int,
    say: Callable[[str], None],
) -> TextData:
    """Reads all texts of a run.

    Args:
        training_data: as for `distil_text`.
        unlabelled_data: the same.
        evaluation_data: the same.
        columns: the columns with texts and labels.
        class_names: the classes in order, or None.
        tokenizer: the tokenizer of the texts.
        validation_split: fraction of the training texts to hold out.
        seed: int seed of the split.
        say: prints a line, or does nothing.

    Raises:
        FileNotFoundError: if a file does not exist.
        ValueError: if a file or an argument is invalid.
    """
    check_number("validation_split", validation_split, above=0, below=1)
    say(f"reading {os.fspath(training_data)}")
    whole = read_texts(training_data, "training_data", *columns, class_names)
    count = len(whole.texts)
    held_out = max(1, round(validation_split * count))
    if held_out >= count:
        raise ValueError(
            f"`validation_split`={validation_split!r} of {count} texts leaves none for training. Give more "
            "`training_data`."
        )
    order = np.random.default_rng(seed).permutation(count)
    evaluation: Any = None
    if evaluation_data is not None:
        evaluation = read_texts(evaluation_data, "evaluation_data", *columns, whole.class_names)
        if (evaluation.labels is None) != (whole.labels is None):
            raise ValueError(
                "`evaluation_data` must have labels if `training_data` has them, and none otherwise. Name "
                "the columns with `text_column` and `label_column`."
            )
    more = None if unlabelled_data is None else read_texts(unlabelled_data, "unlabelled_data", columns[0])
    return TextData(
        training=whole.chosen(np.sort(order[held_out:])),
        validation=whole.chosen(np.sort(order[:held_out])),
        evaluation=evaluation,
        unlabelled=more.texts if more else [],
        tokenizer=tokenizer,
        class_names=whole.class_names,
    )
