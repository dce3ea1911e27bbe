"""How schemes train small networks, for `test_contract.py`, which checks what must hold for all of them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tests.conftest import small_network

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a test asks of a scheme's run.

    Args:
        teacher: a trained network that returns logits.
        x: images `(n, 12, 12, 1)` in [0, 1].
        y: their classes `(n,)`.
        student: makes a new student of a name.
        loss: the knowledge loss, or None for the scheme's own.
        epochs: of each part of the run.
        folder: where the run is kept, so that the same run goes on from there; None for nowhere.
        callbacks: for every `fit`.
        jit_compile: as Keras takes it.
    """

    teacher: keras.Model
    x: Any
    y: Any
    student: Callable[[str], keras.Model] = lambda name: small_network(4, name=name)
    loss: Any = None
    epochs: int = 2
    folder: str | None = None
    callbacks: Sequence[keras.callbacks.Callback] = ()
    jit_compile: bool | str = "auto"

    @property
    def with_backup(self) -> list[keras.callbacks.Callback]:
        """The callbacks, one that keeps each epoch in the folder among them."""
        if self.folder is None:
            return list(self.callbacks)
        # Last, so that what a test does at the end of an epoch happens before it is kept.
        return [*self.callbacks, keras.callbacks.BackupAndRestore(self.folder, delete_checkpoint=False)]

    def fit(self, model: keras.Model, callbacks=()) -> keras.callbacks.History:
        """Trains a model that was compiled, three steps an epoch of 48 images, in an order that resumes."""
        return model.fit(
            self.x,
            self.y,
            batch_size=16,
            epochs=self.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[*callbacks, *self.with_backup],
        )


@dataclasses.dataclass(frozen=True)
class Ran:
    """What a run gave.

    Args:
        history: of Keras.
        students: all networks that were trained, in a fixed order.
        model: what was fitted, to be saved and loaded; None for schemes that are functions.
    """

    history: keras.callbacks.History
    students: Sequence[keras.Model]
    model: keras.Model | None = None


@dataclasses.dataclass(frozen=True)
class Case:
    """How a scheme trains.

    Args:
        run: builds networks and optimizers anew and trains them.
        takes_losses: whether `loss` may be any of `tfkd.losses`.
        leave_out: names of the contract's tests that cannot hold, with the reasons.
    """

    run: Callable[[Setting], Ran]
    takes_losses: bool = True
    leave_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
