"""The contract of recipes for distillation without data."""

import dataclasses
import functools
import os
import tempfile
import warnings
from collections.abc import Collection
from typing import NamedTuple

import keras
import numpy as np
from keras import tree

from tfkd.datafree import DataFreeDistiller, Recipe
from tfkd.tasks import Task
from tfkd.testing._contract import check_clauses, expect, expect_close


def check_recipe(
    recipe: Recipe,
    teacher: keras.Model,
    student: keras.Model,
    task: Task | None = None,
    *,
    examples=None,
    leave_out: Collection[str] = (),
) -> None:
    """Checks that a recipe fulfils the contract of `tfkd.datafree`.

    - "options": `describe` lists all options, and `with_options` makes an equal recipe from them.
    - "unknown": an unknown option raises a `ValueError` that names it.
    - "step": a run changes the student, but not the teacher, nor the student in warm-up.
    - "source": new inputs have the shape of the distiller's `input_form`, are finite, and are counted.
    - "synthesize": returns the requested number of images.
    - "compiled": steps run under XLA.
    - "resumes": a saved and resumed run ends like an uninterrupted one.
    - "preserves": synthesizing images changes nothing.
    - "takes_over": another distiller continues with the images of the first.

    Args:
        recipe: the recipe, at a size for tests: about ten images per batch, two epochs of two steps.
        teacher: a small trained network.
        student: a smaller one with the same inputs and outputs; it is copied.
        task: the task of the outputs; None for `tfkd.tasks.task_of(teacher)`.
        examples: real inputs, for recipes that need them.
        leave_out: names of clauses that cannot hold for this recipe.

    Raises:
        AssertionError: at the first failing clause, with the reason.
        ValueError: if a clause to leave out does not exist.

    Example:
        >>> recipe = tfkd.datafree.Procedural(batch_size=8, memory=16, epochs=2, steps_per_epoch=2)
        >>> check_recipe(recipe, teacher, student)
    """
    subject = _Subject(recipe, teacher, student, task, examples)
    check_clauses(type(recipe).__name__, subject, _CLAUSES, leave_out)


@dataclasses.dataclass
class _Subject:
    recipe: Recipe
    teacher: keras.Model
    student: keras.Model
    task: Task | None
    examples: object

    @functools.cached_property
    def whole(self) -> "_Run":
        """A complete run, used by several clauses."""
        distiller = self.made()
        teacher, student = _weights(self.teacher), _weights(distiller.student)
        figures = self.run(distiller)
        after = [variable.numpy() for variable in distiller.variables]
        return _Run(distiller, teacher, student, figures, after)

    def made(self, seed=1, **options):
        """A compiled distiller of a copy of the student."""
        keras.utils.set_random_seed(seed)
        student = keras.models.clone_model(self.student)
        student.set_weights(self.student.get_weights())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            distiller = DataFreeDistiller(self.teacher, student, self.recipe, seed=seed, task=self.task)
        distiller.compile(**options)
        return distiller

    def run(self, distiller, epochs=2, **options):
        """Trains for some epochs of the recipe's length; returns the figures of the last."""
        given = {"steps_per_epoch": self.recipe.steps_per_epoch}
        if self.recipe.needs_examples:
            given = {"x": self.examples, "batch_size": self.recipe.batch_size, "shuffle": False}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            history = distiller.fit(epochs=epochs, verbose=0, **given, **options).history
        return {name: values[-1] for name, values in history.items()}


class _Run(NamedTuple):
    """A distiller after a run, both networks' weights before it, figures, and all values after."""

    distiller: DataFreeDistiller
    teacher: list
    student: list
    figures: dict
    after: list


def _options(subject):
    recipe = subject.recipe
    missing = recipe.options().keys() - recipe.describe().keys()
    expect(not missing, f"`describe` leaves out {sorted(missing)}.")
    told = {name: getattr(recipe, name) for name in recipe.options()}
    again = type(recipe)(**told)
    expect(again == recipe, f"rebuilt from its own options it differs. Received: {again}.")
    expect(
        recipe.with_options(epochs=recipe.epochs) == recipe,
        "`with_options` changes options that were not given.",
    )


def _unknown(subject):
    try:
        subject.recipe.with_options(no_such_option=1)
    except ValueError as error:
        expect("no_such_option" in str(error), f"the message does not name the option: {error}")
        return
    raise AssertionError("it accepts an unknown option.")


def _step(subject):
    distiller, teacher, student, figures, _ = subject.whole
    expect(all(np.isfinite(value) for value in figures.values()), f"not finite: {figures}.")
    expect(_same(teacher, subject.teacher), "a run changes the teacher.")
    taught = int(distiller.optimizer.iterations.numpy())
    expected = subject.recipe.student_updates(int(distiller.steps_done.numpy()))
    expect(taught == expected, f"a run makes {taught} student updates, but the recipe counts {expected}.")
    expect(not _same(student, distiller.student), "a run does not change the student.")


def _source(subject):
    distiller = subject.made()
    distiller.source.before(1.0)
    batch = distiller.source.draw(subject.recipe.batch_size, examples=None)
    images = np.asarray(batch.images)
    expected = (subject.recipe.batch_size, *distiller.input_form.shape)
    expect(images.shape == expected, f"inputs have the shape {images.shape} instead of {expected}.")
    expect(bool(np.isfinite(images).all()), "inputs are not finite.")
    if batch.logits is not None:
        answers = subject.teacher(distiller.input_form.given(images), training=False)
        expect_close(batch.logits, answers, "the outputs are not the teacher's.", 1e-2, 1e-2)
    expect(distiller.images_made(3) >= distiller.images_made(1) >= 0, "images are not counted.")


def _synthesize(subject):
    distiller = subject.made()
    expected = (5, *distiller.input_form.shape)
    for images in tree.flatten(distiller.synthesize(5)):
        sentence = f"`synthesize(5)` has the shape {images.shape} instead of {expected}."
        expect(images.shape == expected, sentence)


def _compiled(subject):
    figures = subject.run(subject.made(jit_compile=True), epochs=1)
    expect(all(np.isfinite(value) for value in figures.values()), f"under XLA not finite: {figures}.")


def _resumes(subject):
    first, second = subject.made(), subject.made(seed=2)
    subject.run(first, callbacks=[_StopAfterFirst()])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "state.weights.h5")
        first.save_weights(path)
        second.load_weights(path)
    subject.run(second, initial_epoch=1)
    for expected, received in zip(subject.whole.after, second.variables, strict=True):
        sentence = f"after resuming, {received.path} differs."
        expect_close(received, expected, sentence, rtol=1e-3, atol=1e-5)


class _StopAfterFirst(keras.callbacks.Callback):
    """Interrupts a run whose learning-rate schedule was planned for its full length."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


def _preserves(subject):
    distiller = subject.whole.distiller
    before = [variable.numpy() for variable in distiller.variables]
    with distiller.preserving_state():
        distiller.synthesize(5)
    after = [variable.numpy() for variable in distiller.variables]
    same = all(np.array_equal(*pair) for pair in zip(before, after, strict=True))
    expect(same, "synthesizing images changes a variable.")


def _takes_over(subject):
    first, second = subject.whole.distiller, subject.made(seed=2)
    second.take_over(first)
    for expected, received in zip(first.source.weights, second.source.weights, strict=True):
        expect_close(received, expected, f"{expected.path} of the source is not taken over.")
    subject.run(second, epochs=1)


def _weights(model):
    return [weight.numpy() for weight in model.weights]


def _same(before, model):
    return all(np.array_equal(*pair) for pair in zip(before, _weights(model), strict=True))


_CLAUSES = {
    "options": _options,
    "unknown": _unknown,
    "step": _step,
    "source": _source,
    "synthesize": _synthesize,
    "compiled": _compiled,
    "resumes": _resumes,
    "preserves": _preserves,
    "takes_over": _takes_over,
}
