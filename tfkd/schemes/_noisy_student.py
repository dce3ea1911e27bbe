"""Noisy Student: students trained with noise on labels and on their teacher's pseudo-labels."""

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfkd import taps
from tfkd._core import files
from tfkd._core.checks import check_int
from tfkd._core.copies import clone
from tfkd.datafree import DataFreeDistiller, Recipe
from tfkd.distilling._arguments import all_taps
from tfkd.losses._features import as_list
from tfkd.losses._keras_losses import as_knowledge_loss
from tfkd.schemes._epoch_data import EpochSeed
from tfkd.schemes._noisy_examples import Mixing, labelled_examples, validation_rows
from tfkd.schemes._progress import one_history, read_plan
from tfkd.schemes._pseudo_labels import check_options, check_returns_logits, checked_task
from tfkd.schemes._rand_augment import rand_augment
from tfkd.schemes._stages import Stage, Stages
from tfkd.tasks import Classification, Task

_FILE = "settings.json"


class NoisyStudent:
    """Self-training: each student learns from labels and the previous student's pseudo-labels.

    In each iteration the teacher labels the unlabelled inputs, without noise. A new student then learns
    from both kinds of examples, with noise: `augment` changes inputs, and the student has its own dropout
    and stochastic depth (`tfkd.students.with_noise`). It becomes the teacher of the next iteration. In the
    paper, students are as large as their teachers or larger; smaller ones are also allowed.

    A batch has `batch_size` labelled examples and `unlabelled_ratio` times as many pseudo-labelled ones. An
    epoch contains each example at least once and repeats the smaller set. The loss is the mean of the
    labels' loss over the batch. With `losses`, it is `student_loss_weight` times that, plus one minus that
    weight times the distillation losses of all examples. These compare the student with the teacher's
    outputs for inputs without noise, which are computed once and stored; only losses on input gradients run
    the teacher on the noisy inputs.

    Order, noise and initial weights are determined by `seed`, so a resumed run ends with the weights of an
    uninterrupted one, on the same machine. For that, `fit` seeds Keras, NumPy and Python in each iteration,
    like `keras.utils.set_random_seed`.

    Args:
        teacher: a trained network that returns logits; None to train the first one on the labels alone.
        make_student: a function of the iteration number that returns a new, built network; 1 is the first
            student, and 0 the teacher if `teacher` is None. Or those networks as a list.
        losses: distillation losses, one or several; None for the labels' loss on pseudo-labels alone, as
            published.
        loss_weights: as for `distillation_loss_weights` of `tfkd.Distiller`.
        student_loss_weight: weight of the labels' loss, in [0, 1]; None for 1 without losses, otherwise
            0.5.
        hard: whether pseudo-labels are the most likely class instead of probabilities.
        least: minimum confidence of a pseudo-label, in [0, 1]; None for any.
        per_class: number of pseudo-labelled examples that each class is balanced to, as in
            `tfkd.schemes.pseudo_labels`; None for no balancing.
        iterations: number of students; None for 3, or the length of a list.
        unlabelled_ratio: number of pseudo-labelled examples per labelled one in a batch.
        augment: noise of inputs: "randaugment", which takes images in [0, 1], `tfkd.schemes.rand_augment`
            with other options, or another function of an input and an int32 seed `(2,)`, such as
            `tf.image.stateless_random_flip_left_right`; None for none.
        shuffle_buffer: size of the shuffle buffer for each kind of examples.
        seed: int seed of all random numbers.
        task: the task of the outputs, which must have classes; None for `tfkd.tasks.task_of`.

    Attributes:
        teacher: the teacher; after `fit`, the trained one if none was given.
        students: the students of the last `fit`, in order.

    Raises:
        ValueError: if a number is out of range, or a list has the wrong number of networks.

    Example:
        >>> def make_student(iteration):
        ...     return tfkd.students.with_noise(tfkd.students.resnet(20))
        >>> scheme = tfkd.schemes.NoisyStudent(teacher, make_student, iterations=1)
        >>> history = scheme.fit((x, y), x_unlabelled, epochs=20, metrics=["accuracy"])
        >>> tfkd.students.without_noise(scheme.student).save("student.keras")

    Reference:
        Xie et al., "Self-training with Noisy Student improves ImageNet classification", 2020: soft
        pseudo-labels, `least` 0.3, three iterations, ratios of 14 and more (5 on SVHN); the mean over
        labelled and pseudo-labelled examples. Deviations: the default ratio is 1, classes are balanced only
        if `per_class` is given, and an epoch has each example at least once.
    """

    def __init__(
        self,
        teacher: keras.Model | None,
        make_student: Callable[[int], keras.Model] | Sequence[keras.Model],
        losses: Any = None,
        loss_weights: Sequence[float] | str | None = None,
        student_loss_weight: float | None = None,
        hard: bool = False,
        least: float | None = 0.3,
        per_class: int | None = None,
        iterations: int | None = None,
        unlabelled_ratio: int = 1,
        augment: Callable[[Any, Any], Any] | str | None = "randaugment",
        shuffle_buffer: int = 10_000,
        seed: int = 0,
        task: Task | type[Task] | str | None = None,
    ) -> None:
        check_options(least, per_class)
        self._given, self.teacher, self.students = teacher, teacher, []
        self._make, self.iterations = _maker(make_student, iterations, teacher is None)
        self._losses = [] if losses is None else [as_knowledge_loss(loss) for loss in as_list(losses)]
        self._weighing = loss_weights, student_loss_weight
        self.hard, self.least, self.per_class = hard, least, per_class
        self.unlabelled_ratio = check_int("unlabelled_ratio", unlabelled_ratio)
        self.shuffle_buffer = check_int("shuffle_buffer", shuffle_buffer)
        self.seed = check_int("seed", seed, 0, 2**31 - 1)
        self.augment, self._checks_range = _augment(augment), augment == "randaugment"
        self._task = task

    @property
    def student(self) -> keras.Model:
        """The last student.

        Raises:
            ValueError: if none has been trained yet.
        """
        if not self.students:
            raise ValueError("There is no student yet. Call `fit` first.")
        return self.students[-1]

    def fit(
        self,
        labelled: Any,
        unlabelled: Any,
        *,
        epochs: int = 1,
        optimizer: Any = "adam",
        loss: Any = None,
        metrics: Any = None,
        validation_data: Any = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        backup_dir: str | os.PathLike | None = None,
        batch_size: int = 32,
        synthesized: int = 10_000,
        jit_compile: bool | str = "auto",
        verbose: Any = "auto",
        **kwargs,
    ) -> keras.callbacks.History:
        """Runs the iterations.

        Args:
            labelled: inputs and their labels `(x, y)`, or a data set of such batches that gives the same
                examples in the same order every time. Labels are int classes, or rows `(classes,)`.
            unlabelled: inputs alone, in the same form; or a `tfkd.datafree` recipe that synthesizes them
                from the first teacher. No generator is trained for that, so recipes with a trained
                generator are of little use: train a `tfkd.DataFreeDistiller` and pass the result of its
                `synthesize`.
            epochs: epochs of each iteration.
            optimizer: a Keras optimizer, or its name; each iteration starts with a fresh copy.
            loss: the labels' loss, which takes rows `(classes,)` and logits; None for cross-entropy.
            metrics: metrics of rows and logits, such as "accuracy"; each iteration gets its own copies.
            validation_data: as in `keras.Model.fit`; labels like those of `labelled`.
            callbacks: callbacks for every iteration; its epochs are counted from 0.
            backup_dir: folder in which the teachers' outputs and every epoch are saved, so that the same
                call resumes after an interruption; None for no backup. It is kept when training ends.
            batch_size: labelled examples in a batch.
            synthesized: number of inputs that a recipe makes.
            jit_compile: as for `tfkd.Distiller.compile`.
            verbose: as in `keras.Model.fit`.
            **kwargs: passed to `tfkd.Distiller.fit`.

        Returns:
            One `keras.callbacks.History` of all epochs, with the number of the iteration under
            `"iteration"`, 0 for a teacher that was trained here, and NaN where an iteration lacks that
            value.

        Raises:
            ValueError: if there are no unlabelled inputs, labels or students do not have the teacher's
                classes, or no output is confident enough (with `per_class`, for any class); if `backup_dir`
                contains another run.

        Warns:
            UserWarning: if a class has no pseudo-label.
        """
        mixing = Mixing(
            check_int("batch_size", batch_size), self.unlabelled_ratio, self.shuffle_buffer, self.augment
        )
        check_int("synthesized", synthesized)
        _check_takes_rows("loss", [loss])
        _check_takes_rows("metrics", keras.tree.flatten(metrics))
        if backup_dir is not None:
            _check_folder(backup_dir, self._settings(mixing))
        teacher, examples, histories = self._given, None, {}
        self.students = []
        for number in range(0 if teacher is None else 1, self.iterations + 1):
            folder = None if backup_dir is None else os.path.join(backup_dir, f"iteration_{number}")
            keras.utils.set_random_seed(self._seed_of(number))
            student = self._make(number)
            if examples is None:
                task = checked_task(student if teacher is None else teacher, self._task, self.hard)
                examples = labelled_examples(labelled, task)
                if self._checks_range:
                    _check_range(examples)
                if not isinstance(unlabelled, Recipe):
                    examples = examples.with_unlabelled(unlabelled)
            _check_student(student, examples, number)
            if number and examples.unlabelled is None:
                examples = examples.with_unlabelled(
                    self._synthesized(unlabelled, teacher, synthesized, backup_dir)
                )
            seeds = EpochSeed((self.seed, number))
            data = self._data(number, teacher, examples, mixing, seeds, folder, verbose)
            # Trained parts of the losses also start the same, regardless of earlier draws or resumed
            # iterations.
            keras.utils.set_random_seed(self._seed_of(number))
            stages = Stages([self._stage(number, epochs, optimizer, seeds)])
            histories[number] = stages.fit(
                teacher,
                student,
                data,
                loss=_labels_loss(examples.task) if loss is None else loss,
                metrics=metrics,
                jit_compile=jit_compile,
                callbacks=callbacks,
                backup_dir=folder,
                shuffle=False,
                validation_data=validation_rows(validation_data, examples.task),
                verbose=verbose,
                **kwargs,
            )
            teacher = student
            if number:
                self.students.append(student)
            else:
                self.teacher = student
        return _joined(histories)

    def _data(self, number, teacher, examples, mixing, seeds, folder, verbose):
        """The batches of an iteration."""
        if not number:
            return examples.labelled_alone(mixing, seeds)
        looked_at = all_taps(loss.teacher_layer for loss in self._losses if loss.uses_teacher)
        data, count = examples.pseudo_labelled(
            teacher,
            mixing,
            seeds,
            hard=self.hard,
            least=self.least,
            per_class=self.per_class,
            carry=bool(self._losses) and taps.INPUT_GRADIENT not in looked_at,
            taps=[tap for tap in looked_at if tap != taps.INPUT_GRADIENT],
            path=None if folder is None else os.path.join(folder, "answers"),
        )
        if verbose:
            print(f"Iteration {number}/{self.iterations}: {count} pseudo-labels", flush=True)
        return data

    def _stage(self, number, epochs, optimizer, seeds):
        """The stage of an iteration; a first teacher is trained on labels alone."""
        weights, share = self._weighing if number else (None, None)
        losses = [clone(loss) for loss in self._losses] if number else []
        return Stage(losses, epochs, weights, share, optimizer=optimizer, callbacks=[seeds])

    def _synthesized(self, recipe, teacher, count, folder):
        """Inputs made by a recipe, only once per folder."""
        path = None if folder is None else os.path.join(folder, "synthesized.npy")
        if path is not None and os.path.exists(path):
            return np.load(path, mmap_mode="r")
        made = DataFreeDistiller(teacher, self._make(1), recipe, seed=self.seed).synthesize(count)
        if path is not None:
            with files.replacing(path) as temporary:
                np.save(temporary, made)
        return made

    def _seed_of(self, number):
        """A seed derived from the run's seed and the iteration number."""
        return int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])

    def _settings(self, mixing):
        """Settings that must match to resume from a folder, besides those that `Stages` compares."""
        return {
            "hard": self.hard,
            "least": self.least,
            "per_class": self.per_class,
            "unlabelled_ratio": mixing.ratio,
            "batch_size": mixing.batch_size,
            "shuffle_buffer": mixing.buffer,
            "seed": self.seed,
        }


def _maker(make_student, iterations, trains_teacher):
    """A function from the iteration number to its network, and the number of iterations."""
    if iterations is not None:
        check_int("iterations", iterations)
    if callable(make_student):
        return make_student, 3 if iterations is None else iterations
    networks = list(make_student)
    students = len(networks) - trains_teacher
    if students < 1 or (iterations is not None and iterations != students):
        wanted = "each iteration" if iterations is None else f"each of {iterations} iterations"
        before = ", after that of the teacher" if trains_teacher else ""
        raise ValueError(
            f"`make_student` must contain a network for {wanted}{before}. Received: {len(networks)} "
            "networks. Give that many, or a function of the iteration number."
        )
    return lambda number: networks[number - (not trains_teacher)], students


def _augment(augment):
    """The noise of inputs as a function, or None."""
    if augment is None or callable(augment):
        return augment
    if augment != "randaugment":
        raise ValueError(
            "`augment` must be 'randaugment', a function of an input and a seed, or None. Received: "
            f"augment={augment!r}."
        )
    return rand_augment()


def _check_range(examples):
    """Raises ValueError if images are not in [0, 1], since RandAugment would clip them."""
    images, _ = next(iter(examples.labelled))
    if keras.tree.is_nested(images) or len(images.shape) != 4:
        # RandAugment itself reports inputs that are not images.
        return
    low, high = np.min(images), np.max(images)
    if low < 0 or high > 1:
        raise ValueError(
            f"`augment`='randaugment' takes images in [0, 1]. Received: labelled inputs from {low} to "
            f"{high}. Use augment=tfkd.schemes.rand_augment((lowest, highest)), or None."
        )


def _check_student(student, examples, number):
    """Raises ValueError if a network's outputs do not match the task."""
    check_returns_logits(student)
    shape = tuple(student.output_shape[1:])
    if shape != examples.task.output_shape:
        raise ValueError(
            "`make_student` must return networks with the teacher's output shape "
            f"{(None, *examples.task.output_shape)}. Received: {student.name!r} with {(None, *shape)} for "
            f"iteration {number}."
        )


def _check_takes_rows(argument, given):
    """Raises ValueError for a loss or metrics of int classes: they receive probabilities."""
    instead = {
        "loss": "keras.losses.CategoricalCrossentropy(from_logits=True), or None",
        "metrics": "'accuracy', or another that takes rows",
    }
    for each in given:
        own = isinstance(each, keras.losses.Loss | keras.metrics.Metric)
        if "sparse" in (type(each).__name__ if own else str(each)).lower():
            raise ValueError(
                f"`{argument}` must take rows of probabilities, since pseudo-labels are rows; int labels "
                f"are converted to one-hot. Received: {each!r}. Use {instead[argument]}."
            )


def _labels_loss(task):
    """Cross-entropy of rows of probabilities and logits."""
    if isinstance(task, Classification):
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    return task.label_loss()


def _check_folder(folder, settings):
    """Records the settings in a folder; raises ValueError if it contains a run with others."""
    found = read_plan(folder, _FILE)
    if found is None:
        files.write_text(os.path.join(folder, _FILE), json.dumps(settings))
        return
    for key, now in settings.items():
        if found.get(key) != now:
            raise ValueError(
                f"`backup_dir` {os.fspath(folder)!r} contains a run with {key}={found.get(key)!r}; now it "
                f"is {now!r}. Give another folder, or remove that one."
            )


def _joined(histories):
    """One history of all iterations, by number."""
    logs = []
    for number, history in histories.items():
        columns = {key: values for key, values in history.history.items() if key != "stage"}
        for i in range(len(history.epoch)):
            values = {key: each[i] for key, each in columns.items()}
            logs.append({"epoch": len(logs), "iteration": number, **values})
    return one_history(logs, list(histories.values())[-1].model)
