"""Critic: what a batch of synthesized images is worth, and how each of its pixels should change."""

import warnings
from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops, tree

from tfkd import taps
from tfkd._core import names
from tfkd.datafree import _views as views
from tfkd.datafree._in_turn import in_turn
from tfkd.datafree.objectives import Objective, Synthesized
from tfkd.datafree.objectives._moments import Moments, recorded

# Keeps gradients through networks in half precision from vanishing; a power of 2 alters no float32.
_SCALE = 2.0**12


class ObjectiveWarning(UserWarning):
    """An objective that has nothing to say about a teacher's images."""


class Critic:
    """The weighted objectives of a batch of images and their gradient by the images.

    The gradient stops at the images, so a critic knows nothing of what made them. Where the batch is looked
    at in parts (`accumulate`), each part goes through the networks twice: once for what the objectives need
    of it (logits, features, moments), then, when the objectives of the whole batch have been differentiated
    by those, for the gradient by the images. The result is the gradient of the whole batch, whatever the
    objectives compute of it.

    Args:
        teacher: a model from images in [0, 1] to logits.
        student: the student.
        objectives: what images are made for; those that have nothing to say about this teacher are left
            out, with a warning.
        batch_size: images in a batch.
        seed: the `keras.random.SeedGenerator` that all randomness comes from.
        view: how the networks look at the images; None for as they are.
        second_view: the other look that contrastive objectives take.
        accumulate: in how many parts of equal size a batch is looked at.

    Raises:
        ValueError: if no objective is left that asks the networks, or a tap does not exist.

    Warns:
        ObjectiveWarning: for each objective that is left out.
    """

    def __init__(
        self,
        teacher: keras.Model,
        student: keras.Model,
        objectives: Sequence[Objective],
        batch_size: int,
        seed: keras.random.SeedGenerator,
        view: views.View | None = None,
        second_view: views.View | None = None,
        accumulate: int = 1,
    ) -> None:
        self.teacher, self.student, self.seed = teacher, student, seed
        self.view, self.second_view, self.accumulate = view, second_view, accumulate
        self.objectives = _applicable(teacher, objectives)
        self.stored = [objective.stored(teacher) for objective in self.objectives]
        self.taps = [objective.taps(teacher) for objective in self.objectives]
        self.student_taps = [objective.student_taps(student) for objective in self.objectives]
        # What does not depend on the images, of each call of each layer.
        self._kept = [[] for _ in self.objectives]
        self.states = [None for _ in self.objectives]
        black = ops.zeros((1, *teacher.input_shape[1:]))
        example = self._look(black, self._draw(black))
        self.states = [
            objective.build(self._seen_by(i, example, None), batch_size, seed)
            for i, objective in enumerate(self.objectives)
        ]
        tracked = names.numbered([f"generator_{objective.name}" for objective in self.objectives])
        self.trackers = [keras.metrics.Mean(name=name) for name in tracked]

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """What the objectives train along with the images."""
        return [v for state in self.states if state is not None for v in state.trainable_variables]

    def judge(self, images, targets=None, adversary=1.0):
        """The total of the objectives and its gradients.

        Args:
            images: `(batch, height, width, channels)`.
            targets: int classes `(batch,)` they are made for, or None.
            adversary: factor of the objectives that ask the student, 0 to leave it in peace.

        Returns:
            `(total, slope, gradients)`: a float32 scalar, its gradient by the images, and those by
            `trainable_variables`.
        """
        drawn = self._draw(images)
        if self.accumulate == 1:
            with tf.GradientTape() as tape:
                tape.watch(images)
                total = self._total(self._look(images, drawn), targets, adversary)
                scaled = _SCALE * total
            slope, *gradients = tape.gradient(scaled, [images, *self.trainable_variables])
            return total, slope / _SCALE, [gradient / _SCALE for gradient in gradients]
        parts = tree.map_structure(self._split, (images, drawn))
        whole = self._each(self._look, parts)
        with tf.GradientTape() as tape:
            tape.watch(whole)
            total = self._total(whole, targets, adversary)
            scaled = _SCALE * total
        upstream, gradients = tape.gradient(
            scaled, [whole, self.trainable_variables], unconnected_gradients="zero"
        )
        upstream = tree.map_structure(self._split, upstream)
        slope = self._each(self._slope_of_part, (*parts, upstream))
        return total, slope / _SCALE, [gradient / _SCALE for gradient in gradients]

    def learn(self, gradients) -> None:
        """One step of what the objectives train along with the images."""
        for state in self.states:
            if state is not None and state.trainable_variables:
                n = len(state.trainable_variables)
                state.optimizer.apply(gradients[:n], state.trainable_variables)
                gradients = gradients[n:]

    def finish(self) -> None:
        """Tells the objectives that a batch of images is done."""
        for objective, state in zip(self.objectives, self.states, strict=True):
            objective.finish(state)

    def _draw(self, images):
        """The views of this batch, drawn once: the parts of a batch are looked at twice."""
        n, height, width, _ = images.shape
        second = any(objective.needs_second_view for objective in self.objectives)
        drawn = {}
        for name, view in (("first", self.view), ("second", self.second_view if second else None)):
            if view is not None:
                drawn[name] = view.draw(n, height, width, self.seed)
        return drawn

    def _look(self, images, drawn):
        """What the objectives need of some images: tensors whose first axis is the image."""
        seen = {"images": views.apply(images, drawn["first"]) if "first" in drawn else images}
        tapped = [*self.taps, *self.stored]
        with taps.record(self.teacher, [tap for each in tapped for tap in each]) as record:
            seen["teacher_logits"] = ops.cast(self.teacher(seen["images"], training=False), "float32")
        seen["teacher_seen"] = [[record[tap] for tap in each] for each in self.taps]
        seen["moments"] = self._moments(record)
        if "second" in drawn:
            with taps.record(self.teacher, [tap for each in self.stored for tap in each]) as record:
                self.teacher(views.apply(images, drawn["second"]), training=False)
            seen["second_moments"] = self._moments(record)
        if any(objective.needs_student for objective in self.objectives):
            with taps.record(self.student, [tap for each in self.student_taps for tap in each]) as record:
                logits = self.student(seen["images"], training=False)
            seen["student_logits"] = ops.cast(logits, "float32")
            seen["student_seen"] = [[record[tap] for tap in each] for each in self.student_taps]
        return seen

    def _moments(self, record):
        """For each objective, of each call of each layer, the two moments that depend on the images."""
        found = [recorded(record, stored) for stored in self.stored]
        self._kept = [[each[2:] for each in calls] for calls in found]
        return [[each[:2] for each in calls] for calls in found]

    def _seen_by(self, i, look, targets):
        """What an objective gets to see."""

        def described(pairs):
            return tuple(Moments(*pair, *kept) for pair, kept in zip(pairs, self._kept[i], strict=True))

        return Synthesized(
            look["images"],
            look["teacher_logits"],
            look.get("student_logits"),
            targets,
            tuple(look["teacher_seen"][i]),
            tuple(look["student_seen"][i]) if "student_seen" in look else (),
            described(look["moments"][i]),
            described(look["second_moments"][i]) if "second_moments" in look else None,
            self.states[i],
        )

    def _total(self, look, targets, adversary):
        total = 0.0
        for i, objective in enumerate(self.objectives):
            value = objective.value(self._seen_by(i, look, targets))
            self.trackers[i].update_state(value)
            total += objective.weight * value * (adversary if objective.needs_student else 1.0)
        return total

    def _split(self, whole):
        """Parts of equal size, stacked."""
        return ops.reshape(whole, (self.accumulate, -1, *whole.shape[1:]))

    def _each(self, function, parts):
        """The function's values for the parts, joined."""
        done = in_turn(function, [[_part(whole, i) for whole in parts] for i in range(self.accumulate)])
        return tree.map_structure(lambda *values: ops.concatenate(values), *done)

    def _slope_of_part(self, images, drawn, upstream):
        with tf.GradientTape() as tape:
            tape.watch(images)
            look = self._look(images, drawn)
        return tape.gradient(look, images, output_gradients=upstream)


def _part(stacked, i):
    return tree.map_structure(lambda values: values[i], stacked)


def _applicable(teacher, objectives):
    """The objectives that have something to say about this teacher's images."""
    kept = []
    for objective in objectives:
        problem = objective.problem(teacher)
        if problem is None:
            kept.append(objective)
        else:
            warnings.warn(
                f"{type(objective).__name__} is left out for teacher {teacher.name!r}: {problem}.",
                ObjectiveWarning,
                stacklevel=5,
            )
    if objectives and not any(objective.asks_networks for objective in kept):
        raise ValueError(
            f"No objective of {[o.name for o in objectives]} can say anything about images of teacher "
            f"{teacher.name!r}: {'; '.join(filter(None, (o.problem(teacher) for o in objectives)))}. Use a "
            "recipe that does without (Procedural, DFAD, DAFL, ZSKT), or give statistics, "
            "BatchStatistics(given=tfkd.datafree.measure(teacher, images, layers))."
        )
    return kept
