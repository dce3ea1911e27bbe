"""DataFreeDistiller: a Distiller whose step makes its own inputs."""

import contextlib

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfkd._core.snapshots import optimizers_of, preserving_state
from tfkd.datafree import _checks as checks
from tfkd.datafree import _views as views
from tfkd.datafree._in_turn import in_turn
from tfkd.datafree._memory import Memory
from tfkd.datafree._planning import Plan
from tfkd.datafree._recipe import Recipe
from tfkd.datafree.recipes import Procedural
from tfkd.datafree.sources._generation import Generation
from tfkd.datafree.sources._image_sampler import OnDemand
from tfkd.datafree.sources._selection import resample
from tfkd.datafree.sources._synthesis import Synthesizer
from tfkd.distilling import _forward as forward
from tfkd.distilling._compatibility import check_model
from tfkd.distilling._distiller import Distiller
from tfkd.distilling._forward import Pass
from tfkd.distilling._steps import with_loss_scaling

# Up to here what a step repeats is written out, which runs a little faster; from here on it is a loop.
_WRITTEN_OUT = 10


class DataFreeDistiller(Distiller):
    """Trains a student on nothing but a teacher.

    Inputs are synthesized on the device as the recipe says; one step, generator updates included, is
    one compiled function. Generator, memory, all optimizers and the random state are variables of
    the distiller, so `save_weights` and `keras.callbacks.BackupAndRestore` resume a run exactly.

    Args:
        teacher: a trained image classifier that takes float32 images in [0, 1] and returns logits,
            as `tfkd.load_teacher` gives them.
        student: the `keras.Model` to train, with the same input and output shapes.
        recipe: a `tfkd.datafree` recipe; None for `Procedural()`.
        seed: int that all random numbers drawn in training follow from; None for a fresh one. Initial
            weights follow `keras.utils.set_random_seed`, as in Keras.
        student_loss_weight: weight of the labels' loss of real examples given to `fit`, in [0, 1].
        name: name of the model.
        **kwargs: passed to `keras.Model`.

    Raises:
        ValueError: if the shapes of teacher and student differ, or are not those of an image
            classifier with at least two classes, or the student ends in probabilities, or the recipe cannot
            work with this teacher.

    Warns:
        ObjectiveWarning: for each objective that has nothing to say about this teacher's images.

    Example:
        >>> teacher = tfkd.load_teacher("teacher.keras", input_range=(0, 1))
        >>> distiller = tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.Procedural())
        >>> distiller.compile(optimizer="adam", metrics=["accuracy"])
        >>> distiller.fit(epochs=40, steps_per_epoch=50, validation_data=(x_test, y_test))
        >>> distiller.student.save("student.keras")
    """

    def __init__(
        self,
        teacher: keras.Model,
        student: keras.Model,
        recipe: Recipe | None = None,
        seed: int | None = None,
        student_loss_weight: float = 0.0,
        name: str = "data_free_distiller",
        **kwargs,
    ) -> None:
        recipe = Procedural() if recipe is None else recipe
        if not isinstance(recipe, Recipe):
            raise TypeError(
                "`recipe` must be a tfkd.datafree recipe, such as tfkd.datafree.Procedural(). "
                f"Received: {recipe!r} of type {type(recipe)}."
            )
        check_model(teacher, "teacher")
        check_model(student, "student")
        image_shape, classes = checks.classifier_shapes(teacher)
        if not student.built:
            student(ops.zeros((1, *image_shape)))
        checks.check_ending(student)
        checks.check_recipe(recipe, teacher)
        recipe = recipe.for_teacher(teacher)
        losses, weights = zip(*recipe.build_student_losses(teacher, student), strict=True)
        super().__init__(teacher, student, losses, weights, student_loss_weight, name=name, **kwargs)
        self.classes = classes
        self.recipe = recipe
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.generator = recipe.build_generator(image_shape, classes)
        self.inversion = recipe.build_inversion(image_shape, classes, self.seed_generator)
        self._critic = self._generation = None
        self._objective_states, self._objective_trackers = [], []
        if self.generator is not None or self.inversion is not None:
            self._critic = recipe.build_critic(teacher, student, self.seed_generator)
            # For Keras to track: what the objectives remember is state of the run.
            self._objective_states = [state for state in self._critic.states if state is not None]
            self._objective_trackers = self._critic.trackers
        if self.generator is not None:
            self._generation = Generation(
                self.generator, self._critic, recipe, classes, self.seed_generator
            )
        self.synthesizer = Synthesizer(teacher, student, recipe, self.generator, self.seed_generator)
        # For Keras to track: where the chains are is state of the run.
        self._chains = self.synthesizer.chains
        capacity = recipe.memory_capacity(image_shape)
        self.memory = None
        if capacity:
            self.memory = Memory(
                capacity, image_shape, classes, recipe.memory_dtype, saved=recipe.save_memory
            )
        self._on_demand = OnDemand(
            recipe,
            self.synthesizer,
            self.memory,
            None if self.inversion is None else lambda: self._remember(self._invert(ops.zeros(()))),
            classes,
            self.seed_generator,
        )
        self.generator_optimizer = None
        # Steps taken, resumed runs and those taken over included; saved with the weights.
        self.steps_done = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="steps_done"
        )
        self._steps_taken_over = 0
        self._agreement_tracker = keras.metrics.Mean(name="agreement")

    def compile(
        self,
        optimizer=None,
        generator_optimizer=None,
        loss=None,
        metrics=None,
        jit_compile="auto",
        **kwargs,
    ):
        """Configures training as `keras.Model.compile` does.

        Args:
            optimizer: optimizer of the student; None for the recipe's, whose learning rate then follows
                the length of `fit`.
            generator_optimizer: optimizer of a trained generator; None for the recipe's, likewise.
            loss: the labels' loss, for real examples given to `fit` where `student_loss_weight` is above 0.
            metrics: metrics of the student's outputs, computed on validation data.
            jit_compile: True, False, or "auto": XLA on an accelerator, the plain graph on a CPU and for a
                teacher that is a black box.
            **kwargs: passed to `keras.Model.compile`.
        """
        self._plan = Plan(self.recipe)
        if optimizer is None:
            optimizer = self._plan.student_optimizer()
        checks.check_jit_compile(jit_compile, self.teacher)
        kwargs.setdefault("evaluate_teacher", False)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, jit_compile=jit_compile, **kwargs)
        # Built here, not at the first step, so that a backup can be restored before any step.
        self.optimizer.build(self._student_variables)
        if self.generator is not None:
            if generator_optimizer is None:
                generator_optimizer = self._plan.generator_optimizer()
            self.generator_optimizer = with_loss_scaling(generator_optimizer, self.generator.network)
            self.generator_optimizer.build(self.generator.trainable_variables)
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
        epochs = self.recipe.epochs if epochs is None else epochs
        checks.warn_of_warm_up(self, epochs, steps_per_epoch)
        if x is None and self.recipe.needs_examples:
            raise ValueError(
                f"`x` is missing: {type(self.recipe).__name__} makes its inputs of real examples. Give "
                "some, or use another recipe."
            )
        if x is not None:
            checks.check_with_examples(self.recipe, x)
            steps = epochs * (steps_per_epoch or checks.steps_of(x, kwargs.get("batch_size")) or 0)
            self._follow(steps or epochs * self.recipe.steps_per_epoch)
            return super().fit(x, y, epochs=epochs, steps_per_epoch=steps_per_epoch, **kwargs)
        if y is not None:
            raise ValueError("`y` was given without `x`. Give both, or neither to train without data.")
        steps_per_epoch = self.recipe.steps_per_epoch if steps_per_epoch is None else steps_per_epoch
        self._follow(epochs * steps_per_epoch)
        nothing = tf.data.Dataset.from_tensors(_NOTHING).repeat()
        return super().fit(nothing, epochs=epochs, steps_per_epoch=steps_per_epoch, shuffle=False, **kwargs)

    def _follow(self, steps):
        """Fits the recipe's learning rates to the length of the run; the user's own are left alone."""
        if self._plan.follow(steps, min(self._steps_taken_over, self.recipe.warmup_steps)):
            self._forget_traces()

    def _forget_traces(self):
        """Has the step traced anew; what it repeats is traced once, not once for each repetition."""
        once = (lambda function: function) if self.run_eagerly else tf.function(autograph=False)
        self._student_update = once(self._update_student)
        self._generator_update = once(self._update_generator)
        self.train_function = None

    def train_step(self, data):
        recipe = self.recipe
        real = keras.utils.unpack_x_y_sample_weight(data)
        if len(real[0].shape) == len(_NOTHING.shape):
            real = None
        adversary = ops.cast(self.steps_done.value >= recipe.warmup_steps, "float32")
        generated = None
        if self.inversion is not None:
            _repeat(recipe.inversions, lambda: self._remember(self._invert(adversary)))
        elif recipe.updates_generator_first:
            generated = self._update_generator_first(adversary)
        if recipe.warmup_steps:
            # What is inverted has moved the chains that it began from.
            waiting = self.synthesizer.warm_up if self.inversion is None else lambda: None
            tf.cond(adversary > 0, lambda: self._teach(generated, real), waiting)
        else:
            self._teach(generated, real)
        if self.generator is not None and not recipe.updates_generator_first:
            self._update_generator_last(adversary)
        self.steps_done.assign_add(1)
        return self.get_metrics_result()

    def _teach(self, generated, real):
        """The student updates of a step."""
        recipe = self.recipe
        same = self.synthesizer.new_inputs(generated) if recipe.same_latent else None

        def on_new():
            images, logits = self._new_inputs(generated, real) if same is None else same
            if self.memory is not None:
                self.memory.add(images, logits)
            self._student_update(images, logits, real, new=True)

        def on_remembered():
            drawn = self.memory.draw(recipe.batch_size, self.seed_generator)
            # Where nothing is new in a step, what is remembered has to tell how the student is doing.
            self._student_update(*drawn, real, new=not recipe.student_steps)

        _repeat(recipe.student_steps, on_new)
        if self.memory is not None:
            _repeat(recipe.replay_steps, on_remembered)

    def _new_inputs(self, generated, real):
        """New images and the teacher's answers: made of real ones where the recipe does that."""
        if real is not None:
            images = self.recipe.from_examples(real[0], self.teacher, self.seed_generator)
            if images is not None:
                return images, self.synthesizer.ask_teacher(images)
        return self.synthesizer.new_inputs(generated)

    def _invert(self, adversary):
        """Makes one batch, with the prior's share; returns pairs of images and teacher logits."""
        recipe = self.recipe
        targets = recipe.draw_targets(self.classes, self.seed_generator)
        start = None
        if recipe.start == "prior":
            start, logits = self.synthesizer.from_prior(recipe.inversion_batch)
            if self._chains:
                targets = ops.cast(self.synthesizer.targets(logits), "int32")
        images = self.inversion.make(self._critic, targets, start, adversary)
        made = [(images, self.synthesizer.ask_teacher(images))]
        if from_prior := recipe.prior_images_per_inversion():
            made.append(self.synthesizer.from_prior(from_prior))
        return made

    def _remember(self, made):
        for images, logits in made:
            self.memory.add(images, logits)

    def _update_generator_first(self, adversary):
        """Generator updates before the student's; returns the images it is then to learn on."""
        drawn = self._generation.draw()
        for _ in range(self.recipe.generator_steps):
            if self.recipe.same_inputs:
                drawn = self._generation.draw()
            images = self._generator_update(drawn, adversary)
        return images if self.recipe.same_inputs else self._generation.images(drawn)

    def _update_generator_last(self, adversary):
        for _ in range(self.recipe.generator_steps):
            self._generator_update(self._generation.draw(), adversary)

    def _update_generator(self, drawn, adversary):
        return self._generation.update(drawn, self.generator_optimizer, adversary)

    def _update_student(self, images, logits, real, new):
        """One student update on synthesized images, and on real ones where there are some."""
        view = self.recipe.student_view()
        if view is not None:
            drawn = view.draw(ops.shape(images)[0], *images.shape[1:3], self.seed_generator)
            images = views.apply(images, drawn)
            if not self.loss_set.teacher_taps:
                logits = self.synthesizer.ask_teacher(images)
        if real is None:
            parts = [ops.split(values, self.recipe.accumulate) for values in (images, logits)]
            steps = in_turn(self._learn, list(zip(*parts, strict=True)))
        else:
            x, y, sample_weight = real
            images, logits = self._mixed(ops.cast(x, "float32"), images, logits)
            steps = [self._learn(images, logits, (y, sample_weight))]
        losses, agreements, gradients = zip(*steps, strict=True)
        self._update(
            [_mean(of_variable) for of_variable in zip(*gradients, strict=True)], self._student_variables
        )
        if new:
            self._loss_tracker.update_state(_mean(losses))
            self._agreement_tracker.update_state(_mean(agreements))

    def _mixed(self, x, images, logits):
        """Real examples with as many synthesized ones behind them as the recipe's share says."""
        share = self.recipe.real_share
        wanted = ops.cast(ops.shape(x)[0], "float32") * (1 - share) / share
        # In a batch, what is refined or generated stands together.
        there = ops.shape(images)[0]
        order = resample(ops.zeros((there,)), there, self.seed_generator)
        chosen = order[: ops.minimum(ops.cast(ops.round(wanted), "int32"), there)]
        answers = self.synthesizer.ask_teacher(x)
        return (
            ops.concatenate([x, ops.take(images, chosen, axis=0)]),
            ops.concatenate([answers, ops.take(logits, chosen, axis=0)]),
        )

    def _learn(self, images, logits, labels=(None, None)):
        """Loss, agreement and gradients of a batch, the first of whose examples have labels."""
        teacher = Pass(logits, {})
        # Whoever has to look into the teacher gets its answers too.
        if self.loss_set.teacher_taps:
            teacher = forward.run(self.teacher, self.loss_set.teacher_taps, images, training=False)
        y, sample_weight = labels
        with tf.GradientTape() as tape:
            student = forward.run(self.student, self.loss_set.student_taps, images, training=True)
            distillation_loss = 0.0
            if self.student_loss_weight < 1:
                distillation_loss = self.loss_set.total(teacher, student)
            known = None if y is None else student.output[: ops.shape(y)[0]]
            loss = self._total_loss(
                y, student.output if known is None else known, distillation_loss, sample_weight
            )
            scaled = self.optimizer.scale_loss(loss)
        if known is not None and self._compile_metrics is not None:
            self._compile_metrics.update_state(y, known, sample_weight=sample_weight)
        same = ops.argmax(student.output, axis=-1) == ops.argmax(teacher.output, axis=-1)
        gradients = tape.gradient(scaled, self._student_variables)
        return loss, ops.mean(ops.cast(same, "float32")), gradients

    def synthesize(self, n: int, labels=None) -> np.ndarray:
        """Makes images as training makes them.

        Recipes that make images one batch at a time take them from memory once it holds some, each once as
        long as there are enough.

        Args:
            n: how many images.
            labels: int classes `(n,)` the teacher should see in them, or None for any. Candidates
                are refined towards these classes where the recipe refines, and those of which the
                teacher is most certain are taken.

        Returns:
            float32 images `(n, height, width, channels)`, clipped to [0, 1].

        Raises:
            ValueError: if `n` is below 1, or the labels are not `n` classes of the teacher.
        """
        if n < 1:
            raise ValueError(f"`n` must be at least 1. Received: n={n!r}.")
        if labels is None:
            images = self._on_demand.images(n)
        else:
            images = self._on_demand.of_classes(checks.checked_labels(labels, n, self.classes))
        return np.clip(images, 0.0, 1.0)

    def take_over(self, other: "DataFreeDistiller") -> None:
        """Goes on making images where another student's run ended: one warm-up for several students.

        Generators, chains, memory and what objectives remember become copies of the other's, and the
        warm-up counts as done as far as it is there; optimizers and random numbers are this one's own.

        Args:
            other: a distiller of the same teacher by an equal recipe.

        Raises:
            TypeError: if `other` is no `DataFreeDistiller`.
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
        makers = [self.generator, self.inversion, self.memory, *self._chains, *self._objective_states]
        found = {id(v): v for maker in makers if maker is not None for v in maker.variables}
        found.pop(id(self.seed_generator.state), None)
        return [self.steps_done, *found.values()]

    def undisturbed(self) -> contextlib.AbstractContextManager[None]:
        """A context at whose end every variable but the memory's is put back to what it was."""
        remembered = {id(v) for v in self.memory.variables} if self.memory is not None else ()
        holders = [self, *self._objective_states, *filter(None, [self.inversion])]
        optimizers = (v for optimizer in optimizers_of(holders) for v in optimizer.variables)
        return preserving_state([v for v in (*self.variables, *optimizers) if id(v) not in remembered])

    def get_metrics_result(self):
        results = super().get_metrics_result()
        # Without labels the parts of the loss have no place here.
        if self.student_loss_weight == 0:
            for tracker in super()._training_trackers:
                results.pop(tracker.name, None)
        return results

    @property
    def _training_trackers(self):
        return [*super()._training_trackers, self._agreement_tracker, *self._objective_trackers]

    @property
    def _student_variables(self):
        return [*self.student.trainable_variables, *self.loss_set.trainable_variables]


# Stands for a batch where `fit` was given no data: a batch of images has more axes.
_NOTHING = np.zeros((1,), "bool")


def _repeat(times, function):
    """Calls a function so many times, in a loop of the graph where they are many."""
    if times <= _WRITTEN_OUT or tf.executing_eagerly():
        for _ in range(times):
            function()
        return

    def body(i):
        function()
        return (i + 1,)

    tf.while_loop(lambda i: i < times, body, (0,), parallel_iterations=1, maximum_iterations=times)


def _mean(values):
    """The mean of scalars or gradients; None where a variable had no part."""
    return None if values[0] is None else tf.add_n(values) / len(values)
