"""The stages of a compression: wrapped students, trained one after another."""

import os
import time
from collections.abc import Callable

import keras
import tensorflow as tf

from tfkd.callbacks import KeepLastGood
from tfkd.optimizers import warmed_up_cosine
from tfkd.pipelines._boards import BOARD, write_hparams
from tfkd.pipelines._examples import Examples
from tfkd.pipelines._history import RunHistory
from tfkd.pipelines._progress import ShownProgress
from tfkd.pipelines._run_folder import RunFolder
from tfkd.pipelines._saving import FolderCheck, SaveState
from tfkd.pipelines._shared_warm_up import SharedWarmUp
from tfkd.pipelines._text_lessons import TextLessons


class CompressionStages:
    """Trains wrapped students one after another, each with the same recipe.

    The source of images continues from stage to stage, so only the first one warms up. Stages saved by an
    interrupted run are resumed, or reused if complete.

    Args:
        warm_up: makes the students' distillers.
        examples: real `(inputs, labels)` to mix with synthesized inputs, or to train on alone; or None.
        learning_rate: peak rate of Adam in each stage.
        jit_compile: as for `DataFreeDistiller.compile`.
        folder: where the state of each stage is saved and found by a resumed run; None to save nothing.
        verbose: as in `keras.Model.fit`.
        say: prints a line, or does nothing.

    Attributes:
        rows: for each stage, its name, seconds, updates, last loss and agreement.
        earlier_seconds: training time of earlier, interrupted processes.
    """

    def __init__(
        self,
        warm_up: SharedWarmUp | TextLessons,
        examples: Examples | None,
        learning_rate: float,
        jit_compile: bool | str,
        folder: RunFolder | None,
        verbose: int,
        say: Callable[[str], None],
    ) -> None:
        self.warm_up, self.examples, self.learning_rate = warm_up, examples, learning_rate
        self.jit_compile, self.folder, self.verbose, self._say = jit_compile, folder, verbose, say
        self.rows: list[dict] = []
        self.earlier_seconds = 0.0

    @property
    def passes(self) -> int:
        """The number of forward passes of the next stage's student per batch: one for each part."""
        return self.warm_up.student_updates * self.warm_up.recipe.microbatches

    def run(self, name: str, student: keras.Model) -> keras.Model:
        """Trains a student; returns it.

        Raises:
            FloatingPointError: if the loss becomes NaN or infinite.
        """
        recipe, start = self.warm_up.recipe, time.perf_counter()
        steps_per_epoch = self.warm_up.steps_per_epoch
        distiller = self.warm_up.distiller(student)
        rate = warmed_up_cosine(self.learning_rate, self.warm_up.student_updates)
        distiller.compile(keras.optimizers.Adam(rate), jit_compile=self.jit_compile)
        done = self._resumed(name, distiller) // steps_per_epoch
        epochs = f"{recipe.epochs} epoch{'s' * (recipe.epochs > 1)}"
        self._say(f"{name}: {epochs}" + f", {done} of them done earlier" * (done > 0))
        history = RunHistory(self._file(name, "json"))
        if done < recipe.epochs:
            self._fit(name, distiller, done, history)
        self.warm_up.ended(distiller)
        # A stage that is not trained again must not change later random numbers.
        keras.utils.set_random_seed(self.warm_up.seed)
        self.earlier_seconds += history.earlier_seconds
        self.rows.append(
            {
                "name": name,
                "seconds": time.perf_counter() - start + history.earlier_seconds,
                "updates": int(distiller.optimizer.iterations.numpy()),
                "loss": history.rows[-1]["loss"],
                # It is not measured for students trained on real texts.
                "agreement": history.rows[-1].get("agreement"),
            }
        )
        return student

    def _resumed(self, name, distiller):
        """Restores an interrupted or complete stage; returns the number of steps taken."""
        first_step, state = self.warm_up.steps_done(distiller), self._file(name, "weights.h5")
        if state is not None and os.path.exists(state):
            distiller.load_weights(state)
        return self.warm_up.steps_done(distiller) - first_step

    def _fit(self, name, distiller, initial_epoch, history):
        steps_per_epoch, keep = self.warm_up.steps_per_epoch, KeepLastGood()
        state = self._file(name, "weights.h5")
        saving = []
        if self.folder is not None and state is not None:
            write_hparams(self.folder)
            board = keras.callbacks.TensorBoard(self.folder.file(f"{BOARD}/{name}"), write_graph=False)
            saving = [FolderCheck(self.folder), board, SaveState(state)]
        # Keras would warn that it cannot shuffle the examples; their order changes anyway.
        order = {} if self.examples is None else {"shuffle": False}
        with ShownProgress(self.verbose) as progress:
            distiller.fit(
                self._examples_again_and_again(initial_epoch * steps_per_epoch),
                epochs=self.warm_up.recipe.epochs,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                callbacks=[*saving[:1], keep, history, *saving[1:], progress],
                verbose=0,
                **order,
            )
        if keep.stopped_epoch is None:
            return
        if state is not None:
            # Nothing to continue from.
            os.remove(state)
        raise FloatingPointError(
            f"Stage {name!r}: the loss was no longer finite in epoch {keep.stopped_epoch + 1}. Use a "
            "smaller `learning_rate`."
        )

    def _file(self, name, ending):
        return None if self.folder is None else self.folder.file(f"state/{name}.{ending}")

    def _examples_again_and_again(self, seen):
        """Real examples, repeated endlessly so that a stage keeps its length; None if there are none.

        Args:
            seen: number of batches that an interrupted run has already used.
        """
        if self.examples is None:
            return None
        data = tf.data.Dataset.from_tensor_slices(self.examples)
        data = data.shuffle(len(self.examples[1]), seed=self.warm_up.seed).repeat()
        return data.batch(self.warm_up.recipe.batch_size).skip(seen)
