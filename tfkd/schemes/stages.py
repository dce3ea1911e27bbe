"""Stages: methods that train in steps, such as hints first and soft targets afterwards."""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tfkd import files, taps
from tfkd.distiller import Distiller


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of training: what is minimized, by which layers, and for how long.

    Args:
        losses: knowledge losses, or one; None for the labels alone.
        epochs: how many, at least 1.
        loss_weights: as `distillation_loss_weights` of `tfkd.Distiller`.
        student_loss_weight: share of the labels' loss, in [0, 1]; None for 1 without losses, else 0.5.
        trainable: paths of the student's layers that are trained, with all inside them; the others are
            frozen for the stage. None for all.
        optimizer: a Keras optimizer, or its name; every `fit` starts with a fresh one like it.
        callbacks: for this stage only; epochs count on from stage to stage.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> Stage(tfkd.losses.Hint("block2", "block2", projector=True), epochs=5, student_loss_weight=0.0)
    """

    losses: Any
    epochs: int
    loss_weights: Sequence[float] | str | None = None
    student_loss_weight: float | None = None
    trainable: str | Sequence[str] | None = None
    optimizer: Any = "adam"
    callbacks: Sequence[keras.callbacks.Callback] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.epochs, int) or self.epochs < 1:
            raise ValueError(f"`epochs` must be an int of at least 1. Received: epochs={self.epochs!r}.")

    def distiller(self, teacher: keras.Model | None, student: keras.Model) -> Distiller:
        """The distiller of this stage."""
        losses = [] if self.losses is None else self.losses
        share = self.student_loss_weight
        if share is None:
            share = 0.5 if losses else 1.0
        return Distiller(teacher, student, losses, self.loss_weights, share)

    def fresh_optimizer(self) -> keras.optimizers.Optimizer:
        """An optimizer like the stage's, without its state."""
        optimizer = keras.optimizers.get(self.optimizer)
        return type(optimizer).from_config(optimizer.get_config())


class Stages:
    """Trains a student in stages, each with losses, layers and an optimizer of its own.

    Args:
        stages: the stages, in order, at least one.

    Attributes:
        distiller: the distiller of the stage that ran last.

    Raises:
        ValueError: if there is no stage.
        TypeError: if one is no `Stage`.

    Example:
        >>> hints = tfkd.losses.Hint("block2", "block2", projector=True)
        >>> stages = Stages(
        ...     [
        ...         Stage(hints, epochs=5, student_loss_weight=0.0, trainable=["block1", "block2"]),
        ...         Stage(tfkd.losses.SoftTargets(temperature=4), epochs=10),
        ...     ]
        ... )
        >>> history = stages.fit(teacher, student, x, y, loss=labels_loss, metrics=["accuracy"])

    Reference:
        Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, for the first method in stages.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = list(stages)
        if not self.stages:
            raise ValueError("`stages` is empty. Give at least one tfkd.schemes.Stage.")
        for stage in self.stages:
            if not isinstance(stage, Stage):
                raise TypeError(
                    "`stages` must hold tfkd.schemes.Stage objects. Received: "
                    f"{stage!r} of type {type(stage)}."
                )
        self.distiller: Distiller | None = None

    def fit(
        self,
        teacher: keras.Model | None,
        student: keras.Model,
        x=None,
        y=None,
        *,
        loss=None,
        metrics=None,
        jit_compile="auto",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        backup_dir: str | os.PathLike | None = None,
        **kwargs,
    ) -> keras.callbacks.History:
        """Runs the stages one after another.

        Args:
            teacher: the teacher; None if no loss looks at it.
            student: the built student; it is trained in place.
            x: data, as in `keras.Model.fit`.
            y: labels, as in `keras.Model.fit`.
            loss: the labels' loss, for stages that count it.
            metrics: metrics of the student's outputs; a stage gets copies of its own.
            jit_compile: as in `Distiller.compile`.
            callbacks: for every stage.
            backup_dir: folder in which finished stages and epochs are kept, so that the same call goes
                on where it was interrupted; None for none. Its contents stay when training ends.
            **kwargs: passed to `Distiller.fit`: `batch_size`, `validation_data`, `verbose` and so on.

        Returns:
            One `keras.callbacks.History` of all epochs, with the number of the stage under `"stage"` and
            NaN where a stage has no such value.

        Raises:
            ValueError: if `backup_dir` holds another plan.
        """
        progress = _Progress(backup_dir, [stage.epochs for stage in self.stages])
        for number, stage in enumerate(self.stages):
            with _only(student, stage.trainable):
                self.distiller = stage.distiller(teacher, student)
                copies = _copies(metrics)
                needs_loss = self.distiller.student_loss_weight > 0
                self.distiller.compile(
                    stage.fresh_optimizer(), loss if needs_loss else None, copies, jit_compile
                )
                if progress.load(number, self.distiller):
                    continue
                first = sum(earlier.epochs for earlier in self.stages[:number])
                extra = [*callbacks, *stage.callbacks, *progress.callbacks(number, first)]
                epochs = {"initial_epoch": first, "epochs": first + stage.epochs}
                self.distiller.fit(x, y, callbacks=extra, **epochs, **kwargs)
                progress.finish(number, self.distiller)
        return progress.history(self.distiller)


class _Progress:
    """What happened so far, in memory and, if there is one, in a folder."""

    def __init__(self, folder, epochs):
        self.folder = None if folder is None else os.fspath(folder)
        self.state = {"epochs": epochs, "finished": 0, "logs": []}
        path = self._path("progress.json")
        if path and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
            if found["epochs"] != epochs:
                raise ValueError(
                    f"`backup_dir` {self.folder!r} holds stages of {found['epochs']} epochs, not {epochs}. "
                    "Give another folder, or remove that one."
                )
            self.state = found

    def _path(self, name):
        return None if self.folder is None else os.path.join(self.folder, name)

    def load(self, number, distiller):
        """Whether the stage is finished; if so, its student and losses get what it left."""
        if number >= self.state["finished"]:
            return False
        distiller.load_weights(self._path(f"stage_{number}.weights.h5"))
        return True

    def callbacks(self, number, first):
        """Those that keep epochs; what a backup will repeat is forgotten."""
        record = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: self._forget_from(epoch),
            on_epoch_end=lambda epoch, logs: self._add({"epoch": epoch, "stage": number, **logs}),
        )
        if self.folder is None:
            return [record]
        os.makedirs(self.folder, exist_ok=True)
        # The record comes first: an epoch in the backup is then surely in the record, too.
        backup = keras.callbacks.BackupAndRestore(self._path("running"), delete_checkpoint=False)
        return [record, backup]

    def _forget_from(self, epoch):
        self.state["logs"] = [logs for logs in self.state["logs"] if logs["epoch"] < epoch]

    def _add(self, logs):
        self.state["logs"].append({key: float(value) for key, value in logs.items()})
        self._save()

    def finish(self, number, distiller):
        self.state["finished"] = number + 1
        if self.folder is None:
            return
        with files.replacing(self._path(f"stage_{number}.weights.h5")) as temporary:
            distiller.save_weights(temporary)
        self._save()
        shutil.rmtree(self._path("running"), ignore_errors=True)

    def _save(self):
        if self.folder is not None:
            files.write_text(self._path("progress.json"), json.dumps(self.state))

    def history(self, distiller):
        """All epochs as one History."""
        history = keras.callbacks.History()
        history.set_model(distiller)
        history.epoch = [int(logs["epoch"]) for logs in self.state["logs"]]
        keys = dict.fromkeys(key for logs in self.state["logs"] for key in logs if key != "epoch")
        history.history = {
            key: [logs.get(key, float("nan")) for logs in self.state["logs"]] for key in keys
        }
        return history


@contextlib.contextmanager
def _only(student, trainable) -> Iterator[None]:
    """Freezes all layers of the student but those at the given paths, while the block runs."""
    if trainable is None:
        yield
        return
    paths = [trainable] if isinstance(trainable, str) else list(trainable)
    for path in paths:
        taps.resolve(student, path)
    named = taps.named_layers(student)
    trained = {id(v) for path in paths for v in named[path].variables}
    leaves = [layer for layer in named.values() if layer.variables and not _inner(layer)]
    frozen = [
        layer
        for layer in leaves
        if layer.trainable and not any(id(variable) in trained for variable in layer.variables)
    ]
    for layer in frozen:
        layer.trainable = False
    try:
        yield
    finally:
        for layer in frozen:
            layer.trainable = True


def _inner(layer):
    return layer._flatten_layers(include_self=False, recursive=False)


def _copies(metrics):
    """Metrics of the same kind without state, since each stage compiles anew."""
    return keras.tree.map_structure(
        lambda each: (
            type(each).from_config(each.get_config()) if isinstance(each, keras.metrics.Metric) else each
        ),
        metrics,
    )
