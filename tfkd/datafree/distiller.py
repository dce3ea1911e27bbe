"""DataFreeDistiller: a Distiller whose step makes its own inputs."""

import contextlib
import itertools
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfkd import names, taps
from tfkd.compatibility import check_model
from tfkd.datafree.memory import Memory
from tfkd.datafree.objectives import Synthesized
from tfkd.datafree.recipe import Recipe
from tfkd.datafree.recipes import Procedural
from tfkd.datafree.synthesis import Synthesizer
from tfkd.distiller import Distiller, with_loss_scaling
from tfkd.forward import Pass
from tfkd.teachers import probabilities_ending

_LABEL_ROUNDS = 20


class DataFreeDistiller(Distiller):
    """Trains a student on nothing but a teacher.

    Inputs are synthesized on the device as the recipe says; one step, generator updates included, is
    one compiled function. Generator, memory, both optimizers and the random state are variables of
    the distiller, so `save_weights` and `keras.callbacks.BackupAndRestore` resume a run exactly.

    Args:
        teacher: a trained image classifier that takes float32 images in [0, 1] and returns logits,
            as `tfkd.load_teacher` gives them.
        student: the `keras.Model` to train, with the same input and output shapes.
        recipe: a `tfkd.datafree` recipe; None for `Procedural()`.
        seed: int that all random numbers drawn in training follow from; None for a fresh one. Initial
            weights follow `keras.utils.set_random_seed`, as in Keras.
        name: name of the model.
        **kwargs: passed to `keras.Model`.

    Raises:
        ValueError: if the shapes of teacher and student differ, or are not those of an image
            classifier with at least two classes, or the student ends in probabilities.

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
        image_shape, classes = _classifier_shapes(teacher)
        if not student.built:
            student(ops.zeros((1, *image_shape)))
        _check_ending(student)
        loss = recipe.build_student_loss()
        super().__init__(teacher, student, loss, student_loss_weight=0.0, name=name, **kwargs)
        self.classes = classes
        self.recipe = recipe
        self._objectives = recipe.build_objectives()
        self._objective_taps = [objective.taps(teacher) for objective in self._objectives]
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.generator = recipe.build_generator(image_shape)
        self.synthesizer = Synthesizer(teacher, student, recipe, self.generator, self.seed_generator)
        capacity = recipe.memory_capacity(image_shape)
        self.memory = Memory(capacity, image_shape, self.classes) if capacity else None
        self.generator_optimizer = None
        # Steps taken, resumed runs included; saved with the weights.
        self.steps_done = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="steps_done"
        )
        self._agreement_tracker = keras.metrics.Mean(name="agreement")
        objective_names = names.numbered([f"generator_{o.name}" for o in self._objectives])
        self._objective_trackers = [keras.metrics.Mean(name=name) for name in objective_names]

    def compile(
        self,
        optimizer=None,
        generator_optimizer=None,
        metrics=None,
        jit_compile="auto",
        **kwargs,
    ):
        """Configures training as `keras.Model.compile` does.

        Args:
            optimizer: optimizer of the student; None for the recipe's, whose learning rate then follows
                the length of `fit`.
            generator_optimizer: optimizer of a trained generator; None for the recipe's.
            metrics: metrics of the student's outputs, computed on validation data.
            jit_compile: True, False, or "auto": XLA on an accelerator, the plain graph on a CPU.
            **kwargs: passed to `keras.Model.compile`.
        """
        self._planned_updates = None
        if optimizer is None:
            self._planned_updates = self._updates(self.recipe.epochs, self.recipe.steps_per_epoch)
            optimizer = self.recipe.student_optimizer(self._planned_updates)
        super().compile(optimizer=optimizer, metrics=metrics, jit_compile=jit_compile, **kwargs)
        # Built here, not at the first step, so that a backup can be restored before any step.
        self.optimizer.build(self._student_variables)
        if self.generator is not None:
            self.generator_optimizer = with_loss_scaling(
                generator_optimizer or self.recipe.generator_optimizer(), self.generator.network
            )
            self.generator_optimizer.build(self.generator.trainable_variables)
        self._forget_traces()

    def get_config(self):
        raise NotImplementedError(
            "A data-free distiller is not saved whole. Use distiller.student.save(path) for the student, "
            "and save_weights or keras.callbacks.BackupAndRestore to resume training."
        )

    def fit(self, epochs: int | None = None, steps_per_epoch: int | None = None, **kwargs):
        """Trains without data.

        Args:
            epochs: how many epochs; None for the recipe's.
            steps_per_epoch: steps of the recipe in each; None for the recipe's.
            **kwargs: `verbose`, `callbacks`, `validation_data`, `validation_freq`,
                `validation_batch_size`, `validation_steps`, `initial_epoch`, as in `keras.Model.fit`.

        Returns:
            A `keras.callbacks.History` with `loss`, `agreement` of student and teacher on new
            inputs, the generator's objectives, and the validation metrics.
        """
        epochs = self.recipe.epochs if epochs is None else epochs
        steps_per_epoch = self.recipe.steps_per_epoch if steps_per_epoch is None else steps_per_epoch
        self._plan(self._updates(epochs, steps_per_epoch))
        steps = tf.data.Dataset.from_tensors(np.zeros((1,), "int32")).repeat()
        return super().fit(steps, epochs=epochs, steps_per_epoch=steps_per_epoch, shuffle=False, **kwargs)

    def _updates(self, epochs, steps_per_epoch):
        """Student updates of a run of this length."""
        return epochs * steps_per_epoch * self.recipe.updates_per_step()

    def _plan(self, updates):
        """Fits the recipe's learning rate to the length of the run; the user's own is left alone."""
        if self._planned_updates in (None, updates):
            return
        schedule = self.recipe.student_optimizer(updates)._learning_rate
        if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            self.optimizer.learning_rate = schedule
            self._planned_updates = updates
            self._forget_traces()

    def _forget_traces(self):
        """Has the step traced anew; what it repeats is traced once, not once for each repetition."""
        once = tf.function if not self.run_eagerly else lambda function: function
        self._student_update = once(self._update_student)
        self._generator_update = once(self._update_generator)
        self.train_function = None

    def train_step(self, data):
        generated = None
        for _ in range(self.recipe.generator_steps if self.recipe.same_inputs else 0):
            generated = self._generator_update()
        for _ in range(self.recipe.student_steps):
            images, logits = self.synthesizer.new_inputs(generated)
            if self.memory is not None:
                self.memory.add(images, logits)
            self._student_update(images, logits, new=True)
        if self.memory is not None:
            for _ in range(self.recipe.replay_steps):
                self._student_update(
                    *self.memory.draw(self.recipe.batch_size, self.seed_generator), new=False
                )
        for _ in range(0 if self.recipe.same_inputs else self.recipe.generator_steps):
            self._generator_update()
        self.steps_done.assign_add(1)
        return self.get_metrics_result()

    def synthesize(self, n: int, labels=None) -> np.ndarray:
        """Makes images as training makes them.

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
            batches = -(-n // self.recipe.batch_size)
            images = [self._synthesize_batch().numpy() for _ in range(batches)]
            return np.clip(np.concatenate(images)[:n], 0.0, 1.0)
        labels = np.asarray(labels)
        if labels.shape != (n,) or labels.min() < 0 or labels.max() >= self.classes:
            raise ValueError(
                f"`labels` must be {n} classes from 0 to {self.classes - 1}. Received: shape "
                f"{labels.shape}, values {np.unique(labels)[:10].tolist()}."
            )
        return self._synthesize_labelled(labels.astype("int32"))

    def _synthesize_labelled(self, labels):
        """For each class as many images as asked for, those with the highest probabilities drawn."""
        wanted = np.bincount(labels, minlength=self.classes)
        best = [(np.zeros((0, *self.teacher.input_shape[1:]), "float32"), np.zeros(0)) for _ in wanted]
        for _ in range(_LABEL_ROUNDS * -(-len(labels) // self.recipe.batch_size)):
            sure = [np.sum(scores > np.log(0.9)) for _, scores in best]
            missing = np.flatnonzero(sure < wanted)
            if not len(missing):
                break
            targets = tf.constant(np.resize(missing, self.recipe.batch_size).astype("int32"))
            images, log_p = (t.numpy() for t in self._labelled_batch(targets))
            best = [_likeliest(*best[c], images, log_p[:, c], n) for c, n in enumerate(wanted)]
        chosen = np.concatenate([images for images, _ in best])
        in_order = np.argsort(np.argsort(labels, kind="stable"), kind="stable")
        return np.clip(chosen[in_order], 0.0, 1.0)

    @tf.function
    def _synthesize_batch(self):
        images, _ = self.synthesizer.new_inputs()
        # In a batch, what is refined or generated stands together.
        return keras.random.shuffle(images, axis=0, seed=self.seed_generator)

    @tf.function
    def _labelled_batch(self, targets):
        images = self.synthesizer.candidates(self.recipe.batch_size)
        if self.recipe.refine_steps:
            images = self.synthesizer.refined(images, targets)
        return images, ops.log_softmax(self.synthesizer.ask_teacher(images), axis=-1)

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Puts every variable but the memory's back, when the block ends, to what it was."""
        optimizers = [o for o in (self.optimizer, self.generator_optimizer) if o is not None]
        remembered = {id(v) for v in self.memory.variables} if self.memory is not None else ()
        variables = [*self.variables, *(v for o in optimizers for v in o.variables)]
        kept = [(v, v.numpy()) for v in variables if id(v) not in remembered]
        try:
            yield
        finally:
            for variable, value in kept:
                variable.assign(value)

    def get_metrics_result(self):
        results = super().get_metrics_result()
        # The labels' loss has no place here, and one component is the whole.
        for tracker in super()._training_trackers:
            results.pop(tracker.name)
        return results

    @property
    def _training_trackers(self):
        return [self._agreement_tracker, *self._objective_trackers]

    @property
    def _student_variables(self):
        losses = (v for loss in self.distillation_losses for v in loss.trainable_variables)
        return [*self.student.trainable_variables, *losses]

    def _update_generator(self):
        """One generator update; returns the images it was computed on."""
        with tf.GradientTape() as tape:
            images = self.generator.sample(self.recipe.batch_size, self.seed_generator, training=True)
            with taps.record(self.teacher, itertools.chain(*self._objective_taps)) as seen:
                teacher_logits = self.synthesizer.ask_teacher(images)
            needs_student = any(objective.needs_student for objective in self._objectives)
            student_logits = self.student(images, training=False) if needs_student else None
            total = 0.0
            for objective, tapped, tracker in zip(
                self._objectives, self._objective_taps, self._objective_trackers, strict=True
            ):
                features = tuple(seen[tap] for tap in tapped)
                value = objective.value(Synthesized(images, teacher_logits, student_logits, features))
                tracker.update_state(value)
                total += objective.weight * value
            scaled = self.generator_optimizer.scale_loss(total)
        variables = self.generator.trainable_variables
        gradients = tape.gradient(scaled, variables)
        self.generator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return tf.stop_gradient(images)

    def _update_student(self, images, teacher_logits, new):
        with tf.GradientTape() as tape:
            outputs = self.student(images, training=True)
            seen = Pass(teacher_logits, {}), Pass(outputs, {})
            distillation_loss = self._distill(*seen, {"sample_weight": None})
            loss = self._total_loss(None, outputs, distillation_loss, None)
            scaled = self.optimizer.scale_loss(loss)
        self._update(tape, scaled, self._student_variables)
        if new:
            self._loss_tracker.update_state(loss)
            same = ops.argmax(outputs, axis=-1) == ops.argmax(teacher_logits, axis=-1)
            self._agreement_tracker.update_state(ops.cast(same, "float32"))


def _likeliest(images, scores, new_images, new_scores, n):
    """The `n` images with the highest scores of both sets, and those scores."""
    images, scores = np.concatenate([images, new_images]), np.concatenate([scores, new_scores])
    first = np.argsort(-scores, kind="stable")[:n]
    return images[first], scores[first]


def _check_ending(student):
    if ending := probabilities_ending(student):
        raise ValueError(
            f"`student` must return logits. Received: {student.name!r}, which {ending}. Build it without "
            "that; tfkd.load_teacher(student) makes such a copy of a trained model."
        )


def _classifier_shapes(teacher):
    """The teacher's image shape and number of classes."""
    image_shape, output_shape = teacher.input_shape[1:], teacher.output_shape
    if len(image_shape) != 3 or None in image_shape or len(output_shape) != 2:
        raise ValueError(
            "`teacher` must take images (batch, height, width, channels) of one known size and "
            f"return (batch, classes). Received: input shape {teacher.input_shape}, output shape "
            f"{output_shape}."
        )
    if output_shape[-1] < 2:
        raise ValueError(
            "`teacher` must have at least two logits. Received: output shape "
            f"{output_shape}. tfkd.load_teacher turns one sigmoid unit into two logits."
        )
    return tuple(image_shape), output_shape[-1]
