"""Stages: training in several stages, such as hints first and soft targets afterwards."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from tfkd import taps
from tfkd._core.checks import check_int
from tfkd._core.copies import clone, fresh_metrics
from tfkd._core.fingerprints import fingerprint
from tfkd._core.seeding import seeded
from tfkd.distilling import Distillation, Distiller
from tfkd.losses._features import as_list
from tfkd.losses._keras_losses import as_knowledge_loss
from tfkd.schemes._progress import Progress, as_plan, one_history


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of training: its losses, trained layers and length.

    Args:
        losses: knowledge losses, or one; None for the labels alone.
        epochs: number of epochs, at least 1.
        loss_weights: as for `distillation_loss_weights` of `tfkd.Distiller`.
        student_loss_weight: weight of the labels' loss, in [0, 1]; None for 1 without losses, otherwise
            0.5.
        trainable: paths of the student's layers to train, including everything inside them; the others are
            frozen during the stage. None for all.
        optimizer: a Keras optimizer, or its name; each `fit` starts with a fresh copy. None for the
            scheme's own, if it has one.
        callbacks: callbacks for this stage only; epochs are numbered continuously across stages.
        scheme: how the stage is trained: a function of `(teacher, student, losses, loss_weights,
            student_loss_weight)` that returns a model of the `tfkd.distilling.Distillation` protocol, whose
            `compile`, `fit` and `save_weights` take the same keywords as a distiller's; None for
            `tfkd.Distiller`. A backup identifies it by its `repr`.

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
                "`optimizer` may be None only if a `scheme` has its own. Give one, such as 'adam'."
            )

    @property
    def labels_share(self) -> float:
        """The weight of the labels' loss."""
        if self.student_loss_weight is not None:
            return self.student_loss_weight
        return 0.5 if self.losses else 1.0

    def distiller(self, teacher: keras.Model | None, student: keras.Model) -> Any:
        """The distiller, or the scheme, of this stage."""
        make = Distiller if self.scheme is None else self.scheme
        losses = [] if self.losses is None else self.losses
        # In the scope of the student's strategy.
        with student.distribute_strategy.scope():
            made = make(teacher, student, losses, self.loss_weights, self.labels_share)
        if not isinstance(made, Distillation):
            raise TypeError(
                "`scheme` must return a distiller or a model with `students`, `loss_sets` and `sources`. "
                f"Received: {made!r} of type {type(made)}."
            )
        return made

    def description(self) -> dict:
        """A description of the stage in values that can be compared and saved."""
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
        """A copy of the stage's optimizer without its state; None for the scheme's own."""
        return None if self.optimizer is None else clone(keras.optimizers.get(self.optimizer))


class Stages:
    """Trains a student in stages, each with its own losses, layers and optimizer.

    Args:
        stages: the stages, in order, at least one.
        seed: int seed of the initial values of the losses' trained parts; None for a random one, which a
            backup stores.

    Attributes:
        distiller: the distiller, or the scheme, of the last stage that ran.

    Raises:
        ValueError: if there are no stages.
        TypeError: if one is not a `Stage`.

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
        Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, the first method with stages.
    """

    def __init__(self, stages: Sequence[Stage], seed: int | None = None) -> None:
        self.stages, self.seed = list(stages), seed
        if not self.stages:
            raise ValueError("`stages` is empty. Give at least one tfkd.schemes.Stage.")
        for stage in self.stages:
            if not isinstance(stage, Stage):
                raise TypeError(
                    f"`stages` must contain tfkd.schemes.Stage objects. Received: {stage!r} of type "
                    f"{type(stage)}."
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
            teacher: the teacher; None if no loss uses it.
            student: the built student; it is trained in place.
            x: data, as in `keras.Model.fit`. The shuffling order of arrays is not part of a backup: for
                exactly the same weights, use `shuffle=False`, or a data set that shuffles with a seed.
            y: labels, as in `keras.Model.fit`.
            loss: the labels' loss, for stages that use it.
            metrics: metrics of the student's outputs; each stage gets its own copies.
            jit_compile: as for `Distiller.compile`.
            callbacks: callbacks for every stage.
            backup_dir: folder in which every epoch is saved, so that the same call, with built models,
                resumes after an interruption; None for no backup. It is kept when training ends. Each
                worker of a strategy needs its own folder.
            **kwargs: passed to `Distiller.fit`: `batch_size`, `validation_data`, `verbose` and so on.

        Returns:
            One `keras.callbacks.History` of all epochs, with the number of the stage under `"stage"` and
            NaN where a stage lacks that value.

        Raises:
            ValueError: if `backup_dir` contains a run with another teacher or other stages.
        """
        progress = Progress(backup_dir, self._plan(teacher), self.seed)
        for number, stage in enumerate(self.stages):
            with _only(student, stage.trainable):
                # Built the same in a resumed run.
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
        """The settings that must match to resume from a backup, round-tripped through JSON."""
        known = None if teacher is None else fingerprint(teacher)
        return as_plan({"teacher": known, "stages": [stage.description() for stage in self.stages]})


@contextlib.contextmanager
def _only(student, trainable) -> Iterator[None]:
    """Freezes all layers of the student except those at the given paths, within the block."""
    if trainable is None:
        yield
        return
    paths = [trainable] if isinstance(trainable, str) else list(trainable)
    for path in paths:
        taps.resolve(student, path)
    named = taps.named_layers(student)
    trained = {id(variable) for path in paths for variable in named[path].variables}
    # Layers, not only variables: a frozen batch normalization must also keep its statistics.
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
