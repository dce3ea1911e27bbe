"""Methods of self-distillation between exits, with published hyperparameters."""

import dataclasses
from abc import ABC, abstractmethod
from typing import NamedTuple

import keras

from tfkd import taps
from tfkd._core.checks import check_number
from tfkd._core.exit_graphs import exit_names
from tfkd._core.names import lookup
from tfkd.losses import Hint, KnowledgeLoss, SoftTargets, within
from tfkd.losses._base import check_temperature
from tfkd.schemes._exit_targets import EnsembleTargets, LastExitTargets


class Lesson(NamedTuple):
    """The losses of a network with exits: `labels * sum_i w_i CE_i + (1 - labels) * sum_j v_j L_j`.

    Args:
        losses: the knowledge losses L.
        weights: their weights v.
        student_loss_weight: the weight of the labels.
        exit_weights: the weights w of the labels' loss of each exit, from shallow to deep.
    """

    losses: list[KnowledgeLoss]
    weights: list[float]
    student_loss_weight: float
    exit_weights: list[float]


class ExitMethod(ABC):
    """A method of self-distillation; `lesson` gives its losses for a network.

    Example:
        >>> class Plain(ExitMethod):  # a fixed soft target for the first exit
        ...     def lesson(self, network):
        ...         loss = within(SoftTargets(4.0, teacher_layer="logits", student_layer="exit_1"))
        ...         return Lesson([loss], [1.0], 0.5, [1.0] * len(network.outputs))
    """

    @abstractmethod
    def lesson(self, network: keras.Model) -> Lesson:
        """The losses for a network with exits."""


@dataclasses.dataclass(frozen=True)
class MultiExit(ExitMethod):
    """Multi-exit distillation: the last exit is the target of the others, at an increasing temperature.

    `(1 - c) CE_last + sum_i [(1 - c) CE_i + c T^2 KL(last || i)]`.

    Args:
        share: c, the share of distillation, above 0 and below 1.
        temperature: initial T, above 0.
        growth: factor of T after each step in which the last exit is confident; 1 for a fixed temperature,
            published with T = 4.
        confidence: mean largest softened probability of the last exit up to which T grows.

    Raises:
        ValueError: if a number is out of its range.

    Reference:
        Phuong, Lampert, "Distillation-Based Training for Multi-Exit Architectures", 2019. The divergence
        replaces the paper's cross-entropy, which has the same gradient. The authors' code multiplies
        everything by 10 / exits, which is left to the learning rate here.
    """

    share: float = 0.5
    temperature: float = 1.0
    growth: float = 1.05
    confidence: float = 0.5

    def __post_init__(self) -> None:
        _check_share("share", self.share)

    def lesson(self, network: keras.Model) -> Lesson:
        *exits, last = exit_names(network)
        loss = LastExitTargets(last, exits, self.temperature, self.growth, self.confidence)
        return Lesson([loss], [1.0], 1 - self.share, [1.0] * len(network.outputs))


@dataclasses.dataclass(frozen=True)
class BeYourOwnTeacher(ExitMethod):
    """Be your own teacher (BYOT): soft targets and features of the deepest exit for the others.

    `(1 - a) sum_i CE_i + a T^2 sum_i KL(last || i) + b sum_i |features_i - features_last|^2`.

    Args:
        alpha: a, the share of soft targets, above 0 and below 1.
        temperature: T, above 0.
        feature_weight: b, at least 0. Squares are summed over features and averaged over examples.

    Raises:
        ValueError: if a number is out of its range, or a head has no layer `features` to compare with the
            input of the last layer.

    Reference:
        Zhang et al., "Be Your Own Teacher", 2019. The divergence replaces the paper's cross-entropy, which
        has the same gradient. The authors' code has b = 1e-6 for the sum over a batch of 128 examples,
        which equals the default here, 1.28e-4, and ignores features that are 0 in both. If an exit has a
        different number of features, a trained linear layer maps them to the last exit's.
    """

    alpha: float = 0.1
    temperature: float = 3.0
    feature_weight: float = 1.28e-4

    def __post_init__(self) -> None:
        _check_share("alpha", self.alpha)
        check_temperature(self.temperature)
        check_number("feature_weight", self.feature_weight, least=0)

    def lesson(self, network: keras.Model) -> Lesson:
        *exits, last = exit_names(network)
        losses = [_soft_targets(self.temperature, last, each) for each in exits]
        weights = [1.0] * len(exits)
        if self.feature_weight:
            losses += [_features(network, last, each) for each in exits]
            # Hints are means over the features.
            features = taps.shape(network, f"{last}:input")[-1]
            weights += [self.feature_weight * features / self.alpha] * len(exits)
        return Lesson(losses, weights, 1 - self.alpha, [1.0] * len(network.outputs))


@dataclasses.dataclass(frozen=True)
class ExitEnsemble(ExitMethod):
    """Exit-ensemble distillation: the mean of all exits' logits is the target of each, including the last.

    `(1 - a) sum_i CE_i + a T^2 sum_i KL(mean || i)`.

    Args:
        alpha: a, the share of distillation, above 0 and below 1.
        temperature: T, above 0.

    Raises:
        ValueError: if a number is out of its range.

    Reference:
        Lee, Lee, "Students are the Best Teacher: Exit-Ensemble Distillation with Multi-Exits", 2021. The
        hyperparameters are from `BeYourOwnTeacher`; the paper's own were not checked.
    """

    alpha: float = 0.1
    temperature: float = 3.0

    def __post_init__(self) -> None:
        _check_share("alpha", self.alpha)
        check_temperature(self.temperature)

    def lesson(self, network: keras.Model) -> Lesson:
        loss = EnsembleTargets(exit_names(network), self.temperature)
        return Lesson([loss], [1.0], 1 - self.alpha, [1.0] * len(network.outputs))


@dataclasses.dataclass(frozen=True)
class IMTA(ExitMethod):
    """Inline subnetwork collaboration of IMTA: labels for the last exit, soft targets for the others.

    `CE_last + sum_i [(1 - g) CE_i + g T^2 KL(last || i) / classes]`.

    Args:
        gamma: g, above 0 and below 1.
        temperature: T, above 0.

    Raises:
        ValueError: if a number is out of its range.

    Reference:
        Li et al., "Improved Techniques for Training Adaptive Deep Networks", 2019. As in the authors' code,
        the divergence is a mean over classes, and g belongs to that. Their gradient equilibrium is an
        option of `SelfDistiller`.
    """

    gamma: float = 0.9
    temperature: float = 3.0

    def __post_init__(self) -> None:
        _check_share("gamma", self.gamma)
        check_temperature(self.temperature)

    def lesson(self, network: keras.Model) -> Lesson:
        *exits, last = exit_names(network)
        losses = [_soft_targets(self.temperature, last, each) for each in exits]
        weights = [1 / network.outputs[-1].shape[-1]] * len(exits)
        labels = 1 - self.gamma
        return Lesson(losses, weights, labels, [*[1.0] * len(exits), 1 / labels])


METHODS: dict[str, type[ExitMethod]] = {
    "multi_exit": MultiExit,
    "byot": BeYourOwnTeacher,
    "ensemble": ExitEnsemble,
    "imta": IMTA,
}


def as_method(method: str | ExitMethod) -> ExitMethod:
    """A method given by name or as an object.

    Raises:
        TypeError: if it is neither.
        ValueError: for an unknown name, with close matches.
    """
    if isinstance(method, str):
        return lookup(METHODS, method, "method")()
    if not isinstance(method, ExitMethod):
        raise TypeError(
            f"`method` must be one of {', '.join(map(repr, METHODS))}, a tfkd.schemes.ExitMethod or None. "
            f"Received: {method!r} of type {type(method)}."
        )
    return method


def _check_share(name, value):
    check_number(name, value, above=0, below=1)


def _soft_targets(temperature, last, learns):
    return within(
        SoftTargets(temperature, teacher_layer=last, student_layer=learns, name=f"{learns}_targets")
    )


def _features(network, last, learns):
    """The distance of an exit's features from the input of the last layer."""
    path, known = f"{learns}/features", taps.named_layers(network)
    own, deep = path in known and taps.shape(network, path), taps.shape(network, f"{last}:input")
    if not own or len(own) != len(deep):
        raise ValueError(
            f"`method`: BeYourOwnTeacher compares the layer {path!r} with the input of {last!r}, {deep}. "
            f"Received: {own or 'no such layer'}. Give the head a layer 'features' with {len(deep) - 1} "
            "axes, use the heads of attach_exits, or BeYourOwnTeacher(feature_weight=0)."
        )
    return within(Hint(f"{last}:input", path, projector=own != deep, name=f"{learns}_features"))
