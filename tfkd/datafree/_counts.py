"""How much a recipe makes, draws, remembers and learns."""

import math

import numpy as np

# What a memory of unspecified size holds at most.
_MEMORY_IMAGES = 20480
_MEMORY_BYTES = 2**28


class Counts:
    """Counts of images and updates that follow from a recipe's fields."""

    def memory_capacity(self, image_shape: tuple[int, int, int]) -> int:
        """How many images of this shape are remembered."""
        if self.memory is not None:
            return self.memory
        fitting = _MEMORY_BYTES // (np.dtype(self.memory_dtype).itemsize * math.prod(image_shape))
        return max(self.batch_size, min(_MEMORY_IMAGES, fitting))

    def updates_per_step(self) -> int:
        """Student updates in one step."""
        return self.student_steps + (0 if self.memory == 0 else self.replay_steps)

    def student_updates(self, steps: int) -> int:
        """Student updates in so many steps, of which those of warm-up have none; at least one step has."""
        return max(1, steps - self.warmup_steps) * self.updates_per_step()

    def prior_images(self, n: int) -> int:
        """How many of `n` inputs come from the prior."""
        return round(n * self.prior_share)

    def drawn_at_once(self) -> int:
        """How many images of the prior are used at a time, at most."""
        return self.prior_images(self.batch_size)

    def drawn_for_each(self) -> int:
        """How many images of the prior are drawn for one that is used."""
        # The image of a chain is looked at where it stood, too.
        return self.chain_moves + 1 if self.chains else self.overdraw

    def images_per_step(self) -> int:
        """Images made in one step: by generator updates, and for the student, overdrawn ones included."""
        from_prior = self.drawn_at_once()
        generated = 0 if self.same_inputs else self.batch_size - from_prior
        new = generated + from_prior * self.drawn_for_each()
        batches = 1 if self.same_latent else self.student_steps
        return self.generator_steps * self.batch_size + batches * new

    def images_made(self, steps: int) -> int:
        """Images made in so many steps, of which those of warm-up only train and walk."""
        warm_up = min(steps, self.warmup_steps)
        moved = self.drawn_at_once() * self.drawn_for_each() if self.chains else 0
        warming = self.generator_steps * self.batch_size + moved
        return warm_up * warming + (steps - warm_up) * self.images_per_step()
