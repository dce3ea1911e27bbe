"""Fine-tuning of text teachers before distillation."""

import os
from collections.abc import Callable
from typing import Any

import keras

from tfkd import text
from tfkd.pipelines._run_folder import RunFolder
from tfkd.pipelines._text_data import TextData
from tfkd.tasks import task_of

_RATE, _BATCH = 1e-4, 32


def fine_tune(
    teacher: keras.Model,
    data: TextData,
    epochs: int,
    seed: int,
    place: RunFolder | None,
    say: Callable[[str], None],
) -> None:
    """Fine-tunes a classifier, or restores the weights saved by an interrupted run.

    If interrupted midway, it starts from the beginning, with the same outcome.

    Args:
        teacher: a classifier with a new head; it is trained in place.
        data: the texts.
        epochs: number of epochs.
        seed: int seed of the order of the texts.
        place: where to save it as `teacher.keras`; None to write nothing.
        say: prints a line, or does nothing.
    """
    path = place and place.file("teacher.keras")
    if path and os.path.exists(path):
        teacher.load_weights(path)
        return
    say(f"fine-tuning the teacher on {len(data.training.texts):,} labelled texts, {epochs} epochs")
    seeds = text.EpochSeed((seed, 1))
    examples = data.batches(data.training, seeds, _BATCH)
    rate: Any = text.LinearDecay(_RATE, epochs * int(examples.cardinality()))
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0)
    task = task_of(teacher)
    teacher.compile(optimizer, task.label_loss(), metrics=[task.metric()])
    told = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: say(f"teacher, epoch {epoch + 1}/{epochs}{_figures(logs)}")
    )
    teacher.fit(
        examples,
        validation_data=data.validation_batches(labelled=True),
        epochs=epochs,
        callbacks=[seeds, told],
        shuffle=False,
        verbose=0,
    )
    if place:
        place.save_model("teacher.keras", teacher)


def _figures(logs):
    return "".join(f"  {name} {value:.4g}" for name, value in (logs or {}).items())
