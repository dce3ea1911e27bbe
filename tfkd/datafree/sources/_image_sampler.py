"""Images made as training makes them, whenever somebody asks."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfkd.datafree._memory import Memory
from tfkd.datafree._recipe import Recipe
from tfkd.datafree.sources._class_sampling import likeliest
from tfkd.datafree.sources._synthesis import Synthesizer


class OnDemand:
    """Draws images from the synthesizer, or from memory where one batch is made at a time.

    Args:
        recipe: how images are made.
        synthesizer: makes them.
        memory: what is remembered of a run; None where nothing is.
        invert: makes a batch by inversion and remembers it; None for recipes that do not.
        classes: how many the teacher knows.
        seed_generator: random state.
    """

    def __init__(
        self,
        recipe: Recipe,
        synthesizer: Synthesizer,
        memory: Memory | None,
        invert: Callable[[], None] | None,
        classes: int,
        seed_generator: keras.random.SeedGenerator,
    ) -> None:
        self._recipe, self._synthesizer, self._memory = recipe, synthesizer, memory
        self._invert = None if invert is None else tf.function(invert, autograph=False)
        self._classes, self._seed = classes, seed_generator

    def images(self, n: int) -> np.ndarray:
        """Any `n` images."""
        if self._from_memory():
            return self._memory.pick(n, self._seed)
        batches = -(-n // self._recipe.batch_size)
        return np.concatenate([self._batch().numpy() for _ in range(batches)])[:n]

    def of_classes(self, labels: np.ndarray) -> np.ndarray:
        """Images in which the teacher should see these classes, int32 `(n,)`."""
        self._from_memory()
        return likeliest(self._candidates, labels, self._classes, self._recipe.batch_size)

    def _from_memory(self):
        """Whether images come from memory, which then holds at least one batch."""
        if self._invert is not None and not int(self._memory.size):
            self._invert()
        return self._invert is not None

    @tf.function(autograph=False)
    def _batch(self):
        images, _ = self._synthesizer.new_inputs()
        # In a batch, what is refined or generated stands together.
        return keras.random.shuffle(images, axis=0, seed=self._seed)

    @tf.function(autograph=False)
    def _candidates(self, targets):
        recipe = self._recipe
        if self._invert is not None:
            images, logits = self._memory.draw(recipe.batch_size, self._seed)
            return images, ops.log_softmax(logits, axis=-1)
        images = self._synthesizer.candidates(recipe.batch_size)
        if recipe.refine_steps and recipe.differentiates_teacher:
            images = self._synthesizer.refined(images, targets)
        return images, ops.log_softmax(self._synthesizer.ask_teacher(images), axis=-1)
