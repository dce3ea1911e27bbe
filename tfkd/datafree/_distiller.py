"""DataFreeDistiller: a Distiller whose step makes its own inputs."""

import contextlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops, tree

from tfkd._core import progress
from tfkd._core.keras_internals import mask_of
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

# For large networks that is minutes in which nothing else is heard.
FIRST_STEP = "first step: compiling, may take a minute"


class DataFreeDistiller(Distiller):
    """Trains a student on nothing but a teacher.

    Inputs are synthesized on the device by the recipe's source; one step, generator updates included, is
    one compiled function. Source, memory, all optimizers and the random state are variables of
    the distiller, so `save_weights` and `keras.callbacks.BackupAndRestore` resume a run exactly.

    Args:
        teacher: a trained network that takes one float32 input of known size, such as images in [0, 1], or
            token ids with a mask of padding, and returns one output: logits or numbers, as
            `tfkd.load_teacher` gives them.
        student: the `keras.Model` to train, with the same input and output shapes.
        recipe: a `tfkd.datafree` recipe; None for `Procedural()`.
        seed: int that all random numbers drawn in training follow from; None for a fresh one. Initial
            weights follow `keras.utils.set_random_seed`, as in Keras.
        student_loss_weight: weight of the labels' loss of real examples given to `fit`, in [0, 1].
        name: name of the model.
        task: what the teacher's outputs mean: a `tfkd.tasks.Task`, its class or its name; None for
            `tfkd.tasks.task_of(teacher)`.
        **kwargs: passed to `keras.Model`.

    Attributes:
        source: makes the inputs, a `tfkd.datafree.sources.Source`.
        memory: what is remembered of them; None where nothing is.
        input_form: in which form they are made, and what networks are given of it.

    Raises:
        ValueError: if the shapes of teacher and student differ, or do not fit the task, or the student ends
            in probabilities, or the recipe cannot work with this teacher.

    Warns:
        ObjectiveWarning: for each objective and option that has no meaning for this teacher.

    Example:
        >>> teacher = tfkd.load_teacher("teacher.keras", input_range=(0, 1))
        >>> distiller = tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.Procedural())
        >>> distiller.compile(optimizer="adam", metrics=["accuracy"])
        >>> distiller.fit(epochs=40, steps_per_epoch=50, validation_data=(x_test, y_test))
        >>> distiller.student.save("student.keras")
    """

    # There from the beginning: a data-free distiller is not saved whole and loaded without it.
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
                "`resize_inputs` is for data that are given. Put keras.layers.Resizing in front of a "
                "student that takes another size than the teacher."
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
        # Whoever looks into the teacher, or at another view, asks it again; logits of each token are large.
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
        # Steps taken, resumed runs and those taken over included; saved with the weights.
        self.steps_done = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="steps_done"
        )
        self._steps_taken_over = 0
        self._past_warm_up = False
        self._agreement_tracker = keras.metrics.Mean(name="agreement")

    @property
    def sources(self) -> list[Source]:
        """Where inputs come from."""
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
            optimizer: optimizer of the student; None for the recipe's, whose learning rate then follows
                the length of `fit`.
            generator_optimizer: optimizer of the network that the source trains, or one for each by name;
                None for the recipe's, likewise.
            loss: the labels' loss, for real examples given to `fit` where `student_loss_weight` is above 0.
            metrics: metrics of the student's outputs, computed on validation data.
            jit_compile: True, False, or "auto": XLA on an accelerator, the plain graph on a CPU and for a
                teacher that is a black box.
            **kwargs: passed to `keras.Model.compile`. With `steps_per_execution`, a traced warm-up
                lasts to the end of the execution that it ends in.
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
            "A data-free distiller is not saved whole. Use distiller.student.save(path) for the student, "
            "and save_weights or keras.callbacks.BackupAndRestore to resume training."
        )

    def fit(self, x=None, y=None, epochs: int | None = None, steps_per_epoch: int | None = None, **kwargs):
        """Trains without data, or on real examples mixed with synthesized ones.

        Args:
            x: None to train without data; else images in [0, 1] or a `tf.data.Dataset` or the like, as in
                `keras.Model.fit`. Each step then takes one batch of them into each of its student updates,
                beside as many synthesized images as make `real_share` of the recipe.
            y: labels of `x`, needed where `student_loss_weight` is above 0; sample weights weigh their loss
                only.
            epochs: how many epochs; None for the recipe's.
            steps_per_epoch: steps of the recipe in each; None for the recipe's, or for all of `x` (give it
                where `x` does not tell its length, or learning rates follow the recipe's).
            **kwargs: `verbose`, `callbacks`, `validation_data`, `validation_freq`, `batch_size` and so on,
                as in `keras.Model.fit`.

        A recipe's learning rates end with the run: compile again before another one.

        Returns:
            A `keras.callbacks.History` with `loss`, `agreement` of student and teacher on new
            inputs, the objectives of the images that are made, and the validation metrics.
        """
        self._assert_compile_called("fit")
        epochs = self.recipe.epochs if epochs is None else epochs
        self._past_warm_up = False
        checks.warn_of_warm_up(self, epochs, steps_per_epoch)
        if x is None and self.recipe.needs_examples:
            raise ValueError(
                f"`x` is missing: {type(self.recipe).__name__} makes its inputs of real examples. Give "
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
            raise ValueError("`y` was given without `x`. Give both, or neither to train without data.")
        steps_per_epoch = self.recipe.steps_per_epoch if steps_per_epoch is None else steps_per_epoch
        self._follow(epochs * steps_per_epoch)
        self._say_first_step(kwargs.get("verbose", "auto"))
        # One number for each replica, which nobody looks at.
        self._counts_steps = True
        nothing = tf.data.Dataset.from_tensors(
            np.zeros((self.distribute_strategy.num_replicas_in_sync,), "float32")
        ).repeat()
        return super().fit(nothing, epochs=epochs, steps_per_epoch=steps_per_epoch, shuffle=False, **kwargs)

    def constants(self):
        # Steps of warm-up and steps that teach are traced apart: a conditional would compile both at once.
        # Once over, warm-up is not asked about again: on a GPU, asking waits for the step before.
        self._past_warm_up = self._past_warm_up or self._teaches()
        return (*super().constants(), self._past_warm_up)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Under a strategy `fit` has a batch go through the model first, and here there is none.
        if self._counts_steps:
            self._counts_steps = False
        else:
            super()._maybe_symbolic_build(iterator, data_batch)

    def _teaches(self):
        """Whether the warm-up is over at the step that is next."""
        with tf.init_scope():
            return int(self.steps_done.numpy()) >= self.recipe.warmup_steps

    def load_own_variables(self, store):
        super().load_own_variables(store)
        self._past_warm_up = False

    def make_train_function(self, force: bool = False):
        if force:
            # What a step repeats has taken the same values for constants.
            self._forget_traces()
        return super().make_train_function(force)

    def student_passes(self, steps):
        return self.recipe.student_updates(steps) * self.recipe.microbatches

    def _say_first_step(self, verbose):
        """Says what comes before the first progress is seen."""
        if verbose and self.train_function is None and not self.run_eagerly:
            print(FIRST_STEP, flush=True)

    def _follow(self, steps):
        """Fits the recipe's learning rates to the length of the run; the user's own are left alone."""
        if self._recipe_optimizers.follow(steps, min(self._steps_taken_over, self.recipe.warmup_steps)):
            self._forget_traces()

    def _forget_traces(self):
        """Forgets the traced step; what a step repeats is traced once, not once for each repetition."""
        # Within a function of its own, replicas cannot meet to update a network together.
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
        """What a step is: what the source does before and after the student learns."""
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
            # Where nothing is new in a step, what is remembered has to tell how the student is doing.
            learned = self._update_student_once(*drawn, examples)
            if not recipe.student_steps:
                self._count(learned)

        repeat(recipe.replay_steps, on_remembered, [self.student])

    def _count(self, learned):
        """Counts a student update among the metrics."""
        for tracker, value in zip((self._loss_tracker, self._agreement_tracker), learned, strict=True):
            tracker.update_state(value)

    def _new_batch(self, made, examples):
        real = None if examples is None else examples[0]
        return self.source.draw(self.recipe.batch_size, made, real)

    def images_of_a_step(self) -> list[Batch]:
        """All that a step does but for the student's updates; returns the new inputs."""
        batches = []
        self._step(
            ops.ones(()),
            lambda made: batches.extend(
                self._new_batch(made, None) for _ in range(self.recipe.student_steps)
            ),
        )
        return batches

    def images_made(self, steps: int) -> int:
        """Images made in so many steps, candidates included; those of warm-up only train and walk."""
        recipe, source = self.recipe, self.source
        warm_up = min(steps, recipe.warmup_steps)
        drawn = source.made_by_draws(recipe.batch_size, recipe.student_steps)
        return (
            steps * source.made_by_training()
            + warm_up * source.made_by_waiting()
            + (steps - warm_up) * drawn
        )

    def share_taught(self) -> float:
        """The share of the steps taken in which the student learned; 1 before the first."""
        before, after = self._steps_taken_over, int(self.steps_done.numpy())
        warmed_up = max(0, min(after, self.recipe.warmup_steps) - before)
        return 1 - warmed_up / (after - before) if after > before else 1.0

    def update_student(self, batch: Batch) -> None:
        """One student update on given inputs, which is not counted among the metrics."""
        self._update_student_once(*batch, None)

    def _update_student(self, images, logits, examples):
        """One student update on synthesized images, and on real ones where there are some.

        Returns:
            The loss and the agreement of student and teacher before it.
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
        """The means over the parts of a batch of what `_learn` returns."""
        n = self.recipe.microbatches
        totals = summed(self._learn, (images, logits), n)
        if n == 1:
            return totals
        return tree.map_structure(lambda total: None if total is None else total / n, totals)

    def _mixed(self, x, images, logits):
        """Real examples with as many synthesized ones behind them as the recipe's share says."""
        share = self.recipe.real_share
        wanted = ops.cast(ops.shape(x)[0], "float32") * (1 - share) / share
        # In a batch, what is refined or generated stands together.
        there = ops.shape(images)[0]
        order = resample(ops.zeros((there,)), there, self.seed_generator)
        chosen = order[: ops.minimum(ops.cast(ops.round(wanted), "int32"), there)]
        images = ops.concatenate([x, ops.take(images, chosen, axis=0)])
        if logits is None:
            return images, None
        return images, ops.concatenate([self._lesson.ask(x), ops.take(logits, chosen, axis=0)])

    def _learn(self, images, logits, labels=(None, None)):
        """Loss, agreement and gradients of a batch, the first of whose examples have labels."""
        teacher, given = ForwardResult(logits, {}), self.input_form.given(images)
        # Whoever has to look into the teacher gets its answers too.
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
        """Makes images as training makes them.

        Recipes that make images one batch at a time take them from memory once it holds some, each once as
        long as there are enough.

        Args:
            n: how many images.
            labels: int classes `(n,)` the teacher should see in them, or None for any. Candidates
                are refined towards these classes where the recipe refines, and those of which the
                teacher is most certain are taken.

        Returns:
            float32 images `(n, height, width, channels)`, clipped to [0, 1]; inputs of other shapes as they
            are; of a language model all it takes by name, int32 `(n, length)` each.

        Raises:
            ValueError: if `n` is below 1, or the labels are not `n` classes of the teacher.
        """
        return tree.map_structure(np.asarray, self.input_form.given(self.made(n, labels)))

    def made(self, n: int, labels=None) -> np.ndarray:
        """The same in the form that the source makes it: images, or token ids without a mask."""
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
        """Goes on making images where another student's run ended: one warm-up for several students.

        Generators, chains, memory and what objectives remember become copies of the other's, and the
        warm-up counts as done as far as it is there; optimizers and random numbers are this one's own.

        Args:
            other: a distiller of the same teacher by an equal recipe.

        Raises:
            TypeError: if `other` is not a `DataFreeDistiller`.
            ValueError: if teacher or recipe is another.

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
        """The variables that tell how images are made, each once, without optimizers and random state."""
        makers = [self.source] if self.memory is None else [self.source, self.memory]
        found = {id(v): v for maker in makers for v in maker.variables}
        found.pop(id(self.seed_generator.state), None)
        return [self.steps_done, *found.values()]

    def state_of_replicas(self) -> list[keras.Variable]:
        return self._state(with_memory=self.memory is not None and self.memory.saved)

    def _state(self, with_memory):
        """The variables of networks and source, its optimizers included."""
        remembered = set()
        if self.memory is not None and not with_memory:
            remembered = {id(v) for v in self.memory.variables}
        of_optimizers = [v for optimizer in self.source.optimizers for v in optimizer.variables]
        return [v for v in [*self.variables, *of_optimizers] if id(v) not in remembered]

    def preserving_state(self) -> contextlib.AbstractContextManager[None]:
        """A context at whose end every variable but the memory's is put back to what it was."""
        return preserving_state([*self._state(with_memory=False), *self.optimizer.variables])

    def undisturbed(self) -> contextlib.AbstractContextManager[None]:
        """The old name of `preserving_state`."""
        warn_renamed("DataFreeDistiller.undisturbed", "preserving_state")
        return self.preserving_state()

    def get_metrics_result(self):
        results = super().get_metrics_result()
        # Without labels the parts of the loss have no place here.
        if self.student_loss_weight == 0:
            for name in ("total_loss", *(tracker.name for tracker in super()._training_trackers)):
                results.pop(name, None)
        return results

    @property
    def classes(self) -> int:
        """How many classes, labels or numbers an answer consists of."""
        return self.task.classes

    @property
    def _training_trackers(self):
        return [*super()._training_trackers, self._agreement_tracker, *self.source.trackers]

    @property
    def _student_variables(self):
        return [*self.student.trainable_variables, *self.loss_set.trainable_variables]
