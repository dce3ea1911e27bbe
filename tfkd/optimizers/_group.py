"""OptimizerGroup: several optimizers that look like one to callbacks and files."""

from collections.abc import Sequence

import keras
from keras import ops
from typing_extensions import Self

from tfkd._core.keras_internals import trained_by


@keras.saving.register_keras_serializable(package="tfkd")
class OptimizerGroup(keras.optimizers.Optimizer):
    """The optimizers of several networks trained by one `fit`.

    Setting the learning rate, as `LearningRateScheduler` and `ReduceLROnPlateau` do, sets the first
    optimizer's rate; the others scale in proportion to their initial rates. The training step calls each of
    `members` itself.

    Args:
        optimizers: Keras optimizers, at least one.
        name: name of the group.

    Attributes:
        members: the optimizers, in order. Not called `optimizers`, because Keras callbacks set the rate of
            each of an optimizer's `optimizers` separately, regardless of proportions.

    Raises:
        ValueError: if `optimizers` is empty.

    Example:
        >>> group = OptimizerGroup([keras.optimizers.Adam(1e-3), keras.optimizers.Adam(2e-3)])
        >>> group.learning_rate = 1e-4  # the second's is now 2e-4
    """

    def __init__(
        self, optimizers: Sequence[keras.optimizers.Optimizer], name: str = "optimizer_group"
    ) -> None:
        super().__init__(learning_rate=0.0, name=name)
        self.members = [keras.optimizers.get(each) for each in optimizers]
        if not self.members:
            raise ValueError("`optimizers` is empty. Give at least one.")
        rates = [float(ops.convert_to_numpy(each.learning_rate)) for each in self.members]
        self._proportions = [rate / rates[0] if rates[0] else 1.0 for rate in rates]

    def build(self, variables: Sequence[Sequence[keras.Variable]]) -> None:
        """Creates the optimizers' variables.

        Args:
            variables: for each optimizer, the variables it trains.
        """
        for each, own in zip(self.members, variables, strict=True):
            if not each.built:
                each.build(list(own))
        self.built = True

    @property
    def variables(self) -> list[keras.Variable]:
        return [*super().variables, *(v for each in self.members for v in each.variables)]

    @property
    def iterations(self):
        return self.members[0].iterations

    @property
    def learning_rate(self):
        return self.members[0].learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate) -> None:
        for each, proportion in zip(self.members, self._proportions, strict=True):
            each.learning_rate = learning_rate * proportion

    def apply(self, grads, trainable_variables=None) -> None:
        raise NotImplementedError(
            "A group cannot be applied as a whole; apply each of its `members` to its own gradients."
        )

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        for each in self.members:
            each.finalize_variable_values(trained_by(each))

    def save_own_variables(self, store) -> None:
        """Does nothing: files store the optimizers as parts of the group."""

    def load_own_variables(self, store) -> None:
        """Does nothing: files load the optimizers as parts of the group."""

    def get_config(self) -> dict:
        serialized = [keras.saving.serialize_keras_object(each) for each in self.members]
        return {"name": self.name, "optimizers": serialized}

    @classmethod
    def from_config(cls, config: dict, custom_objects=None) -> Self:
        config = dict(config)
        config["optimizers"] = [
            keras.saving.deserialize_keras_object(each, custom_objects=custom_objects)
            for each in config["optimizers"]
        ]
        return cls(**config)
