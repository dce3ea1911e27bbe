"""Stages: methods that train in steps, such as hints first and soft targets afterwards."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tfkd import taps
from tfkd._core import files
from tfkd._core.checks import check_int
from tfkd._core.copies import clone, fresh_metrics
from tfkd._core.fingerprints import fingerprint
from tfkd.distilling import Distillation, Distiller
from tfkd.losses._features import as_list
from tfkd.losses._keras_losses import as_knowledge_loss


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
        scheme: what trains the stage: a function of `(teacher, student, losses, loss_weights,
            student_loss_weight)` that returns a model of the `tfkd.distilling.Distillation` protocol, which
            `compile`, `fit` and `save_weights` work on as on a distiller; None for `tfkd.Distiller`.

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
    scheme: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        check_int("epochs", self.epochs)

    @property
    def labels_share(self) -> float:
        """The share of the labels' loss."""
        if self.student_loss_weight is not None:
            return self.student_loss_weight
        return 0.5 if self.losses else 1.0

    def distiller(self, teacher: keras.Model | None, student: keras.Model) -> Any:
        """The distiller, or the scheme, of this stage."""
        make = Distiller if self.scheme is None else self.scheme
        losses = [] if self.losses is None else self.losses
        made = make(teacher, student, losses, self.loss_weights, self.labels_share)
        if not isinstance(made, Distillation):
            raise TypeError(
                "`scheme` must return a distiller or a model with `students`, `loss_sets` and `sources`. "
                f"Received: {made!r} of type {type(made)}."
            )
        return made

    def description(self) -> dict:
        """What the stage does, in values that can be compared and written."""
        losses = [] if self.losses is None else as_list(self.losses)
        scheme = {} if self.scheme is None else {"scheme": repr(self.scheme)}
        return {
            **scheme,
            "losses": [keras.saving.serialize_keras_object(as_knowledge_loss(loss)) for loss in losses],
            "epochs": self.epochs,
            "loss_weights": self.loss_weights,
            "student_loss_weight": self.student_loss_weight,
            "trainable": self.trainable,
            "optimizer": keras.saving.serialize_keras_object(self.fresh_optimizer()),
        }

    def fresh_optimizer(self) -> keras.optimizers.Optimizer:
        """An optimizer like the stage's, without its state."""
        return clone(keras.optimizers.get(self.optimizer))


class Stages:
    """Trains a student in stages, each with losses, layers and an optimizer of its own.

    Args:
        stages: the stages, in order, at least one.

    Attributes:
        distiller: the distiller, or the scheme, of the stage that ran last.

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
        self.distiller: Any = None

    def fit(
        self,
        teacher: keras.Model | None,
        student: keras.Model,
        x: Any = None,
        y: Any = None,
        *,
        loss: Any = None,
        metrics: Any = None,
        jit_compile: bool | str = "auto",
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
            backup_dir: folder in which every epoch is kept, so that the same call, with models that are
                built, goes on where it was interrupted; None for none. It stays when training ends.
            **kwargs: passed to `Distiller.fit`: `batch_size`, `validation_data`, `verbose` and so on.

        Returns:
            One `keras.callbacks.History` of all epochs, with the number of the stage under `"stage"` and
            NaN where a stage has no such value.

        Raises:
            ValueError: if `backup_dir` holds a run of another teacher or of other stages.
        """
        progress = _Progress(backup_dir, self._plan(teacher))
        for number, stage in enumerate(self.stages):
            with _only(student, stage.trainable):
                self.distiller = stage.distiller(teacher, student)
                needs_loss = stage.labels_share > 0
                self.distiller.compile(
                    stage.fresh_optimizer(),
                    loss if needs_loss else None,
                    fresh_metrics(metrics),
                    jit_compile,
                )
                first = sum(earlier.epochs for earlier in self.stages[:number])
                last = first + stage.epochs
                epoch = progress.restore(number, first, self.distiller)
                if epoch == last:
                    continue
                extra = [*callbacks, *stage.callbacks, progress.callback(number, self.distiller)]
                self.distiller.fit(x, y, callbacks=extra, initial_epoch=epoch, epochs=last, **kwargs)
        return progress.history(self.distiller)

    def _plan(self, teacher):
        """What must be the same for a backup to fit, as JSON would give it back."""
        stages = [stage.description() for stage in self.stages]
        known = None if teacher is None else fingerprint(teacher)
        plan = json.loads(json.dumps({"teacher": known, "stages": stages}, default=str))
        return _without_names(plan)


class _Progress:
    """What happened so far, in memory and, if there is one, in a folder.

    The folder has the weights of the last epoch of every stage begun, and `progress.json`, which names
    them and is replaced after they are written: whenever a run is killed, the folder holds a whole epoch.
    """

    def __init__(self, folder, plan):
        self.folder = None if folder is None else os.fspath(folder)
        self.state = {"plan": plan, "weights": {}, "logs": []}
        if self.folder is None:
            return
        path = os.path.join(self.folder, "progress.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
            if found["plan"] != plan:
                raise ValueError(
                    f"`backup_dir` {self.folder!r} holds a run of another teacher or of other stages. Give "
                    "another folder, or remove that one."
                )
            self.state = found

    def restore(self, number, first, distiller):
        """Gives student, losses and optimizer what the stage left last; returns the epoch to go on with."""
        saved = self.state["weights"].get(str(number))
        if self.folder is None or saved is None:
            return first
        distiller.load_weights(os.path.join(self.folder, saved["file"]))
        return saved["epochs"]

    def callback(self, number, distiller):
        """The one that keeps every epoch."""
        return keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: self._keep(number, epoch, logs, distiller)
        )

    def _keep(self, number, epoch, logs, distiller):
        values = {key: np.asarray(value).tolist() for key, value in logs.items()}
        self.state["logs"].append({"epoch": epoch, "stage": number, **values})
        if self.folder is None:
            return
        before = self.state["weights"].get(str(number))
        name = f"stage_{number}_epoch_{epoch}.weights.h5"
        with files.replacing(os.path.join(self.folder, name)) as temporary:
            distiller.save_weights(temporary)
        self.state["weights"][str(number)] = {"file": name, "epochs": epoch + 1}
        files.write_text(os.path.join(self.folder, "progress.json"), json.dumps(self.state))
        if before is not None:
            os.remove(os.path.join(self.folder, before["file"]))

    def history(self, distiller):
        """All epochs as one History."""
        history = keras.callbacks.History()
        history.set_model(distiller)
        history.epoch = [logs["epoch"] for logs in self.state["logs"]]
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
    trained = {id(variable) for path in paths for variable in named[path].variables}
    # Layers, not only variables: a frozen batch normalization also keeps its statistics.
    frozen = [
        layer
        for layer in named.values()
        if layer.trainable and not any(id(variable) in trained for variable in layer.variables)
    ]
    states = [(layer, layer.trainable) for layer in named.values()]
    loose = [v for v in student.trainable_variables if id(v) not in trained]
    for each in (*frozen, *loose):
        each.trainable = False
    try:
        yield
    finally:
        for each in loose:
            each.trainable = True
        for layer, trainable in states:
            layer.trainable = trainable


def _without_names(config):
    """A configuration without what differs between two objects made alike."""
    if isinstance(config, list):
        return [_without_names(each) for each in config]
    if not isinstance(config, dict):
        return config
    aside = "name", "build_config", "shared_object_id"
    return {key: _without_names(value) for key, value in config.items() if key not in aside}
