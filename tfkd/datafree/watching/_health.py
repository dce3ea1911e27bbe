"""Health: detects, without data, when a data-free run goes wrong."""

import copy
import math
import warnings
from collections.abc import Sequence

import keras

from tfkd._core.checks import check_choice, check_int, check_number
from tfkd._core.snapshots import Snapshot
from tfkd.datafree.watching._diagnostics import NEAR, in_warm_up, vital_signs
from tfkd.distilling._protocol import check_distillation

# Not the seed of the images on which teachers are tested.
_PROBE_SEED = 1
_ACTIONS = ("warn", "stop", "roll_back")
# After these an epoch's metrics, such as a loss of almost 0, are not a reference for other epochs.
_COLLAPSES = {"not_finite", "duplicates", "diversity_lost", "student_constant"}
# A newly initialized student is above this; one whose units are all dead or nearly so is below.
_LEAST_SPREAD = 1e-3


class HealthWarning(UserWarning):
    """Warns of a data-free run that goes wrong."""


class Health(keras.callbacks.Callback):
    """Monitors a data-free run, and warns, stops or rolls back when it goes wrong.

    A generator can collapse while the loss falls to 0, since a single image is easy to learn. Therefore
    the first epoch, and every `every`-th epoch, ends with a check of new synthetic images, and of fixed
    procedural ones. The check does not affect training. The metrics of `vital_signs` are added to the
    epoch's logs; place callbacks that use them later in the list.

    The kinds of findings are `not_finite` (loss or metrics), `duplicates`, `diversity_lost`,
    `student_constant`, `few_classes`, `loss_explosion`, `agreement_fall`, and at the end of training
    `no_better_than_guessing`. Epochs with one of the first four do not count as a reference for the first
    diversity, the best loss and the best agreement.

    Args:
        every: the number of epochs between checks.
        images: the number of images of each sort to check, at least 2.
        action: "warn" warns once for each kind of finding until it clears; "stop" warns and stops training;
            "roll_back" warns and restores the student, the generator (or the inverted images) and the
            moments of their optimizers from the last healthy epoch or the start of training. Learning
            rates, memory and random states are not restored.
        patience: the number of roll-backs after which training stops.
        diversity: the fraction of the first diversity that must remain, in [0, 1]; 0 to disable.
        duplicates: maximum tolerated fraction of near-duplicates, in [0, 1]; 1 to disable.
        entropy: the minimum class entropy, in [0, 1]; 0 to disable.
        explosion: maximum tolerated ratio of loss to best loss, above 1; not checked if the best loss is
            not positive.
        fall: maximum tolerated drop of the agreement on procedural images below its best, in [0, 1]; 1 to
            disable.

    Attributes:
        findings: dictionaries with the `epoch` (from 0) of a finding, its `kind` and its `message`; a
            persistent finding is listed once.
        healthy: whether the current student and generator have no findings.
        last_healthy_epoch: the last epoch without a finding; the epoch before the first one, such as -1,
            for the start of training; None before that.
        roll_backs: the number of roll-backs so far.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: when training begins, if the model does not make its own inputs, or has several students.

    Warns:
        HealthWarning: according to `action`.

    Example:
        >>> health = tfkd.datafree.Health(action="roll_back")
        >>> distiller.fit(callbacks=[health])
        >>> health.findings
    """

    def __init__(
        self,
        every: int = 1,
        images: int = 256,
        action: str = "warn",
        patience: int = 3,
        *,
        diversity: float = 0.25,
        duplicates: float = 0.5,
        entropy: float = 0.3,
        explosion: float = 10.0,
        fall: float = 0.2,
    ) -> None:
        super().__init__()
        self.every = check_int("every", every)
        self.images = check_int("images", images, least=2)
        self.patience = check_int("patience", patience)
        self.action = check_choice("action", action, _ACTIONS)
        self.diversity = check_number("diversity", diversity, least=0, most=1)
        self.duplicates = check_number("duplicates", duplicates, least=0, most=1)
        self.entropy = check_number("entropy", entropy, least=0, most=1)
        self.fall = check_number("fall", fall, least=0, most=1)
        self.explosion = check_number("explosion", explosion, above=1)
        self._forget()

    def _forget(self):
        self.findings: list[dict] = []
        self.last_healthy_epoch: int | None = None
        self.roll_backs = 0
        self._present: set[str] = set()
        self._sound_rows: list[dict] = []
        self._last_row: dict | None = None
        self._kept: Snapshot | None = None

    @property
    def healthy(self) -> bool:
        return not self._present

    def review(self, rows: Sequence[dict]) -> list[dict]:
        """Checks a whole run by its logs, such as a run that was interrupted and resumed.

        Args:
            rows: the logs of each epoch, with their "epoch"; those without the metrics are ignored.

        Returns:
            The `findings` that there would have been without any action.
        """
        other = copy.copy(self)
        other._forget()
        for row in rows:
            if "health_agreement" in row:
                other._examine(row)
        other._examine_end()
        return other.findings

    def on_train_begin(self, logs=None):
        check_distillation(self.model, self)
        if not self.model.sources:
            raise TypeError(
                "Health checks the inputs that a model makes itself, as tfkd.DataFreeDistiller does. "
                f"Received: a model of type {type(self.model)}. Remove the callback when training on data."
            )
        if len(self.model.students) != 1:
            raise TypeError(
                "Health compares one student with its teacher, but this scheme has "
                f"{len(self.model.students)}. Train a single student, or use tfkd.callbacks.KeepLastGood."
            )
        self._forget()
        self._probes = self.model.input_form.probes(self.images, _PROBE_SEED)

    def on_epoch_begin(self, epoch, logs=None):
        if self.last_healthy_epoch is None:
            self._keep(epoch - 1)

    def on_epoch_end(self, epoch, logs=None):
        if (epoch > 0 and (epoch + 1) % self.every) or in_warm_up(self.model):
            return
        logs = {} if logs is None else logs
        logs.update(self._measure())
        new = self._examine({**logs, "epoch": epoch})
        if self.healthy:
            self._keep(epoch)
        elif self.action == "roll_back":
            self._roll_back(new)
        elif self.action == "stop":
            self.model.stop_training = True
            self._warn(new, "Training stops.")
        else:
            self._warn(new)

    def on_train_end(self, logs=None):
        self._warn(self._examine_end())

    def _measure(self):
        distiller = self.model
        # Images from memory must not be repeated.
        n = max(2, distiller.sources[0].available(self.images))
        with distiller.preserving_state():
            synthetic = distiller.synthesize(n)
        return vital_signs(
            distiller.teacher,
            distiller.students[0],
            synthetic,
            self._probes,
            distiller.recipe.batch_size,
            distiller.task,
        )

    def _examine(self, row):
        """Checks an epoch by its logs and those before; returns new findings."""
        self._last_row = row
        found = self._judge(row)
        new = [
            {"epoch": row["epoch"], "kind": kind, "message": message}
            for kind, message in found.items()
            if kind not in self._present
        ]
        self.findings += new
        self._present = set(found)
        if not _COLLAPSES & found.keys():
            self._sound_rows.append(row)
        return new

    def _examine_end(self):
        """Checks the result of the run; returns new findings."""
        row = self._last_row
        if row is None or not row["health_agreement"] <= row["health_guess"] < 1:
            return []
        message = (
            f"Student and teacher agree on {row['health_agreement']:.0%} of fixed procedural inputs; the "
            f"best constant prediction would agree on {row['health_guess']:.0%}. So far the student has "
            "learned almost nothing; a longer run or another recipe usually helps."
        )
        new = {"epoch": row["epoch"], "kind": "no_better_than_guessing", "message": message}
        self.findings.append(new)
        self._present.add(new["kind"])
        return [new]

    def _judge(self, row):
        """The kinds and messages of all findings in an epoch."""
        figures = {name: v for name, v in row.items() if name == "loss" or name.startswith("health_")}
        lost = [name for name, value in figures.items() if not math.isfinite(value)]
        if lost:
            return {
                "not_finite": f"No longer finite: {', '.join(f'{n} ({figures[n]})' for n in lost)}; a "
                "lower learning rate usually helps."
            }
        return {**self._judge_images(row), **self._judge_student(row)}

    def _judge_images(self, row):
        found = {}
        copies, entropy = row["health_duplicates"], row.get("health_class_entropy", 1.0)
        if copies > self.duplicates:
            found["duplicates"] = (
                f"{copies:.0%} of the synthetic inputs have another one at a distance below {NEAR}, so "
                f"there is little to learn from them, however low the loss; {self._remedy()}."
            )
        if self._sound_rows:
            left = row["health_diversity"] / (self._sound_rows[0]["health_diversity"] or 1.0)
            if left < self.diversity:
                found["diversity_lost"] = (
                    f"The synthetic inputs differ by {row['health_diversity']:.3g}, only "
                    f"{left:.0%} of their first diversity; {self._remedy()}."
                )
        if entropy < self.entropy:
            found["few_classes"] = (
                "The teacher predicts only a few of its classes for the synthetic inputs: their entropy is "
                f"{entropy:.2f}, where 1 is an even mix; {self._remedy()}."
            )
        return found

    def _judge_student(self, row):
        found = {}
        if row["health_student_spread"] < _LEAST_SPREAD:
            found["student_constant"] = (
                "The student gives the same output for all images: its units are dead, or its batch "
                "statistics do not match its inputs; a lower learning rate of the student usually helps."
            )
        if not self._sound_rows:
            return found
        best = min(sound.get("loss", math.inf) for sound in self._sound_rows)
        loss = row.get("loss", best)
        if best > 0 and loss > self.explosion * best:
            found["loss_explosion"] = (
                f"The loss is {loss:.3g}, {loss / best:.0f} times its best, {best:.3g}; a lower learning "
                "rate of the student, or of a trained generator, usually helps."
            )
        agreement = row["health_agreement"]
        best = max(sound["health_agreement"] for sound in self._sound_rows)
        if agreement < best - self.fall:
            found["agreement_fall"] = (
                f"Student and teacher agree on {agreement:.0%} of fixed procedural inputs, down from "
                f"{best:.0%} at best: the student forgets. A replay memory (`memory`) or a lower learning "
                "rate of the student usually helps."
            )
        return found

    def _remedy(self):
        return self.model.sources[0].remedy

    def _warn(self, findings, consequence=""):
        for finding in findings:
            message = f"Epoch {finding['epoch'] + 1}: {finding['message']} {consequence}".rstrip()
            warnings.warn(message, HealthWarning, stacklevel=2)

    def _keep(self, epoch):
        self.last_healthy_epoch = epoch
        if self.action == "roll_back":
            self._kept = Snapshot(self._learned())

    def _roll_back(self, findings):
        # `on_epoch_begin` has kept at least the start of training.
        assert self._kept is not None and self.last_healthy_epoch is not None
        self._kept.restore()
        self._present = set()
        self.roll_backs += 1
        consequence = (
            f"The student's weights from the end of epoch {self.last_healthy_epoch + 1} are restored"
        )
        if self.roll_backs >= self.patience:
            self.model.stop_training = True
            consequence += f", and training stops after {self.roll_backs} roll-backs"
        self._warn(findings, consequence + ".")

    def _learned(self):
        """The state that a roll-back restores: weights and optimizer moments, but no counters."""
        distiller = self.model
        optimizers = [distiller.optimizer, *(o for source in distiller.sources for o in source.optimizers)]
        parts = [*distiller.students, *distiller.sources]
        values = [w for part in parts for w in part.weights]
        values += [v for optimizer in optimizers for v in optimizer.variables]
        # Integers count steps and batches.
        return [v for v in values if v.name != "learning_rate" and keras.backend.is_float_dtype(v.dtype)]
