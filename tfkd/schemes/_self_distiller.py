"""SelfDistiller: a network whose deep layers teach its shallow ones."""

from collections.abc import Sequence
from typing import Any

import keras
from typing_extensions import Self

from tfkd._core.exit_graphs import check_exits, exit_names, exit_tensors
from tfkd.distilling import Distiller
from tfkd.distilling._arguments import as_losses, as_weights
from tfkd.distilling._task_losses import is_of_independent_labels
from tfkd.losses import KnowledgeLoss
from tfkd.schemes._exit_methods import ExitMethod, Lesson, as_method
from tfkd.schemes._exit_targets import mean_logits
from tfkd.schemes._exits import attach_exits, check_not_bridged, drop_exits
from tfkd.schemes._named_metrics import NamedMetrics
from tfkd.tasks import Classification, marked_task

_ENSEMBLE = "ensemble"


@keras.saving.register_keras_serializable(package="tfkd")
class SelfDistiller(Distiller):
    """Trains a classifier with exits at inner layers, which learn from labels and from deeper ones.

    Total loss: `student_loss_weight * sum_i exit_weights_i * CE_i + (1 - student_loss_weight) * sum of
    weighted losses`, plus regularization; CE is the loss given to `compile`, which, like metrics, takes the
    labels of one output. There is no teacher, and the network runs once per step. `predict`, `call`,
    `export` and `.student` use the plain network without exits; `.network` is the one with exits, for
    `early_exit`. Metrics keep their own names for the plain output, and are also logged for every other
    exit and for the mean of all exits' logits: `accuracy`, `exit_1_accuracy`, `ensemble_accuracy`.

    Without data the scheme makes little sense, since the last exit learns from labels or a trained
    network's outputs. Distil from a teacher with `tfkd.datafree` first, and self-distil on its inputs and
    outputs if you want early exits.

    Args:
        model: a functional or built Sequential classifier that returns logits; with `exits=None`, one that
            already has exits, as from `attach_exits`.
        exits: paths of the layers to attach exits to.
        method: "multi_exit", "byot", "ensemble" or "imta", or an object with other hyperparameters:
            `MultiExit`, `BeYourOwnTeacher`, `ExitEnsemble`, `IMTA`, or your own `ExitMethod`; None for
            `losses` alone.
        losses: further losses between layers of the network, usually from `tfkd.losses.within`. Their taps
            are in the network: `"exit_1"`, `"exit_1/features"`, any layer's path.
        loss_weights: a weight for each of `losses`; None for 1 each.
        student_loss_weight: weight of the labels' loss, in [0, 1]; None for the method's, or 0.5.
        exit_weights: weights of the labels' loss for each exit, including the last; None for the method's,
            or 1 each.
        heads: as for `attach_exits`.
        gradient_equilibrium: whether to divide the gradients of layers shared by several exits by the
            number of these exits (IMTA).
        name: name of the model.
        **kwargs: passed to `keras.Model`.

    Raises:
        TypeError: if `method` or a loss has the wrong type.
        ValueError: for a model that exits cannot be attached to, unknown methods and taps, or weights out
            of range.

    Example:
        >>> network = tfkd.students.resnet(20)
        >>> exits = ["stage1_block3_relu2", "stage2_block3_relu2"]
        >>> distiller = tfkd.schemes.SelfDistiller(network, exits, method="byot")
        >>> distiller.compile("adam", labels_loss, metrics=["accuracy"])
        >>> distiller.fit(x, y, epochs=10, validation_data=(x_val, y_val))
        >>> distiller.student.save("student.keras")

    Reference:
        Zhang et al., "Be Your Own Teacher", 2019; Phuong, Lampert, "Distillation-Based Training for
        Multi-Exit Architectures", 2019; Li et al., "Improved Techniques for Training Adaptive Deep
        Networks", 2019, whose gradient equilibrium rescales gradients where exits branch off. This is
        equivalent to dividing those of a layer by the number of exits after it. Here the gradients of
        regularization losses are divided, too.
    """

    network: keras.Model

    def __init__(
        self,
        model: keras.Model,
        exits: Sequence[str] | None = None,
        method: str | ExitMethod | None = "multi_exit",
        losses: KnowledgeLoss | Sequence[KnowledgeLoss] = (),
        loss_weights: Sequence[float] | str | None = None,
        student_loss_weight: float | None = None,
        exit_weights: Sequence[float] | None = None,
        heads: Sequence[keras.Layer] | None = None,
        gradient_equilibrium: bool = False,
        name: str = "self_distiller",
        **kwargs,
    ) -> None:
        network = model if exits is None else attach_exits(model, exits, heads)
        check_not_bridged(network)
        check_exits(network)
        lesson = _lesson(network, method)
        more = as_losses(losses, 1 if lesson.losses else 0)
        share = lesson.student_loss_weight if student_loss_weight is None else student_loss_weight
        weights = [*lesson.weights, *as_weights(loss_weights, more)]
        super().__init__(None, network, [*lesson.losses, *more], weights, share, name, **kwargs)
        self.exit_weights = _checked_weights(
            lesson.exit_weights if exit_weights is None else exit_weights, network
        )
        self.gradient_equilibrium = gradient_equilibrium
        self._named_metrics = NamedMetrics([*exit_names(network)[:-1], _ENSEMBLE])

    def __dir__(self):
        # Keras saves everything it finds here; the student is part of the network.
        return [name for name in super().__dir__() if name not in ("student", "_student")]

    @property
    def student(self) -> keras.Model:
        """The plain network, which shares its weights with the one with exits."""
        return self._student

    @student.setter
    def student(self, network: keras.Model) -> None:
        self.network = network
        object.__setattr__(self, "_student", drop_exits(network))

    @property
    def _network(self):
        return self.network

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | str | None = "adam",
        loss: Any = None,
        metrics: Any = None,
        jit_compile: bool | str = "auto",
        evaluate_teacher: bool = True,
        weighted_metrics: Any = None,
        **kwargs,
    ) -> None:
        """Configures training as `tfkd.Distiller.compile` does, with loss and metrics of one output."""
        if keras.tree.is_nested(loss):
            raise ValueError(
                f"`loss` must be a single loss, which is applied to each exit. Received: {loss!r}."
            )
        for argument, given in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
            if isinstance(given, dict) or any(map(keras.tree.is_nested, given or ())):
                raise ValueError(
                    f"`{argument}` must be for one output, such as ['accuracy']: all exits get copies. "
                    f"Received: {given!r}."
                )
        if is_of_independent_labels(loss):
            _refuse_softmaxes(
                self.distillation_losses,
                "`loss` is a binary cross-entropy, so each output is an independent label",
            )
        self._named_metrics.compile(metrics, weighted_metrics)
        super().compile(
            optimizer,
            loss,
            metrics,
            jit_compile,
            evaluate_teacher,
            weighted_metrics=weighted_metrics,
            **kwargs,
        )

    def labels_loss(self, y, y_pred, sample_weight):
        """The weighted sum of all exits' losses; for a single output, only its own."""
        if not isinstance(y_pred, list | tuple):
            return super().labels_loss(y, y_pred, sample_weight)
        each = [super(SelfDistiller, self).labels_loss(y, output, sample_weight) for output in y_pred]
        return sum(weight * loss for weight, loss in zip(self.exit_weights, each, strict=True))

    def compute_metrics(self, x, y, y_pred, sample_weight=None) -> dict:
        names = exit_names(self.network)
        # Keras builds metrics from the plain output.
        outputs = y_pred if isinstance(y_pred, list | tuple) else [y_pred] * len(names)
        every = {**dict(zip(names, outputs, strict=True)), _ENSEMBLE: mean_logits(outputs)}
        if y is not None:
            self._named_metrics.update_state(y, every, sample_weight)
        return super().compute_metrics(x, y, outputs[-1], sample_weight)

    def test_step(self, data) -> dict:
        logs, (_, y, _) = super().test_step(data), keras.utils.unpack_x_y_sample_weight(data)
        without = self._named_metrics.result() if y is None else ()
        return {name: value for name, value in logs.items() if name not in without}

    def settled(self, gradients, variables) -> list:
        """The gradients for the optimizer, after gradient equilibrium if enabled."""
        if not self.gradient_equilibrium:
            return gradients
        exits = self._exits_behind()
        pairs = zip(gradients, variables, strict=True)
        return [g if g is None else g / exits.get(id(v), 1) for g, v in pairs]

    def _exits_behind(self):
        """The number of exits after each of the plain network's variables, by identity."""
        *features, _ = exit_tensors(self.network)
        stretches = [keras.Model(self.network.inputs, each) for each in features]
        counts = {id(variable): 1 for variable in self.student.trainable_variables}
        for variable in (v for stretch in stretches for v in stretch.trainable_variables):
            counts[id(variable)] += 1
        return counts

    def constants(self) -> tuple:
        return (*super().constants(), tuple(self.exit_weights), self.gradient_equilibrium)

    def get_config(self) -> dict:
        config = super().get_config()
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.network),
            "method": None,
            "losses": config["distillation_losses"],
            "loss_weights": config["distillation_loss_weights"],
            "student_loss_weight": self.student_loss_weight,
            "exit_weights": list(self.exit_weights),
            "gradient_equilibrium": self.gradient_equilibrium,
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        restored = {key: keras.saving.deserialize_keras_object(config[key]) for key in ("model", "losses")}
        return cls(**{**config, **restored})


def _lesson(network, method):
    """The losses of a network for a method, or without one."""
    if method is None:
        return Lesson([], [], 0.5, [1.0] * len(network.outputs))
    method, task = as_method(method), marked_task(network)
    if task is not None and not isinstance(task, Classification):
        raise ValueError(
            f"`method`: {type(method).__name__} compares softmaxes, but {network.name!r} has the task "
            f"{task.name!r}. Use method=None and losses=[within(...)] with suitable losses."
        )
    lesson = method.lesson(network)
    if network.outputs[-1].shape[-1] == 1:
        _refuse_softmaxes(lesson.losses, f"{network.name!r} has one output, and its softmax is always 1")
    return lesson


def _refuse_softmaxes(losses, seen):
    """Raises ValueError if a loss compares softmaxes; `seen` is the reason."""
    for loss in losses:
        if loss.over_classes:
            raise ValueError(
                f"`method` or `losses`: {loss.title} compares softmaxes, and {seen}. Use method=None and "
                "losses=[within(tfkd.losses.BernoulliTargets(teacher_layer=last_exit, "
                "student_layer=exit))] or losses of inner layers."
            )


def _checked_weights(weights, network):
    weights = [float(weight) for weight in weights]
    if len(weights) != len(network.outputs) or not all(0 <= weight < float("inf") for weight in weights):
        raise ValueError(
            f"`exit_weights` must be one number of at least 0 for each of the {len(network.outputs)} "
            f"exits, including the last. Received: {weights!r}."
        )
    return weights
