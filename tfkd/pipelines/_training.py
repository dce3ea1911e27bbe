"""Trains one student without data, with the callbacks of a run."""

import dataclasses
from collections.abc import Callable

import keras

from tfkd._core.replicas import check_same_epoch
from tfkd.callbacks import KeepLastGood
from tfkd.datafree import DataFreeDistiller, Health, ImageSummaries
from tfkd.pipelines._boards import BOARD, write_hparams
from tfkd.pipelines._examples import Examples
from tfkd.pipelines._history import RunHistory
from tfkd.pipelines._progress import ShownProgress
from tfkd.pipelines._run_folder import STATE, RunFolder
from tfkd.pipelines._saving import FolderCheck, ImageGrids, SaveState


@dataclasses.dataclass(frozen=True)
class Training:
    """A completed training run.

    Attributes:
        history: a row for each epoch.
        health: "findings" and figures ("series") of all epochs, including those before an interruption.
        first_step: number of steps taken by earlier students' runs.
        steps: number of steps of this run, including those before an interruption.
        stopped: the reason for stopping early, or None.
    """

    history: RunHistory
    health: dict
    first_step: int
    steps: int
    stopped: str | None


def train(
    distiller: DataFreeDistiller,
    steps_per_epoch: int,
    data: Examples | None,
    folder: RunFolder | None,
    verbose: int,
    say: Callable[[str], None],
) -> Training:
    """Trains a student to the end of its recipe, or resumes an interrupted run.

    Args:
        distiller: a compiled, untrained distiller.
        steps_per_epoch: number of steps in an epoch.
        data: real examples for evaluation only, or None.
        folder: folder for history, state, pictures and TensorBoard's events; an existing state is resumed.
            None to save nothing.
        verbose: as in `keras.Model.fit`.
        say: prints a line, or does nothing.
    """
    epochs, first_step = distiller.recipe.epochs, int(distiller.steps_done.numpy())
    initial_epoch = 0
    if folder is not None and folder.state:
        distiller.load_weights(folder.state)
        initial_epoch = (int(distiller.steps_done.numpy()) - first_step) // steps_per_epoch
        say(f"resuming after epoch {initial_epoch} of {epochs}")
    if folder is not None:
        check_same_epoch(distiller.distribute_strategy, initial_epoch)
        write_hparams(folder, recipe=distiller.recipe.describe())
    keep, health = KeepLastGood(), Health(every=max(1, epochs // 40))
    history = RunHistory(None if folder is None else folder.file("history.json"))
    with ShownProgress(verbose, health) as progress:
        distiller.fit(
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            initial_epoch=initial_epoch,
            validation_data=data,
            validation_batch_size=500,
            validation_freq=max(1, epochs // 8),
            callbacks=[*_checking(folder), keep, health, history, *_writing(folder, epochs), progress],
            verbose=0,
        )
    steps = int(distiller.steps_done.numpy()) - first_step
    return Training(history, _health(health, history.rows), first_step, steps, _stopped(keep))


def _checking(folder: RunFolder | None) -> list[keras.callbacks.Callback]:
    """Callbacks that run before anything is written."""
    return [] if folder is None else [FolderCheck(folder)]


def _writing(folder: RunFolder | None, epochs: int) -> list[keras.callbacks.Callback]:
    if folder is None:
        return []
    board, grids = folder.file(BOARD), ImageGrids(folder.file("images"), epochs)
    return [
        grids,
        keras.callbacks.TensorBoard(board, write_graph=False),
        ImageSummaries(board, grids.every),
        SaveState(folder.file(STATE)),
    ]


def _stopped(keep):
    if keep.stopped_epoch is None:
        return None
    good = keep.good_epoch + 1
    kept = f"the one after epoch {good}" if good else "as it was before training"
    return (
        f"the loss was no longer finite in epoch {keep.stopped_epoch + 1}, training stopped there, and "
        f"the student is {kept}"
    )


def _health(health, rows):
    rows = [row for row in rows if "health_agreement" in row]
    names = ["epoch", *(name for name in rows[0] if name.startswith("health_"))] if rows else []
    return {
        "findings": health.review(rows),
        "series": {name: [row[name] for row in rows] for name in names},
    }
