"""DOT: separate momenta for the labels' loss and the distillation losses."""

from collections.abc import Sequence

import keras
from keras import ops
from typing_extensions import Self

from tfkd._core.checks import check_number
from tfkd.optimizers._group import OptimizerGroup


@keras.saving.register_keras_serializable(package="tfkd")
class DOT(OptimizerGroup):
    """DOT, the Distillation-Oriented Trainer: SGD with a larger momentum for the distillation losses.

    Each term has its own momentum, `momentum - delta` for the labels' loss (with regularization) and
    `momentum + delta` for the distillation losses; their updates are added. A step needs a second backward
    pass. For `tfkd.Distiller`; float16 networks need another optimizer.

    Args:
        optimizer: SGD with a momentum; its learning rate, weight decay and Nesterov setting apply to both.
        delta: how far the momenta differ from the given one, at least 0.
        name: name of the optimizer.

    Raises:
        TypeError: if the optimizer is not `keras.optimizers.SGD`.
        ValueError: if a momentum would not be in [0, 1).

    Example:
        >>> optimizer = tfkd.optimizers.DOT(keras.optimizers.SGD(0.05, momentum=0.9))
        >>> distiller.compile(optimizer, loss=labels_loss)

    Reference:
        Zhao et al., "DOT: A Distillation-Oriented Trainer", 2023: delta 0.075, 0.09 on ImageNet.
        Deviations: weight decay is Keras's, decoupled from the momenta. Trained parts of the losses, which
        get gradients from one term only, use its momentum; the authors' code uses the mean of both.
    """

    def __init__(self, optimizer: keras.optimizers.SGD, delta: float = 0.075, name: str = "dot") -> None:
        if not isinstance(optimizer, keras.optimizers.SGD):
            raise TypeError(
                "`optimizer` must be a keras.optimizers.SGD, since its momentum is split. Received: "
                f"{optimizer!r} of type {type(optimizer)}."
            )
        check_number("delta", delta, least=0)
        low, high = optimizer.momentum - delta, optimizer.momentum + delta
        if not 0 <= low <= high < 1:
            raise ValueError(
                f"`delta` must leave both momenta in [0, 1). Received: delta={delta!r} and a momentum of "
                f"{optimizer.momentum!r}. Give the SGD a momentum such as 0.9."
            )
        config = optimizer.get_config()
        of_labels = keras.optimizers.SGD.from_config({**config, "momentum": low})
        # Weights decay once per step.
        of_teacher = {**config, "momentum": high, "weight_decay": None, "name": f"{config['name']}_teacher"}
        super().__init__([of_labels, keras.optimizers.SGD.from_config(of_teacher)], name)
        self.optimizer, self.delta = optimizer, delta

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates both momenta of each variable."""
        super().build([variables, variables])

    def apply_terms(self, of_labels: Sequence, of_teacher: Sequence, variables: Sequence) -> None:
        """Applies one update.

        Args:
            of_labels: gradients of the labels' loss; None where it does not depend on a variable.
            of_teacher: gradients of the distillation losses.
            variables: the trained variables.
        """
        # Variables without a gradient from the labels' loss still decay.
        pairs = zip(of_labels, of_teacher, strict=True)
        of_labels = [
            ops.zeros_like(variable) if own is None and other is not None else own
            for (own, other), variable in zip(pairs, variables, strict=True)
        ]
        for each, gradients in zip(self.members, (of_labels, of_teacher), strict=True):
            known = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
            if known:
                each.apply_gradients(known)

    def apply(self, grads, trainable_variables=None) -> None:
        raise TypeError(
            "tfkd.optimizers.DOT needs separate gradients of labels and teacher, as tfkd.Distiller.fit "
            "gives them when training on data. Use another optimizer here, such as the SGD it wraps."
        )

    def get_config(self) -> dict:
        inner = keras.saving.serialize_keras_object(self.optimizer)
        return {"name": self.name, "optimizer": inner, "delta": self.delta}

    @classmethod
    def from_config(cls, config: dict, custom_objects=None) -> Self:
        config = dict(config)
        config["optimizer"] = keras.saving.deserialize_keras_object(
            config["optimizer"], custom_objects=custom_objects
        )
        return cls(**config)
