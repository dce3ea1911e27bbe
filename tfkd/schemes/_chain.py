"""Chain: each network is taught by the previous one."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tfkd._core import files
from tfkd._core.checks import check_int, check_number
from tfkd._core.copies import clone
from tfkd._core.fingerprints import fingerprint
from tfkd._core.keras_internals import thaw
from tfkd._core.seeding import drawn_seed, seeded
from tfkd.datafree import Recipe
from tfkd.distilling._compatibility import check_model
from tfkd.losses import ScoreDifference, SoftTargets
from tfkd.losses._features import as_list
from tfkd.losses._keras_losses import as_knowledge_loss
from tfkd.schemes._data_free import DataFree
from tfkd.schemes._progress import as_plan, check_plan, one_history, read_plan
from tfkd.schemes._stages import Stage, Stages
from tfkd.tasks import mark, marked_task

_FILE = "chain.json"


class Chain:
    """A chain of networks: each is taught by the previous one, the first by a given teacher.

    `assistants` and `generations` make chains. Each link is a run of `Stages` with its own optimizer,
    losses and metrics, and trains its student in place.

    Args:
        teacher: a trained network; None if the first of `students` is to be trained on labels alone.
        students: built networks in training order, at least one. Each may appear only once.
        losses: knowledge losses of every link, or one; each link trains copies. None for soft targets.
        loss_weights: as for `distillation_loss_weights` of `tfkd.Distiller`.
        student_loss_weight: weight of the labels' loss in links with a teacher, in [0, 1]; None for 0.5, or
            0 if a recipe makes the inputs.
        temperature: temperature of the soft targets if `losses` is None; above 0.
        tolerance: weight of `tfkd.losses.ScoreDifference` in training the first teacher, at least 0; it and
            the labels' loss each count by half. 0 for labels alone.
        k: how many of the highest class probabilities `ScoreDifference` compares, at least 2.
        seed: int seed of random numbers in training: the initial values of the losses' trained parts, and
            what recipes draw; None for a random one.

    Attributes:
        teacher: the given teacher, or None.
        students: the networks, in order.

    Raises:
        ValueError: if there are no students, one is not built or appears twice, two successive networks are
            not compatible, a layer that a loss uses does not exist, or a number is out of its range.

    Example:
        >>> chain = tfkd.schemes.Chain(teacher, [assistant, student], tfkd.losses.SoftTargets(4.0))
        >>> history = chain.fit(x, y, epochs=10, loss=labels_loss, backup_dir="chain")
        >>> chain.student.save("student.keras")
    """

    def __init__(
        self,
        teacher: keras.Model | None,
        students: Sequence[keras.Model],
        losses: Any = None,
        loss_weights: Sequence[float] | str | None = None,
        student_loss_weight: float | None = None,
        *,
        temperature: float = 4.0,
        tolerance: float = 0.0,
        k: int = 3,
        seed: int | None = None,
    ) -> None:
        self.teacher, self.students = teacher, list(students)
        self._losses, self._loss_weights, self._share = losses, loss_weights, student_loss_weight
        self._soft_targets = SoftTargets(temperature)
        self._first_loss = ScoreDifference(k)
        self._tolerance = check_number("tolerance", tolerance, least=0)
        if teacher is not None and tolerance:
            raise ValueError(
                "`tolerance` is for training the first teacher, but a trained one is given. Received: "
                f"tolerance={tolerance!r}. Give teacher=None, or leave `tolerance` at 0."
            )
        self._given_seed = seed
        self._seed = drawn_seed() if seed is None else check_int("seed", seed, least=0)
        self._check_students()
        self._mark_students()
        # Problems of the last link are reported before the first is trained.
        with seeded(self._seed):
            for stage, tutor, student in self._links(self._stages(epochs=1, optimizer="adam")):
                with _still_trainable(tutor, self.students):
                    stage.distiller(tutor, student)

    @property
    def student(self) -> keras.Model:
        """The last network of the chain, which is the result."""
        return self.students[-1]

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *,
        epochs: int,
        optimizer: keras.optimizers.Optimizer | str | None = None,
        loss: Any = None,
        metrics: Any = None,
        jit_compile: bool | str = "auto",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        backup_dir: str | os.PathLike | None = None,
        recipe: Recipe | None = None,
        **kwargs,
    ) -> keras.callbacks.History:
        """Trains the networks one after another.

        Args:
            x: data for every link, as in `keras.Model.fit`, but not from `tfkd.cache_teacher`, which is for
                a single teacher. None to train without data, by a `recipe`. The shuffling order of arrays
                is not part of a backup: for exactly the same weights, use `shuffle=False`, or a data set
                that shuffles with a seed.
            y: labels, as in `keras.Model.fit`.
            epochs: epochs of each link, at least 1.
            optimizer: a Keras optimizer, or its name; each link starts with a fresh copy. None for Adam, or
                the recipe's.
            loss: the labels' loss, for links that use it.
            metrics: metrics of the student's outputs; each link gets its own copies.
            jit_compile: as for `Distiller.compile`.
            callbacks: callbacks for every link; its epochs are counted from 0.
            backup_dir: folder in which every epoch is saved, link by link, so that the same call with
                networks of the same shapes resumes an interrupted run, from that run's initial weights;
                None for no backup. It is kept when training ends.
            recipe: a `tfkd.datafree` recipe, which makes the inputs of each link, in addition to those in
                `x` or instead of them. Students are then trained by `tfkd.DataFreeDistiller` and minimize
                the recipe's objective. None to train on `x`.
            **kwargs: passed to `fit` of the distillers: `batch_size`, `validation_data`, `verbose`,
                `steps_per_epoch` and so on.

        Returns:
            One `keras.callbacks.History` of all epochs, with the number of the link under `"link"` and NaN
            where a link lacks that value. Epochs count on from link to link.

        Raises:
            ValueError: if `backup_dir` contains another chain, or a recipe cannot be used: it needs a
                teacher in every link, and defines the losses itself.
        """
        found = None if backup_dir is None else read_plan(os.fspath(backup_dir), _FILE)
        seed = self._seed if found is None else found["seed"]
        with seeded(seed):
            stages = self._stages(epochs, optimizer, recipe)
        if backup_dir is not None:
            self._begin(backup_dir, stages, found)
        logs, distiller = [], None
        for number, (stage, tutor, student) in enumerate(self._links(stages)):
            if kwargs.get("verbose", "auto"):
                by = "labels" if tutor is None else tutor.name
                print(f"Link {number + 1} of {len(stages)}: {student.name}, taught by {by}", flush=True)
            link = _Link([stage], seed + number)
            with _still_trainable(tutor, self.students):
                history = link.fit(
                    *(tutor, student, x, y),
                    loss=loss,
                    metrics=metrics,
                    jit_compile=jit_compile,
                    callbacks=callbacks,
                    backup_dir=None if backup_dir is None else os.path.join(backup_dir, str(number)),
                    **kwargs,
                )
            logs += _numbered(history, number, epochs)
            distiller = link.distiller
        return one_history(logs, distiller)

    def _check_students(self):
        if not self.students:
            raise ValueError("`students` is empty. Give at least one network to train.")
        for student in self.students:
            check_model(student, "students")
            if not student.built:
                raise ValueError(
                    f"`students`: {student.name!r} has no weights yet. Build it first, by calling it on a "
                    "batch."
                )
        if len({*map(id, self.students)}) < len(self.students):
            names = [student.name for student in self.students]
            raise ValueError(
                f"`students` must be different networks. Received one of them twice: {names}. Make a new "
                "network for each link."
            )

    def _mark_students(self):
        """Marks the outputs of students that become teachers as having their teacher's task."""
        task = None if self.teacher is None else marked_task(self.teacher)
        if task is None:
            return
        for student in self.students:
            if marked_task(student) is None and tuple(student.output_shape[1:]) == task.output_shape:
                mark(student, task)

    def _links(self, stages: Sequence[Stage]) -> Iterator[tuple[Stage, keras.Model | None, keras.Model]]:
        """Each link's stage, teacher and student."""
        return zip(stages, [self.teacher, *self.students[:-1]], self.students, strict=True)

    def _stages(self, epochs, optimizer, recipe=None) -> list[Stage]:
        """The stage of each link, with its own losses."""
        if recipe is not None:
            return [self._by_recipe(epochs, optimizer, recipe) for _ in self.students]
        optimizer = "adam" if optimizer is None else optimizer
        stages = [self._by_losses(epochs, optimizer) for _ in self.students]
        if self.teacher is None:
            stages[0] = self._alone(epochs, optimizer)
        return stages

    def _by_losses(self, epochs, optimizer):
        losses = self._soft_targets if self._losses is None else self._losses
        copies = [clone(as_knowledge_loss(each)) for each in as_list(losses)]
        return Stage(copies, epochs, self._loss_weights, self._share, optimizer=optimizer)

    def _alone(self, epochs, optimizer):
        """The first teacher's own training."""
        if not self._tolerance:
            return Stage(None, epochs, optimizer=optimizer)
        return Stage([clone(self._first_loss)], epochs, [self._tolerance], 0.5, optimizer=optimizer)

    def _by_recipe(self, epochs, optimizer, recipe):
        if self.teacher is None:
            raise ValueError(
                "`recipe` needs a teacher in every link, and the first link has none. Train the first "
                "teacher on labels before, and give it as `teacher`."
            )
        if self._losses is not None or self._loss_weights is not None:
            raise ValueError(
                "`recipe` defines what students minimize, but the chain has `losses`, too. Leave `losses` "
                "out; the recipe takes `student_loss`, `temperature` and `features`."
            )
        share = 0.0 if self._share is None else self._share
        return Stage(None, epochs, None, share, optimizer=optimizer, scheme=DataFree(recipe))

    def _begin(self, backup_dir, stages, found):
        """Saves initial weights and the seed in the folder, or restores the weights from it."""
        plan = as_plan(
            {
                "teacher": None if self.teacher is None else fingerprint(self.teacher),
                "links": [stage.description() for stage in stages],
                "shapes": [[tuple(w.shape) for w in student.weights] for student in self.students],
                "seed": self._given_seed,
            }
        )
        # A distiller without losses saves everything of a student, including its random states.
        keepers = [Stage(None, epochs=1).distiller(None, student) for student in self.students]
        starts = [os.path.join(backup_dir, f"start_{i}.weights.h5") for i in range(len(keepers))]
        if found is not None:
            check_plan(found, plan, f"`backup_dir` {os.fspath(backup_dir)!r} contains another chain")
            for keeper, start in zip(keepers, starts, strict=True):
                keeper.load_weights(start)
            return
        for keeper, start in zip(keepers, starts, strict=True):
            with files.replacing(start) as temporary:
                keeper.save_weights(temporary)
        # Written last, so that everything it refers to exists.
        files.write_text(os.path.join(backup_dir, _FILE), json.dumps({"plan": plan, "seed": self._seed}))


class _Link(Stages):
    """The run of one link; the chain ensures its teacher is the same, from the links before."""

    def _plan(self, teacher):
        return super()._plan(None)


@contextlib.contextmanager
def _still_trainable(tutor, students) -> Iterator[None]:
    """Restores trainability of a student that was frozen as a teacher by its distiller."""
    own = any(tutor is student for student in students) and tutor.trainable
    try:
        yield
    finally:
        if own:
            thaw(tutor)


def _numbered(history: keras.callbacks.History, number: int, epochs: int) -> Iterator[dict]:
    """The logs of a link's epochs, numbered as in the chain."""
    for i, epoch in enumerate(history.epoch):
        values = {key: values[i] for key, values in history.history.items() if key != "stage"}
        yield {"epoch": number * epochs + epoch, "link": number, **values}
