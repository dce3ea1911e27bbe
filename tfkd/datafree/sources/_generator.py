"""GeneratorSource: images from a generator that is trained throughout the run."""

import functools
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

import generators
from generators import Generator
from tfkd.datafree._in_parts import concatenated, summed
from tfkd.datafree._lesson import Lesson
from tfkd.datafree._loops import repeat
from tfkd.datafree._parts import TrainedGenerator
from tfkd.datafree.objectives._image_objective import ImageObjective
from tfkd.datafree.sources._base import Batch, Source, TrainedNetwork
from tfkd.distilling._steps import replicas


class GeneratorSource(Source):
    """Trains a generator on an objective of its images, and draws from it.

    Args:
        lesson: the networks, their task, and the random state.
        generator: the generator.
        objective: the objective of its images.
        options: how often and when the generator is updated.
        batch_size: the number of images in an update.
        pixels: a function from the generator's outputs to images.
        microbatches: the number of equal parts in which the generator makes a batch.
        **kwargs: passed to `keras.Layer`.
    """

    remedy = (
        "a lower learning rate of the generator, a heavier ClassBalance objective or a share of "
        "procedural images (`prior_share`) usually helps"
    )

    def __init__(
        self,
        lesson: Lesson,
        generator: Generator,
        objective: ImageObjective,
        options: TrainedGenerator,
        batch_size: int,
        pixels: Callable = lambda generated: generated,
        microbatches: int = 1,
        **kwargs,
    ) -> None:
        super().__init__(lesson, **kwargs)
        generators.check_generator(generator, lesson.input_shape, _classes(lesson.task))
        self.generator, self.objective, self.pixels = generator, objective, pixels
        self.microbatches = microbatches
        self.steps, self.order, self.batch_size = (
            options.generator_steps,
            options.generator_order,
            batch_size,
        )
        # For Keras to track: states and metrics of objectives are part of the run's state.
        self._objective_states = objective.states
        self._objective_trackers = objective.trackers
        self.optimizer = None
        self._update_once = self.update

    @property
    def trained(self) -> Mapping[str, TrainedNetwork]:
        return {"generator": TrainedNetwork(self.generator, self.steps)}

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        own = [] if self.optimizer is None else [self.optimizer]
        return [*own, *self.objective.optimizers]

    @property
    def trackers(self) -> list[keras.metrics.Metric]:
        return self.objective.trackers

    def compile(self, optimizers: Mapping[str, keras.optimizers.Optimizer]) -> None:
        self.optimizer = optimizers["generator"]

    def retrace(self, once: Callable[[Callable], Callable]) -> None:
        self._update_once = once(self.update)

    def before(self, adversarial_weight) -> Batch | None:
        if self.order == "after":
            return None
        drawn = self.draw_latent()
        again = (lambda: drawn) if self.order == "same_latents" else self.draw_latent
        # The student learns from the images of the last update.
        self._updates(self.steps - 1, again, adversarial_weight)
        images = self._update_once(again(), adversarial_weight)
        if self.order == "same_latents":
            images = self.images(drawn)
        return Batch(images, self.lesson.answers(images))

    def _updates(self, times, draw, adversarial_weight):
        def update():
            self._update_once(draw(), adversarial_weight)

        repeat(times, update, [self.generator, self.lesson.teacher])

    def draw(self, n: int, made: Batch | None = None, examples=None) -> Batch:
        if made is not None:
            return Batch(made.images[-n:], None if made.logits is None else made.logits[-n:])
        images = self.images(self.generator.draw(n, self.lesson.seed))
        return Batch(images, self.lesson.answers(images))

    def after(self, adversarial_weight) -> None:
        if self.order == "after":
            self._updates(self.steps, self.draw_latent, adversarial_weight)

    def made_by_draws(self, n: int, draws: int) -> int:
        return n * {"after": draws, "same_images": 0, "same_latents": 1}[self.order]

    def made_by_training(self) -> int:
        return self.steps * self.batch_size

    def candidates(self, targets):
        told = None if self.generator.classes is None else targets
        return self.images(self.generator.draw(targets.shape[0], self.lesson.seed, told))

    def draw_latent(self) -> generators.Draw:
        """Draws the generator's inputs for a batch."""
        return self.generator.draw(self.batch_size, self.lesson.seed)

    def images(self, drawn: generators.Draw) -> tf.Tensor:
        """The images that the generator now makes from drawn inputs, without gradient."""
        return tf.stop_gradient(self.pixels(self._made_of(drawn)))

    def _made_of(self, drawn):
        make = functools.partial(self.generator.make, training=True)
        return concatenated(make, (drawn,), self.microbatches)

    def update(self, drawn: generators.Draw, adversarial_weight) -> tf.Tensor:
        """One update of the generator.

        Args:
            drawn: the result of `draw_latent`.
            adversarial_weight: the multiplier of student-dependent objectives.

        Returns:
            The images on which the update was computed, without gradient.
        """
        optimizer = self.optimizer
        assert optimizer is not None, "`compile` comes before the first update."
        generated, gradients_by = self._made(drawn)
        _, gradient, of_objectives = self.objective.value_and_gradients(
            generated, drawn.labels, adversarial_weight
        )
        # The optimizer sums gradients over replicas, each of which has its own batch.
        gradients = gradients_by(optimizer.scale_loss(gradient) / replicas())
        optimizer.apply_gradients(zip(gradients, self.generator.trainable_variables, strict=True))
        self.objective.learn(of_objectives)
        self.objective.finish()
        return tf.stop_gradient(self.pixels(generated))

    def _made(self, drawn):
        """The generator's outputs, and a function from their gradients to gradients of its variables.

        With microbatches, outputs are computed again for the gradients, so that memory never holds the
        intermediate values of the whole batch.
        """
        if self.microbatches == 1:
            with tf.GradientTape() as tape:
                generated = self.generator.make(drawn, training=True)
            variables = self.generator.trainable_variables
            return generated, lambda upstream: tape.gradient(
                generated, variables, output_gradients=upstream
            )
        return self._made_of(drawn), lambda upstream: summed(
            self._gradients_of_part, (drawn, upstream), self.microbatches
        )

    def _gradients_of_part(self, drawn, upstream):
        with tf.GradientTape() as tape:
            generated = self.generator.make(drawn, training=True)
        return tape.gradient(generated, self.generator.trainable_variables, upstream)


def _classes(task):
    """The number of classes on which a generator may be conditioned; None if there are none."""
    return task.classes if task.has_classes else None
