"""PriorSource: images from procedural generators, selected with the teacher and partly refined."""

from collections.abc import Sequence

from keras import ops

from generators import Generator
from tfkd.datafree._inputs import equal_parts
from tfkd.datafree._lesson import Lesson
from tfkd.datafree._parts import Prior, Refinement
from tfkd.datafree.objectives._moments import observe, stored_statistics
from tfkd.datafree.sources._base import Batch, Source
from tfkd.datafree.sources._chains import Chains
from tfkd.datafree.sources._refinement import refine
from tfkd.datafree.sources._selection import bn_statistics_distance, resample, selection_log_weights
from tfkd.tasks import ClassTask


class PriorSource(Source):
    """Draws from untrained generators, selects with the teacher, and refines by gradient steps.

    Args:
        lesson: the networks, their task, and the random state.
        generators: the procedural generators.
        prior: how images are selected.
        refinement: how images are refined.
        batch_size: the largest number of images used at a time.
        **kwargs: passed to `keras.Layer`.

    Raises:
        ValueError: if there are too few chains for a batch or for the classes.
    """

    remedy = (
        "another `prior`, `candidates_per_image` with `balance`, `chains` or `refine_share` usually helps"
    )

    def __init__(
        self,
        lesson: Lesson,
        generators: Sequence[Generator],
        prior: Prior,
        refinement: Refinement | None = None,
        batch_size: int = 256,
        **kwargs,
    ) -> None:
        super().__init__(lesson, **kwargs)
        self.generators, self.batch_size = list(generators), batch_size
        self.prior, self.refinement = prior, refinement or Refinement()
        self.chains = self._build_chains() if prior.chains else []

    def _build_chains(self):
        task = self.lesson.task
        classes = task.groups if isinstance(task, ClassTask) else 1
        least = max(self.batch_size, classes) * len(self.generators)
        if self.prior.chains < least:
            raise ValueError(
                f"`recipe`: `chains` must be 0 or at least {least}: each of the {len(self.generators)} "
                f"priors needs one for each of its images in a batch, and for each of {classes} classes. "
                f"Received: {self.prior.chains}."
            )
        counts = equal_parts(self.prior.chains, len(self.generators))
        return [
            Chains(generator, count, classes, self.lesson.seed)
            for generator, count in zip(self.generators, counts, strict=True)
        ]

    def draw(self, n: int, made=None, examples=None) -> Batch:
        images, logits = self._chosen(n)
        refined = round(n * self.refinement.refine_share) if self.refinement.refine_steps else 0
        if not refined:
            return Batch(images, self.lesson.answers(images) if logits is None else logits)
        targets = self.targets(images[:refined], None if logits is None else logits[:refined])
        carried = self.refined(images[:refined], targets)
        images = ops.concatenate([carried, images[refined:]])
        if logits is None or not self.lesson.keeps_answers:
            return Batch(images, self.lesson.answers(images))
        return Batch(images, ops.concatenate([self.lesson.ask(carried), logits[refined:]]))

    def _chosen(self, n):
        """Images selected by the prior's options, and the teacher's outputs if they were computed."""
        if self.chains:
            return self._walked(n)
        if self.prior.candidates_per_image == 1:
            return self.draw_prior(n), None
        images = self.draw_prior(n * self.prior.candidates_per_image)
        logits, log_weights = self._weighed(images, self.prior.balance, self.prior.disagreement)
        kept = resample(log_weights, n, self.lesson.seed)
        return ops.take(images, kept, axis=0), ops.take(logits, kept, axis=0)

    def targets(self, images, logits=None):
        """The targets for refinement: the predicted classes for chains, otherwise random targets."""
        task = self.lesson.task
        if logits is None and not task.has_classes:
            logits = self.lesson.ask(images)
        if self.chains and isinstance(task, ClassTask):
            return task.group(logits)
        return task.draw_targets(images.shape[0], self.lesson.seed, logits)

    def refined(self, images, targets):
        """The images after some gradient steps towards targets."""
        options = self.refinement
        return refine(
            self.lesson,
            images,
            targets,
            steps=options.refine_steps,
            step_size=options.refine_size,
            adversarial=options.refine_adversarial,
            statistics=options.refine_statistics,
        )

    def wait(self) -> None:
        if self.chains and self.batch_size:
            self.walk(self.batch_size, 0.0)

    def walk(self, n, disagreement):
        """Moves `n` chains, and returns their images and the teacher's outputs, in the order of chains."""
        task = self.lesson.task

        def weigh(images, wanted):
            # Each chain has its own class, so there is nothing to balance.
            logits, log_weights = self._weighed(images, 0.0, disagreement)
            if self.prior.class_weight and task.has_classes:
                log_weights -= self.prior.class_weight * task.target_loss(wanted, logits)
            return logits, log_weights

        parts = [
            chains.draw(size, self.prior.chain_moves, weigh, self.lesson.seed)
            for chains, size in zip(self.chains, equal_parts(n, len(self.chains)), strict=True)
            if size
        ]
        images, logits = zip(*parts, strict=True)
        return ops.concatenate(images), ops.concatenate(logits)

    def candidates(self, targets):
        n = targets.shape[0]
        images = self._walked(n)[0] if self.chains else self.draw_prior(n)
        return self.refined(images, targets) if self.refinement.refine_steps else images

    def made_by_draws(self, n: int, draws: int) -> int:
        return n * draws * self.prior.candidates_drawn()

    def made_by_waiting(self) -> int:
        return self.batch_size * self.prior.candidates_drawn() if self.chains else 0

    def draw_prior(self, n: int):
        """`n` images from the generators, in about equal parts, shuffled together."""
        parts = [
            generator.sample(size, seed=self.lesson.seed)
            for generator, size in zip(self.generators, equal_parts(n, len(self.generators)), strict=True)
            if size
        ]
        if len(parts) == 1:
            return parts[0]
        order = resample(ops.zeros((n,)), n, self.lesson.seed)
        return ops.take(ops.concatenate(parts), order, axis=0)

    def _walked(self, n):
        """Images of `n` chains after their moves, and the teacher's outputs, shuffled together."""
        images, logits = self.walk(n, self.prior.disagreement)
        order = resample(ops.zeros((n,)), n, self.lesson.seed)
        return ops.take(images, order, axis=0), ops.take(logits, order, axis=0)

    def _weighed(self, images, balance, disagreement):
        """The teacher's outputs, and the log-weight of each image for selection."""
        lesson, weight = self.lesson, self.prior.statistics_weight
        logits, seen = observe(
            lesson.teacher, lesson.inputs.given(images), stored_statistics(lesson.teacher) if weight else {}
        )
        log_weights = selection_log_weights(
            lesson.task,
            logits,
            lesson.ask_student(images) if disagreement else None,
            balance,
            disagreement,
            bn_statistics_distance(seen) if seen else None,
            weight,
        )
        return logits, log_weights
