"""The stages of a compression: wrapped students that learn one after the other."""

import time
from collections.abc import Callable

import keras
import tensorflow as tf

from tfkd.callbacks import KeepLastGood
from tfkd.optimizers import warmed_up_cosine
from tfkd.pipelines._examples import Examples
from tfkd.pipelines._shared_warm_up import SharedWarmUp


class CompressionStages:
    """Trains one wrapped student after the other, each by the same recipe.

    What makes images goes on from stage to stage, so that only the first warms up.

    Args:
        warm_up: makes the students' distillers.
        examples: real `(inputs, labels)` to put beside synthesized inputs, or None.
        learning_rate: peak rate of Adam in each stage.
        jit_compile: as `DataFreeDistiller.compile` takes it.
        verbose: as in `keras.Model.fit`.
        say: prints a line, or does not.

    Attributes:
        rows: for each stage its name, seconds, updates, last loss and agreement.
    """

    def __init__(
        self,
        warm_up: SharedWarmUp,
        examples: Examples | None,
        learning_rate: float,
        jit_compile: bool | str,
        verbose: int,
        say: Callable[[str], None],
    ) -> None:
        self.warm_up, self.examples, self.learning_rate = warm_up, examples, learning_rate
        self.jit_compile, self.verbose, self._say = jit_compile, verbose, say
        self.rows: list[dict] = []

    @property
    def passes(self) -> int:
        """How often the student of the next stage sees a batch: each part that it learns in is a pass."""
        return self.warm_up.student_updates * self.warm_up.recipe.microbatches

    def run(self, name: str, student: keras.Model) -> keras.Model:
        """Trains a student; returns it.

        Raises:
            RuntimeError: if the loss is no longer finite.
        """
        recipe, start = self.warm_up.recipe, time.perf_counter()
        self._say(f"{name}: {recipe.epochs} epochs")
        distiller = self.warm_up.distiller(student)
        rate = warmed_up_cosine(self.learning_rate, self.warm_up.student_updates)
        distiller.compile(keras.optimizers.Adam(rate), jit_compile=self.jit_compile)
        keep = KeepLastGood()
        # Keras would shuffle examples and warns that it cannot; their order changes anyway.
        order = {} if self.examples is None else {"shuffle": False}
        history = distiller.fit(
            self._examples_again_and_again(),
            epochs=recipe.epochs,
            steps_per_epoch=self.warm_up.steps_per_epoch,
            callbacks=[keep],
            verbose=self.verbose,
            **order,
        ).history
        if keep.stopped_epoch is not None:
            raise RuntimeError(
                f"Stage {name!r}: the loss was no longer finite in epoch {keep.stopped_epoch + 1}. Use a "
                "smaller `learning_rate`."
            )
        self.warm_up.ended(distiller)
        self.rows.append(
            {
                "name": name,
                "seconds": time.perf_counter() - start,
                "updates": int(distiller.optimizer.iterations.numpy()),
                "loss": history["loss"][-1],
                "agreement": history["agreement"][-1],
            }
        )
        return student

    def _examples_again_and_again(self):
        """Real examples without end, so that a stage is as long as without them; None if there are none."""
        if self.examples is None:
            return None
        data = tf.data.Dataset.from_tensor_slices(self.examples)
        data = data.shuffle(len(self.examples[0]), seed=self.warm_up.seed).repeat()
        return data.batch(self.warm_up.recipe.batch_size)
