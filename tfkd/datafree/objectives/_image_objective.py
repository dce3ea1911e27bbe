"""ImageObjective: the total objective of a batch of images, and its gradient."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfkd import taps
from tfkd._core import names
from tfkd.datafree import _views as views
from tfkd.datafree._in_parts import concatenated
from tfkd.datafree._lesson import Lesson
from tfkd.datafree._replicas import apply_here
from tfkd.datafree.objectives._base import Objective, ObjectiveState, Synthesized
from tfkd.datafree.objectives._moments import Moments, recorded

# Keeps gradients through networks in half precision from vanishing; a power of 2 alters no float32.
_SCALE = 2.0**12


class ObjectiveWarning(UserWarning):
    """Warns of an objective or option that does not apply to a teacher."""


class ImageObjective:
    """The weighted sum of objectives of a batch of images, and its gradient with respect to the images.

    The gradient stops at the images, so this class does not depend on how they were made. With
    `microbatches`, each part goes through the networks twice: first for the values that the objectives need
    (logits, features, moments), and then, after the objectives of the whole batch have been differentiated
    with respect to these values, for the gradient with respect to the images. The result is the exact
    gradient of the whole batch for any objective.

    Args:
        lesson: the networks, their task, and the random state.
        objectives: the objectives; those that do not apply to this teacher are dropped, with a warning.
        batch_size: the number of images in a batch.
        view: the random view of the images for the networks; None for unchanged images.
        second_view: the additional view for contrastive objectives.
        microbatches: the number of equal parts in which a batch is processed.

    Raises:
        ValueError: if no objective that uses the networks is left, a tap does not exist, or a batch is too
            small for an objective.

    Warns:
        ObjectiveWarning: for each objective that is dropped.
    """

    def __init__(
        self,
        lesson: Lesson,
        objectives: Sequence[Objective],
        batch_size: int,
        view: views.View | None = None,
        second_view: views.View | None = None,
        microbatches: int = 1,
    ) -> None:
        self.lesson = lesson
        self.view, self.second_view, self.microbatches = view, second_view, microbatches
        self.objectives = _applicable(lesson, objectives)
        for objective in self.objectives:
            objective.check_batch(batch_size, lesson.task)
        teacher, student = lesson.teacher, lesson.student
        self.stored = [objective.stored(teacher) for objective in self.objectives]
        self.taps = [objective.taps(teacher) for objective in self.objectives]
        self.student_taps = [objective.student_taps(student) for objective in self.objectives]
        # For each call of a layer with stored statistics: its tap and its number of positions.
        self._calls = [[] for _ in self.objectives]
        self._states = [None for _ in self.objectives]
        black = ops.zeros((1, *lesson.input_shape))
        example = self._look(black, self._draw(black))
        self._states = [
            objective.build(self._seen_by(i, example, None), batch_size, lesson.seed)
            for i, objective in enumerate(self.objectives)
        ]
        tracked = names.numbered([f"generator_{objective.name}" for objective in self.objectives])
        self.trackers = [keras.metrics.Mean(name=name) for name in tracked]

    @property
    def states(self) -> list[ObjectiveState]:
        """The states of the objectives."""
        return [state for state in self._states if state is not None]

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """The optimizers of variables that the objectives train along with the images."""
        return [state.optimizer for state in self.states if state.optimizer is not None]

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """The variables that the objectives train along with the images."""
        return [v for state in self.states for v in state.trainable_variables]

    def value_and_gradients(self, images, targets=None, adversarial_weight=1.0):
        """The total of the objectives and its gradients.

        Args:
            images: `(batch, ...)`.
            targets: their target classes, int `(batch,)`, or None.
            adversarial_weight: multiplier of the student-dependent objectives; 0 disables them.

        Returns:
            `(total, gradient, gradients)`: a float32 scalar, its gradient with respect to the images, and
            those with respect to `trainable_variables`.
        """
        drawn = self._draw(images)
        if self.microbatches == 1:
            with tf.GradientTape() as tape:
                tape.watch(images)
                total = self._total(self._look(images, drawn), targets, adversarial_weight)
                scaled = _SCALE * total
            gradient, *others = _gradients(tape, scaled, [images, *self.trainable_variables])
            return total, gradient / _SCALE, [other / _SCALE for other in others]
        whole = concatenated(self._look, (images, drawn), self.microbatches)
        with tf.GradientTape() as tape:
            tape.watch(whole)
            total = self._total(whole, targets, adversarial_weight)
            scaled = _SCALE * total
        upstream, others = _gradients(
            tape,
            scaled,
            [whole, self.trainable_variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        gradient = concatenated(self._gradient_of_part, (images, drawn, upstream), self.microbatches)
        return total, gradient / _SCALE, [other / _SCALE for other in others]

    def learn(self, gradients) -> None:
        """Takes one optimizer step on the variables of the objectives."""
        for state in self.states:
            if state.trainable_variables:
                assert state.optimizer is not None, "A state with trainable variables has an optimizer."
                n = len(state.trainable_variables)
                apply_here(state.optimizer, gradients[:n], state.trainable_variables)
                gradients = gradients[n:]

    def finish(self) -> None:
        """Notifies the objectives that a batch of images is finished."""
        for objective, state in zip(self.objectives, self._states, strict=True):
            objective.finish(state)

    def _draw(self, images):
        """Draws the views of a batch once, since its parts are processed twice."""
        second = any(objective.needs_second_view for objective in self.objectives)
        drawn = {}
        for name, view in (("first", self.view), ("second", self.second_view if second else None)):
            if view is not None:
                drawn[name] = view.draw(*images.shape[:3], seed=self.lesson.seed)
        return drawn

    def _look(self, images, drawn):
        """The values that the objectives need, tensors whose first axis is the batch."""
        seen = {"images": views.apply(images, drawn["first"]) if "first" in drawn else images}
        tapped = [*self.taps, *self.stored]
        with taps.record(self.lesson.teacher, [tap for each in tapped for tap in each]) as record:
            seen["teacher_logits"] = self.lesson.ask(seen["images"])
        seen["teacher_seen"] = [[record[tap] for tap in each] for each in self.taps]
        seen["moments"] = self._moments(record)
        if "second" in drawn:
            with taps.record(self.lesson.teacher, [tap for each in self.stored for tap in each]) as record:
                self.lesson.ask(views.apply(images, drawn["second"]))
            seen["second_moments"] = self._moments(record)
        if any(objective.needs_student for objective in self.objectives):
            tapped = [tap for each in self.student_taps for tap in each]
            with taps.record(self.lesson.student, tapped) as record:
                seen["student_logits"] = self.lesson.ask_student(seen["images"])
            seen["student_seen"] = [[record[tap] for tap in each] for each in self.student_taps]
        return seen

    def _moments(self, record):
        """For each objective and each call of each layer, the two moments that depend on the images."""
        found = [recorded(record, stored) for stored in self.stored]
        for i, stored in enumerate(self.stored):
            called = [tap for tap in stored for _ in record.calls[tap]]
            positions = [each.positions for each in found[i]]
            self._calls[i] = list(zip(called, positions, strict=True))
        return [[each[:2] for each in calls] for calls in found]

    def _seen_by(self, i, look, targets):
        """The batch as an objective gets it."""

        def described(pairs):
            return tuple(
                _described(pair, self.stored[i][tap], positions)
                for pair, (tap, positions) in zip(pairs, self._calls[i], strict=True)
            )

        return Synthesized(
            look["images"],
            look["teacher_logits"],
            look.get("student_logits"),
            targets,
            tuple(look["teacher_seen"][i]),
            tuple(look["student_seen"][i]) if "student_seen" in look else (),
            described(look["moments"][i]),
            described(look["second_moments"][i]) if "second_moments" in look else None,
            self._states[i],
            self.lesson.task,
        )

    def _total(self, look, targets, adversarial_weight) -> Any:
        total = 0.0
        for i, objective in enumerate(self.objectives):
            value = objective.value(self._seen_by(i, look, targets))
            self.trackers[i].update_state(value)
            total += objective.weight * value * (adversarial_weight if objective.needs_student else 1.0)
        return total

    def _gradient_of_part(self, images, drawn, upstream):
        with tf.GradientTape() as tape:
            tape.watch(images)
            look = self._look(images, drawn)
        return tape.gradient(look, images, output_gradients=upstream)


def _gradients(tape, target, sources, **kwargs) -> Any:
    """The tape's gradients, in the structure of the sources."""
    return tape.gradient(target, sources, **kwargs)


def _described(moments, stored, positions):
    (mean, square), (stored_mean, stored_variance, _) = moments, stored
    stored_mean, stored_variance = (ops.cast(each, "float32") for each in (stored_mean, stored_variance))
    return Moments(mean, square, stored_mean, stored_variance, positions)


def _applicable(lesson, objectives):
    """The objectives that apply to this teacher."""
    kept, problems = [], []
    for objective in objectives:
        problem = objective.problem(lesson.teacher)
        if (objective.needs_images or objective.needs_second_view) and not views.fit(lesson.input_shape):
            problem = f"its inputs {lesson.input_shape} are not images"
        if objective.needs_classes and not lesson.task.has_classes:
            problem = f"its task ({lesson.task!r}) has no classes"
        if problem is None:
            kept.append(objective)
            continue
        problems.append(problem)
        warnings.warn(
            f"{type(objective).__name__} is left out for teacher {lesson.teacher.name!r}: {problem}.",
            ObjectiveWarning,
            stacklevel=5,
        )
    if not any(objective.asks_networks for objective in kept):
        raise ValueError(
            f"`recipe`: of its objectives {[o.name for o in objectives]}, none that uses the networks "
            f"applies to teacher {lesson.teacher.name!r}: {'; '.join(problems)}. Use another recipe "
            "(Procedural, DFAD, DAFL, ZSKT; PSAQViT for vision transformers), or pass statistics: "
            "BatchStatistics(given=tfkd.datafree.measure(teacher, images, layers))."
        )
    return kept
