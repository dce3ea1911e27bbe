"""Health: notices without data when a data-free run goes wrong."""

import copy
import math
import warnings
from collections.abc import Sequence

import keras

from tfkd._core.checks import check_choice, check_int, check_number
from tfkd._core.snapshots import Snapshot
from tfkd.datafree.watching._diagnostics import NEAR, in_warm_up, vital_signs
from tfkd.distilling._protocol import check_distillation

# Not the seed of the images that teachers are tried on.
_PROBE_SEED = 1
_ACTIONS = ("warn", "stop", "roll_back")
# After these an epoch's figures, such as a loss of next to nothing, are no measure for others.
_COLLAPSES = {"not_finite", "duplicates", "diversity_lost", "student_constant"}
# A student just initialized is above this; one whose units are all dead, or as good as that, is below.
_LEAST_SPREAD = 1e-3


class HealthWarning(UserWarning):
    """A data-free run that goes wrong."""


class Health(keras.callbacks.Callback):
    """Measures a data-free run as it goes and warns, stops or goes back when it goes wrong.

    A generator can collapse while the loss falls to 0: nothing is easier to copy than one image. So the
    first epoch, and each one that completes `every` epochs, ends with a look at new synthetic images, and
    at procedural ones that stay the same throughout; training goes on as it would have. The figures, those
    of `tfkd.datafree.vital_signs`, join the epoch's logs, so callbacks that are to see them come later in
    the list.

    Findings are of these kinds: `not_finite` (loss or figures), `duplicates`, `diversity_lost`,
    `student_constant`, `few_classes`, `loss_explosion`, `agreement_fall`, and when training ends
    `no_better_than_guessing`. What they are compared with, the first diversity and the best loss and
    agreement, leaves out epochs of the first four kinds.

    Args:
        every: epochs from one look to the next.
        images: how many images of either kind are looked at, at least 2.
        action: "warn" warns once for each kind of finding until it clears; "stop" warns and stops;
            "roll_back" warns and returns student, generator (or what inversion starts from) and the moments
            of their optimizers to the last healthy epoch, or the start of training. Learning rate, memory
            and random numbers go on.
        patience: roll-backs after which training stops.
        diversity: share of the first diversity that must be left, in [0, 1]; 0 for any.
        duplicates: maximum tolerated fraction of near-duplicates, in [0, 1]; 1 for any.
        entropy: class entropy that must be reached, in [0, 1]; 0 for any.
        explosion: maximum tolerated ratio of loss to best loss, above 1; not judged where the best is not
            positive.
        fall: how far agreement on the procedural images may be below its best, in [0, 1]; 1 for any.

    Attributes:
        findings: dictionaries with the `epoch` (from 0) in which something was found, the `kind`, and the
            `message`; what persists is listed once.
        healthy: whether nothing is wrong with the student and the generator as they stand.
        last_healthy_epoch: the last epoch without a finding; the one before the first for the start of
            training, None before it.
        roll_backs: how many there were.

    Raises:
        ValueError: if an argument is out of its range.
        TypeError: when training begins, if the model does not make its inputs, or has several students.

    Warns:
        HealthWarning: as `action` says.

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
        """Judges a whole run by its logs, as one that was interrupted and resumed.

        Args:
            rows: the logs of each epoch, with their "epoch"; those without these figures are passed over.

        Returns:
            What `findings` would hold had no action been taken.
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
                "Health looks at inputs that a model makes itself, as tfkd.DataFreeDistiller does. "
                f"Received: a model of type {type(self.model)}. Leave the callback out where there is data."
            )
        if len(self.model.students) != 1:
            raise TypeError(
                "Health compares one student with its teacher, and this scheme has "
                f"{len(self.model.students)}. Watch a student alone, or use tfkd.callbacks.KeepLastGood."
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
        # What comes from memory must not come twice.
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
        """Judges an epoch by its logs and those of the ones before; returns what is new."""
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
        """Judges what came of the run; returns what is new."""
        row = self._last_row
        if row is None or not row["health_agreement"] <= row["health_guess"] < 1:
            return []
        message = (
            f"Student and teacher agree on {row['health_agreement']:.0%} of fixed procedural inputs, where "
            f"the best constant answer would agree on {row['health_guess']:.0%}: so far the student has "
            "learned next to nothing; a longer run or another recipe usually helps."
        )
        new = {"epoch": row["epoch"], "kind": "no_better_than_guessing", "message": message}
        self.findings.append(new)
        self._present.add(new["kind"])
        return [new]

    def _judge(self, row):
        """Kinds and messages of all that is wrong in an epoch."""
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
                f"{copies:.0%} of the synthetic inputs have another at a distance below {NEAR} from "
                f"them, so there is little to learn from them however low the loss; {self._remedy()}."
            )
        if self._sound_rows:
            left = row["health_diversity"] / (self._sound_rows[0]["health_diversity"] or 1.0)
            if left < self.diversity:
                found["diversity_lost"] = (
                    f"The synthetic inputs differ by {row['health_diversity']:.3g}, "
                    f"{left:.0%} of what they did at first; {self._remedy()}."
                )
        if entropy < self.entropy:
            found["few_classes"] = (
                "The teacher sees hardly any of its classes in the synthetic inputs: their entropy is "
                f"{entropy:.2f} where 1 is an even mix; {self._remedy()}."
            )
        return found

    def _judge_student(self, row):
        found = {}
        if row["health_student_spread"] < _LEAST_SPREAD:
            found["student_constant"] = (
                "The student answers all images alike: its units are dead, or its batch statistics far "
                "from what it sees; a lower learning rate of the student usually helps."
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
                f"Student and teacher agree on {agreement:.0%} of fixed procedural inputs, after "
                f"{best:.0%} at best: the student forgets; remembered inputs (`memory`) or a lower "
                "learning rate of the student usually help."
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
        # `on_epoch_begin` kept the start of training at least.
        assert self._kept is not None and self.last_healthy_epoch is not None
        self._kept.restore()
        self._present = set()
        self.roll_backs += 1
        consequence = (
            f"The student has its weights from the end of epoch {self.last_healthy_epoch + 1} again"
        )
        if self.roll_backs >= self.patience:
            self.model.stop_training = True
            consequence += f", and training stops after {self.roll_backs} roll-backs"
        self._warn(findings, consequence + ".")

    def _learned(self):
        """What a roll-back puts back: weights, and the optimizers' moments, but no clock."""
        distiller = self.model
        optimizers = [distiller.optimizer, *(o for source in distiller.sources for o in source.optimizers)]
        parts = [*distiller.students, *distiller.sources]
        values = [w for part in parts for w in part.weights]
        values += [v for optimizer in optimizers for v in optimizer.variables]
        # Whole numbers count steps and batches.
        return [v for v in values if v.name != "learning_rate" and keras.backend.is_float_dtype(v.dtype)]
