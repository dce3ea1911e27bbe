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
from tfkd._core.seeding import drawn_seed, seeded
from tfkd.distilling import Distillation, Distiller
from tfkd.losses._features import as_list
from tfkd.losses._keras_losses import as_knowledge_loss

_FILE = "progress.json"


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
        optimizer: a Keras optimizer, or its name; every `fit` starts with a fresh one like it. None for the
            scheme's own, where it has one.
        callbacks: for this stage only; epochs count on from stage to stage.
        scheme: what trains the stage: a function of `(teacher, student, losses, loss_weights,
            student_loss_weight)` that returns a model of the `tfkd.distilling.Distillation` protocol, whose
            `compile`, `fit` and `save_weights` take the same keywords as a distiller's; None for
            `tfkd.Distiller`. A backup knows it by its `repr`.

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
        if self.optimizer is None and self.scheme is None:
            raise ValueError(
                "`optimizer` may be None only where a `scheme` has one of its own. Give one, as 'adam'."
            )

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
        # Where the student has its replicas.
        with student.distribute_strategy.scope():
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

    def fresh_optimizer(self) -> keras.optimizers.Optimizer | None:
        """An optimizer like the stage's, without its state; None for the scheme's own."""
        return None if self.optimizer is None else clone(keras.optimizers.get(self.optimizer))


class Stages:
    """Trains a student in stages, each with losses, layers and an optimizer of its own.

    Args:
        stages: the stages, in order, at least one.
        seed: int that the initial values of the losses' trained parts follow from; None for a fresh one,
            which a backup keeps.

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

    def __init__(self, stages: Sequence[Stage], seed: int | None = None) -> None:
        self.stages, self.seed = list(stages), seed
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
            x: data, as in `keras.Model.fit`. The order that arrays are shuffled in is not part of a backup:
                for the very same weights give `shuffle=False`, or a data set that shuffles by a seed.
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
        progress = _Progress(backup_dir, self._plan(teacher), self.seed)
        for number, stage in enumerate(self.stages):
            with _only(student, stage.trainable):
                # Built alike in a run that goes on.
                with seeded(progress.seed + number), student.distribute_strategy.scope():
                    self.distiller = stage.distiller(teacher, student)
                    self.distiller.compile(
                        optimizer=stage.fresh_optimizer(),
                        loss=loss if stage.labels_share > 0 else None,
                        metrics=fresh_metrics(metrics),
                        jit_compile=jit_compile,
                    )
                first = sum(earlier.epochs for earlier in self.stages[:number])
                last = first + stage.epochs
                epoch = progress.restore(number, first, self.distiller)
                if epoch == last or progress.is_finished(number):
                    continue
                extra = [*callbacks, *stage.callbacks, progress.callback(number, self.distiller)]
                self.distiller.fit(x, y, callbacks=extra, initial_epoch=epoch, epochs=last, **kwargs)
                progress.finish(number, self.distiller)
        return one_history(progress.logs, self.distiller)

    def _plan(self, teacher):
        """What must be the same for a backup to fit, as JSON would give it back."""
        known = None if teacher is None else fingerprint(teacher)
        return as_plan({"teacher": known, "stages": [stage.description() for stage in self.stages]})


class _Progress:
    """What happened so far, in memory and, if there is one, in a folder.

    The folder has the weights that every stage begun left last, and `progress.json`, which names them and
    is replaced after they are written: whenever a run is killed, the folder holds a whole epoch.
    """

    def __init__(self, folder, plan, seed):
        self.folder = None if folder is None else os.fspath(folder)
        seed = drawn_seed() if seed is None else seed
        self.state = {"plan": plan, "seed": seed, "weights": {}, "logs": []}
        found = None if self.folder is None else read_plan(self.folder, _FILE)
        if found is not None:
            check_plan(
                found,
                plan,
                f"`backup_dir` {self.folder!r} holds a run of another teacher or of other stages",
            )
            # Folders of earlier versions have no seed.
            self.state = {"seed": seed, **found}

    @property
    def seed(self) -> int:
        """What everything that is built follows from."""
        return self.state["seed"]

    @property
    def logs(self) -> list[dict]:
        """Those of all epochs, with their numbers and stages."""
        return self.state["logs"]

    def restore(self, number, first, distiller):
        """Gives student, losses and optimizer what the stage left last; returns the epoch to go on with."""
        saved = self._saved(number)
        if self.folder is None or saved is None:
            return first
        distiller.load_weights(os.path.join(self.folder, saved["file"]))
        return saved["epochs"]

    def is_finished(self, number):
        """Whether a stage ended, be it early."""
        return (self._saved(number) or {}).get("finished", False)

    def _saved(self, number):
        return self.state["weights"].get(str(number))

    def callback(self, number, distiller):
        """The one that keeps every epoch."""
        return keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: self._keep_epoch(number, epoch, logs, distiller)
        )

    def finish(self, number, distiller):
        """Keeps what callbacks have made of the weights when the stage ended, such as its best epoch."""
        saved = self._saved(number)
        if saved is not None:
            self._keep(number, f"stage_{number}_end.weights.h5", saved["epochs"], True, distiller)

    def _keep_epoch(self, number, epoch, logs, distiller):
        values = {key: np.asarray(value).tolist() for key, value in logs.items()}
        self.state["logs"].append({"epoch": epoch, "stage": number, **values})
        self._keep(number, f"stage_{number}_epoch_{epoch}.weights.h5", epoch + 1, False, distiller)

    def _keep(self, number, name, epochs, finished, distiller):
        if self.folder is None:
            return
        before = self._saved(number)
        with files.replacing(os.path.join(self.folder, name)) as temporary:
            distiller.save_weights(temporary)
        self.state["weights"][str(number)] = {"file": name, "epochs": epochs, "finished": finished}
        files.write_text(os.path.join(self.folder, _FILE), json.dumps(self.state))
        if before is not None and before["file"] != name:
            os.remove(os.path.join(self.folder, before["file"]))


def one_history(logs: Sequence[dict], distiller: Any) -> keras.callbacks.History:
    """The logs of all epochs as one History, NaN where an epoch has no such value.

    Args:
        logs: of each epoch, with its number under "epoch".
        distiller: the model that the history is of.
    """
    history = keras.callbacks.History()
    history.set_model(distiller)
    history.epoch = [each["epoch"] for each in logs]
    keys = dict.fromkeys(key for each in logs for key in each if key != "epoch")
    history.history = {key: [each.get(key, float("nan")) for each in logs] for key in keys}
    return history


def as_plan(plan: dict) -> dict:
    """What a run does, as JSON gives it back, without what differs between two objects made alike."""
    plain = json.loads(json.dumps(plan, default=str))
    return {key: _without_names(value) for key, value in plain.items()}


def read_plan(folder: str, name: str) -> dict | None:
    """What a folder's JSON file says; None if there is none."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def check_plan(found: dict, plan: dict, what: str) -> None:
    """Raises ValueError if the run that a folder holds does something else.

    Args:
        found: what the folder says.
        plan: what is to be done, of `as_plan`.
        what: the folder holds, in words.
    """
    if found["plan"] != plan:
        raise ValueError(f"{what}. Give another folder, or remove that one.")


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
