"""DataFreeDistiller: a Distiller that synthesizes its own inputs."""

import contextlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops, tree

from tfkd._core import progress
from tfkd._core.keras_internals import check_compiled, mask_of
from tfkd._core.renames import warn_renamed
from tfkd._core.snapshots import preserving_state
from tfkd.datafree import _checks as checks
from tfkd.datafree import _views as views
from tfkd.datafree._in_parts import summed
from tfkd.datafree._lesson import Lesson
from tfkd.datafree._loops import repeat
from tfkd.datafree._memory import Memory
from tfkd.datafree._recipe import Recipe
from tfkd.datafree._recipe_optimizers import RecipeOptimizers
from tfkd.datafree._replicas import ReplicaSeeds
from tfkd.datafree.recipes import Procedural
from tfkd.datafree.sources import Batch, Source
from tfkd.datafree.sources._image_sampler import ImageSampler
from tfkd.datafree.sources._selection import resample
from tfkd.distilling import _forward as forward
from tfkd.distilling._compatibility import check_model
from tfkd.distilling._distiller import Distiller
from tfkd.distilling._forward import ForwardResult
from tfkd.distilling._steps import replicas
from tfkd.tasks import LanguageModel, Task, as_task, task_of

# For large networks this can take minutes without any other output.
FIRST_STEP = "first step: compiling, may take a minute"


class DataFreeDistiller(Distiller):
    """Trains a student from a teacher alone, without data.

    Inputs are synthesized on the device by the recipe's source; one step, generator updates included, is
    one compiled function. The source, the memory, all optimizers and the random state are variables of
    the distiller, so `save_weights` and `keras.callbacks.BackupAndRestore` resume a run exactly.

    Args:
        teacher: a trained network that takes one float32 input of known size, such as images in [0, 1], or
            token ids with a padding mask, and returns one output, logits or numbers, like those from
            `tfkd.load_teacher`.
        student: the `keras.Model` to train, with the same input and output shapes.
        recipe: a `tfkd.datafree` recipe; None for `Procedural()`.
        seed: the integer seed of all random numbers in training; None for a random one. Initial weights
            depend on `keras.utils.set_random_seed`, as in Keras.
        student_loss_weight: the weight, in [0, 1], of the labels' loss on real examples passed to `fit`.
        name: the name of the model.
        task: the teacher's task: a `tfkd.tasks.Task`, its class or its name; None for
            `tfkd.tasks.task_of(teacher)`.
        **kwargs: passed to `keras.Model`.

    Attributes:
        source: the `tfkd.datafree.sources.Source` that makes the inputs.
        memory: the replay memory of inputs; None if there is none.
        input_form: the form in which inputs are made, and how networks take them.

    Raises:
        ValueError: if teacher and student differ in shape or do not match the task, the student ends in
            probabilities, or the recipe cannot work with this teacher.

    Warns:
        ObjectiveWarning: for each objective and option that does not apply to this teacher.

    Example:
        >>> teacher = tfkd.load_teacher("teacher.keras", input_range=(0, 1))
        >>> distiller = tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.Procedural())
        >>> distiller.compile(optimizer="adam", metrics=["accuracy"])
        >>> distiller.fit(epochs=40, steps_per_epoch=50, validation_data=(x_test, y_test))
        >>> distiller.student.save("student.keras")
    """

    # Always set: unlike others, a data-free distiller is never loaded from a file without its teacher.
    teacher: keras.Model

    def __init__(
        self,
        teacher: keras.Model,
        student: keras.Model,
        recipe: Recipe | None = None,
        seed: int | None = None,
        student_loss_weight: float = 0.0,
        name: str = "data_free_distiller",
        task: Task | type[Task] | str | None = None,
        **kwargs,
    ) -> None:
        recipe = Procedural() if recipe is None else recipe
        if not isinstance(recipe, Recipe):
            raise TypeError(
                "`recipe` must be a tfkd.datafree recipe, such as tfkd.datafree.Procedural(). "
                f"Received: {recipe!r} of type {type(recipe)}."
            )
        if kwargs.get("resize_inputs"):
            raise ValueError(
                "`resize_inputs` is only for training with data. Put keras.layers.Resizing in front of a "
                "student whose input size differs from the teacher's."
            )
        check_model(teacher, "teacher")
        check_model(student, "student")
        form = recipe.inputs(teacher)
        task = task_of(teacher) if task is None else as_task(task, teacher.output_shape[1:])
        if not student.built:
            student(form.zeros(1))
        checks.check_ending(student, task)
        checks.check_recipe(recipe, teacher)
        recipe = recipe.for_teacher(teacher, task)
        losses, weights = zip(*recipe.build_student_losses(teacher, student, task), strict=True)
        super().__init__(teacher, student, losses, weights, student_loss_weight, name=name, **kwargs)
        self.task, self.recipe, self.input_form = task, recipe, form
        self.seed_generator = ReplicaSeeds(seed)
        lesson = Lesson(
            teacher,
            student,
            task,
            self.seed_generator,
            microbatches=recipe.microbatches,
            made_as=form,
        )
        # Tapped features or another view need a new teacher pass; logits for each token are too large.
        asked_again = self.loss_set.teacher_taps or recipe.student_view() is not None
        lesson.keeps_answers = not (asked_again or isinstance(task, LanguageModel))
        self.memory = None
        answers = task.output_shape if lesson.keeps_answers else None
        if capacity := recipe.memory_capacity(form.shape, answers, recipe.images_at_once()):
            dtype = form.memory_dtype(recipe.memory_dtype)
            self.memory = lesson.memory = Memory(
                capacity, form.shape, answers, dtype, saved=recipe.save_memory
            )
        self._lesson = lesson
        self.source = recipe.build_source(lesson)
        self._sampler = ImageSampler(self.source, lesson, recipe.batch_size)
        self._with_examples = self._counts_steps = False
        # Steps taken, including those of resumed runs and of another distiller; saved with the weights.
        self.steps_done = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="steps_done"
        )
        self._steps_taken_over = 0
        self._past_warm_up = False
        self._agreement_tracker = keras.metrics.Mean(name="agreement")

    @property
    def sources(self) -> list[Source]:
        """The source of the inputs, in a list."""
        return [self.source]

    def compile(
        self,
        optimizer=None,
        generator_optimizer=None,
        loss=None,
        metrics=None,
        jit_compile: bool | str = "auto",
        **kwargs,
    ):
        """Configures training as `keras.Model.compile` does.

        Args:
            optimizer: the student's optimizer; None for the recipe's, whose learning rate then follows the
                length of `fit`.
            generator_optimizer: the optimizer of the network that the source trains, or a dictionary of
                optimizers by network name; None for the recipe's, which also follow the length of `fit`.
            loss: the labels' loss for real examples passed to `fit`, if `student_loss_weight` is above 0.
            metrics: metrics of the student's outputs, computed on validation data.
            jit_compile: True, False, or "auto": XLA on an accelerator, but the plain graph on a CPU and for
                a black-box teacher.
            **kwargs: passed to `keras.Model.compile`. With `steps_per_execution`, the warm-up is rounded up
                to whole executions.
        """
        self._recipe_optimizers = RecipeOptimizers(self.recipe)
        if optimizer is None:
            optimizer = self._recipe_optimizers.of_student()
        checks.check_jit_compile(jit_compile, self.teacher)
        kwargs.setdefault("evaluate_teacher", False)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, jit_compile=jit_compile, **kwargs)
        # Built here, not at the first step, so that a backup can be restored before any step.
        self.optimizer.build(self._student_variables)
        self.source.compile(self._recipe_optimizers.of_source(self.source, generator_optimizer))
        self._forget_traces()

    def get_config(self):
        raise NotImplementedError(
            "A data-free distiller cannot be saved as a whole. Use distiller.student.save(path) for the "
            "student, and save_weights or keras.callbacks.BackupAndRestore to resume training."
        )

    def fit(self, x=None, y=None, epochs: int | None = None, steps_per_epoch: int | None = None, **kwargs):
        """Trains without data, or on real examples mixed with synthesized ones.

        Args:
            x: None to train without data; otherwise real images in [0, 1], in any form that
                `keras.Model.fit` takes, such as a `tf.data.Dataset`. Each student update then uses one
                batch of them, mixed with synthesized images so that real ones make up the recipe's
                `real_share`.
            y: labels of `x`, needed if `student_loss_weight` is above 0; sample weights apply to the
                labels' loss only.
            epochs: the number of epochs; None for the recipe's.
            steps_per_epoch: the recipe's steps per epoch; None for the recipe's number, or for all of `x`
                (pass it if the length of `x` is unknown; otherwise learning rates follow the recipe's).
            **kwargs: `verbose`, `callbacks`, `validation_data`, `validation_freq`, `batch_size` and so on,
                as in `keras.Model.fit`.

        A recipe's learning-rate schedules end with the run: compile again before another run.

        Returns:
            A `keras.callbacks.History` with `loss`, the `agreement` of student and teacher on new
            inputs, the objectives of the synthesized images, and the validation metrics.
        """
        check_compiled(self, "fit")
        epochs = self.recipe.epochs if epochs is None else epochs
        self._past_warm_up = False
        checks.warn_of_warm_up(self, epochs, steps_per_epoch)
        if x is None and self.recipe.needs_examples:
            raise ValueError(
                f"`x` is missing: {type(self.recipe).__name__} makes its inputs from real examples. Pass "
                "some, or use another recipe."
            )
        if self._with_examples != (x is not None):
            self._with_examples, self.train_function = x is not None, None
        if x is not None:
            checks.check_with_examples(self.recipe, self.input_form, x)
            steps = epochs * (steps_per_epoch or checks.steps_of(x, kwargs.get("batch_size")) or 0)
            self._follow(steps or epochs * self.recipe.steps_per_epoch)
            self._say_first_step(kwargs.get("verbose", "auto"))
            return super().fit(x, y, epochs=epochs, steps_per_epoch=steps_per_epoch, **kwargs)
        if y is not None:
            raise ValueError("`y` was given without `x`. Pass both, or neither to train without data.")
        steps_per_epoch = self.recipe.steps_per_epoch if steps_per_epoch is None else steps_per_epoch
        self._follow(epochs * steps_per_epoch)
        self._say_first_step(kwargs.get("verbose", "auto"))
        # A dummy number for each replica.
        self._counts_steps = True
        nothing = tf.data.Dataset.from_tensors(
            np.zeros((self.distribute_strategy.num_replicas_in_sync,), "float32")
        ).repeat()
        return super().fit(nothing, epochs=epochs, steps_per_epoch=steps_per_epoch, shuffle=False, **kwargs)

    def constants(self):
        # Warm-up steps and training steps are traced separately: a conditional would compile both at once.
        # After the warm-up the counter is not read again: on a GPU, reading waits for the last step.
        self._past_warm_up = self._past_warm_up or self._teaches()
        return (*super().constants(), self._past_warm_up)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Under a strategy `fit` first runs the model on a batch, but here there is none.
        if self._counts_steps:
            self._counts_steps = False
        else:
            super()._maybe_symbolic_build(iterator, data_batch)

    def _teaches(self):
        """Whether the warm-up will be over in the next step."""
        with tf.init_scope():
            return int(self.steps_done.numpy()) >= self.recipe.warmup_steps

    def load_own_variables(self, store):
        super().load_own_variables(store)
        self._past_warm_up = False

    def make_train_function(self, force: bool = False):
        if force:
            # Traces of the repeated parts of a step hold the same constants.
            self._forget_traces()
        return super().make_train_function(force)

    def student_passes(self, steps):
        return self.recipe.student_updates(steps) * self.recipe.microbatches

    def _say_first_step(self, verbose):
        """Announces the compilation, during which no progress is shown."""
        if verbose and self.train_function is None and not self.run_eagerly:
            print(FIRST_STEP, flush=True)

    def _follow(self, steps):
        """Adjusts the recipe's learning rates to the length of the run, but not the user's own."""
        if self._recipe_optimizers.follow(steps, min(self._steps_taken_over, self.recipe.warmup_steps)):
            self._forget_traces()

    def _forget_traces(self):
        """Drops the traced step; repeated parts of a step are traced only once."""
        # Inside a separate function, replicas cannot synchronize to update a network together.
        with self.distribute_strategy.scope():
            apart = self.run_eagerly or tf.distribute.has_strategy()
        once = (lambda function: function) if apart else tf.function(autograph=False)
        self._update_student_once = once(self._update_student)
        self.source.retrace(once)
        self.train_function = None

    def train_step(self, data):
        examples = keras.utils.unpack_x_y_sample_weight(data) if self._with_examples else None
        if self._teaches():
            self._step(ops.ones(()), lambda made: self._teach(made, examples))
        else:
            self._step(ops.zeros(()), lambda made: self.source.wait())
        self.steps_done.assign_add(1)
        return self.get_metrics_result()

    def _step(self, adversarial_weight, teach):
        """One step: the source's work before and after the student's updates, and those in between."""
        made = self.source.before(adversarial_weight)
        teach(made)
        self.source.after(adversarial_weight)

    def _teach(self, made, examples):
        """The student updates of a step."""
        recipe, memory = self.recipe, self.memory

        def on_new():
            batch = self._new_batch(made, examples)
            if memory is not None:
                memory.add(*batch)
            self._count(self._update_student_once(*batch, examples))

        repeat(recipe.student_steps, on_new, [self.student])
        if memory is None:
            return

        def on_remembered():
            drawn = memory.draw(recipe.batch_size, self.seed_generator)
            # If a step has no new inputs, the metrics are computed on remembered ones.
            learned = self._update_student_once(*drawn, examples)
            if not recipe.student_steps:
                self._count(learned)

        repeat(recipe.replay_steps, on_remembered, [self.student])

    def _count(self, learned):
        """Adds a student update to the metrics."""
        for tracker, value in zip((self._loss_tracker, self._agreement_tracker), learned, strict=True):
            tracker.update_state(value)

    def _new_batch(self, made, examples):
        real = None if examples is None else examples[0]
        return self.source.draw(self.recipe.batch_size, made, real)

    def images_of_a_step(self) -> list[Batch]:
        """Runs a step without the student's updates, and returns the new inputs."""
        batches = []
        self._step(
            ops.ones(()),
            lambda made: batches.extend(
                self._new_batch(made, None) for _ in range(self.recipe.student_steps)
            ),
        )
        return batches

    def images_made(self, steps: int) -> int:
        """The number of images made in a number of steps, candidates included."""
        recipe, source = self.recipe, self.source
        warm_up = min(steps, recipe.warmup_steps)
        drawn = source.made_by_draws(recipe.batch_size, recipe.student_steps)
        return (
            steps * source.made_by_training()
            + warm_up * source.made_by_waiting()
            + (steps - warm_up) * drawn
        )

    def share_taught(self) -> float:
        """The share of the steps so far in which the student was trained; 1 before the first step."""
        before, after = self._steps_taken_over, int(self.steps_done.numpy())
        warmed_up = max(0, min(after, self.recipe.warmup_steps) - before)
        return 1 - warmed_up / (after - before) if after > before else 1.0

    def update_student(self, batch: Batch) -> None:
        """One student update on given inputs, which does not count in the metrics."""
        self._update_student_once(*batch, None)

    def _update_student(self, images, logits, examples):
        """One student update on synthesized images, and on real ones if there are any.

        Returns:
            The loss and the agreement of student and teacher before the update.
        """
        view = self.recipe.student_view()
        if view is not None:
            drawn = view.draw(ops.shape(images)[0], *images.shape[1:3], seed=self.seed_generator)
            images = views.apply(images, drawn)
        if not self.loss_set.teacher_taps and (view is not None or logits is None):
            logits = self._lesson.ask_in_parts(images)
        if examples is None:
            loss, agreement, gradients = self._learn_in_parts(images, logits)
        else:
            x, y, sample_weight = examples
            images, logits = self._mixed(ops.cast(x, "float32"), images, logits)
            loss, agreement, gradients = self._learn(images, logits, (y, sample_weight))
        self.update(gradients, self._student_variables)
        return loss * replicas(), agreement

    def _learn_in_parts(self, images, logits):
        """The results of `_learn`, averaged over the parts of a batch."""
        n = self.recipe.microbatches
        totals = summed(self._learn, (images, logits), n)
        if n == 1:
            return totals
        return tree.map_structure(lambda total: None if total is None else total / n, totals)

    def _mixed(self, x, images, logits):
        """Real examples followed by synthesized ones, in the proportion of the recipe's `real_share`."""
        share = self.recipe.real_share
        wanted = ops.cast(ops.shape(x)[0], "float32") * (1 - share) / share
        # Choose at random, since refined and generated images are grouped in a batch.
        there = ops.shape(images)[0]
        order = resample(ops.zeros((there,)), there, self.seed_generator)
        chosen = order[: ops.minimum(ops.cast(ops.round(wanted), "int32"), there)]
        images = ops.concatenate([x, ops.take(images, chosen, axis=0)])
        if logits is None:
            return images, None
        return images, ops.concatenate([self._lesson.ask(x), ops.take(logits, chosen, axis=0)])

    def _learn(self, images, logits, labels=(None, None)):
        """The loss, agreement and gradients of a batch; labels, if any, belong to its first examples."""
        teacher, given = ForwardResult(logits, {}), self.input_form.given(images)
        # A pass for the teacher's taps also gives its output.
        if self.loss_set.teacher_taps:
            teacher = forward.forward_pass(self.teacher, self.loss_set.teacher_taps, given, training=False)
        y, sample_weight = labels
        with tf.GradientTape() as tape:
            student = forward.forward_pass(self.student, self.loss_set.student_taps, given, training=True)
            distillation_loss = 0.0
            if self.student_loss_weight < 1:
                distillation_loss = self.loss_set.total(teacher, student)
            known = None if y is None else student.output[: ops.shape(y)[0]]
            answered = student.output if known is None else known
            loss = sum(self.loss_terms(y, answered, distillation_loss, sample_weight))
            scaled = self.optimizer.scale_loss(loss)
        if known is not None and self._compile_metrics is not None:
            self._compile_metrics.update_state(y, known, sample_weight=sample_weight)
        agreement = ops.mean(self._agreement(teacher.output, student.output))
        return loss, agreement, tape.gradient(scaled, self._student_variables)

    def _agreement(self, teacher, student):
        if isinstance(self.task, LanguageModel):
            return self.task.agreement(teacher, student, mask_of(student))
        return self.task.agreement(teacher, student)

    def synthesize(self, n: int, labels=None) -> Any:
        """Synthesizes images in the same way as training does.

        Recipes that make images one batch at a time take them from memory once it holds some, without
        repetitions as long as there are enough.

        Args:
            n: the number of images.
            labels: int classes `(n,)` that the teacher should predict for them, or None for any. Candidates
                are refined towards these classes if the recipe refines, and those about which the teacher
                is most confident are returned.

        Returns:
            float32 images `(n, height, width, channels)`, clipped to [0, 1]; other inputs are not clipped;
            for a language model a dictionary of its inputs, int32 `(n, length)` each.

        Raises:
            ValueError: if `n` is below 1, or the labels are not `n` classes of the teacher.
        """
        return tree.map_structure(np.asarray, self.input_form.given(self.made(n, labels)))

    def made(self, n: int, labels=None) -> np.ndarray:
        """Like `synthesize`, but in the source's own form: images, or token ids without a mask."""
        if n < 1:
            raise ValueError(f"`n` must be at least 1. Received: n={n!r}.")
        with progress.work(f"making {n:,} inputs"):
            if labels is None:
                images = self._sampler.images(n)
            else:
                images = self._sampler.of_classes(checks.checked_targets(self.task, labels, n))
        inside = not views.fit(images.shape[1:]) or (images.min() >= 0 and images.max() <= 1)
        return images if inside else np.clip(images, 0.0, 1.0)

    def take_over(self, other: "DataFreeDistiller") -> None:
        """Continues from the images of another student's run, so that several students share one warm-up.

        The state of generators, chains, memory and objectives is copied from the other distiller, and its
        warm-up steps count. Optimizers and random states are not copied.

        Args:
            other: a distiller with the same teacher and an equal recipe.

        Raises:
            TypeError: if `other` is not a `DataFreeDistiller`.
            ValueError: if its teacher or recipe differs.

        Example:
            >>> second = tfkd.DataFreeDistiller(teacher, another_student, first.recipe)
            >>> second.take_over(first)
        """
        checks.check_taken_over(self, other)
        for own, others in zip(self._image_state, other._image_state, strict=True):
            own.assign(others)
        self._steps_taken_over = int(other.steps_done.numpy())

    @property
    def _image_state(self):
        """The variables that determine how images are made, without optimizers and random state."""
        makers = [self.source] if self.memory is None else [self.source, self.memory]
        found = {id(v): v for maker in makers for v in maker.variables}
        found.pop(id(self.seed_generator.state), None)
        return [self.steps_done, *found.values()]

    def state_of_replicas(self) -> list[keras.Variable]:
        return self._state(with_memory=self.memory is not None and self.memory.saved)

    def _state(self, with_memory):
        """The variables of the networks and the source, including the source's optimizers."""
        remembered = set()
        if self.memory is not None and not with_memory:
            remembered = {id(v) for v in self.memory.variables}
        of_optimizers = [v for optimizer in self.source.optimizers for v in optimizer.variables]
        return [v for v in [*self.variables, *of_optimizers] if id(v) not in remembered]

    def preserving_state(self) -> contextlib.AbstractContextManager[None]:
        """A context manager that restores all variables except the memory's at its end."""
        return preserving_state([*self._state(with_memory=False), *self.optimizer.variables])

    def undisturbed(self) -> contextlib.AbstractContextManager[None]:
        """The old name of `preserving_state`."""
        warn_renamed("DataFreeDistiller.undisturbed", "preserving_state")
        return self.preserving_state()

    def get_metrics_result(self):
        results = super().get_metrics_result()
        # Without labels the loss has no separate parts to log.
        if self.student_loss_weight == 0:
            for name in ("total_loss", *(tracker.name for tracker in super()._training_trackers)):
                results.pop(name, None)
        return results

    @property
    def classes(self) -> int:
        """The number of classes, labels or values in an output."""
        return self.task.classes

    @property
    def _training_trackers(self):
        return [*super()._training_trackers, self._agreement_tracker, *self.source.trackers]

    @property
    def _student_variables(self):
        return [*self.student.trainable_variables, *self.loss_set.trainable_variables]
