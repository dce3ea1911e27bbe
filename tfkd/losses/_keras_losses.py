"""The loss objects of `keras.distillation`, computed as Keras documents them."""

from typing import Any

import keras
from keras import ops, tree
from typing_extensions import Self

from tfkd._core import keras_distillation as distillation
from tfkd._core.names import snake_case
from tfkd.losses._base import KnowledgeLoss, as_float32_pair, check_classes, check_temperature
from tfkd.losses._maps import PROJECTOR_REMEDY, per_example_mean
from tfkd.losses._soft_targets import soft_targets

_FEATURES_REMEDY = (
    f"{PROJECTOR_REMEDY} keras.distillation.FeatureDistillation has no projector; tfkd.losses.Hint has."
)


def as_knowledge_loss(loss: KnowledgeLoss | distillation.DistillationLoss) -> KnowledgeLoss:
    """A `keras.distillation` loss as a tfkd loss; tfkd losses are returned unchanged.

    Args:
        loss: a `KnowledgeLoss`, or a `keras.distillation.DistillationLoss`.

    Returns:
        A `KnowledgeLoss`.

    Raises:
        TypeError: if it is neither.
    """
    if isinstance(loss, KnowledgeLoss):
        return loss
    adapters = {
        distillation.LogitsDistillation: KerasLogits,
        distillation.FeatureDistillation: KerasFeatures,
    }
    for kind, adapter in adapters.items():
        # A subclass keeps its own computation.
        if isinstance(loss, kind) and type(loss).compute_loss is kind.compute_loss:
            return adapter(loss)
    if isinstance(loss, distillation.DistillationLoss):
        return KerasCustom(loss)
    raise TypeError(
        "`distillation_losses` must be a tfkd.losses or keras.distillation loss, or a list of them. "
        f"Received: {loss!r} of type {type(loss)}."
    )


@keras.saving.register_keras_serializable(package="tfkd")
class KerasCustom(KnowledgeLoss, distillation.DistillationLoss):
    """A user-defined `keras.distillation.DistillationLoss` as a loss of both libraries.

    It is called as Keras would call it, and must return a scalar. Layers and variables among its attributes
    are trained and saved with the distiller.

    Args:
        loss: the Keras loss.
        name: names the loss in `History`.
    """

    takes_structures = True

    def __init__(self, loss: distillation.DistillationLoss, name: str | None = None) -> None:
        taps = [getattr(loss, f"{who}_layer_name", None) for who in ("teacher", "student")]
        super().__init__(*taps, name=name or snake_case(type(loss).__name__))
        self.loss = loss
        attributes = tree.flatten(list(vars(loss).values()))
        self.parts = [part for part in attributes if isinstance(part, keras.Layer)]
        self.variables_of_loss = [part for part in attributes if isinstance(part, keras.Variable)]

    @property
    def title(self) -> str:
        return type(self.loss).__name__

    def constants(self) -> dict[str, Any]:
        # A user-defined loss need not have a config.
        return {name: value for name, value in vars(self.loss).items() if _is_plain(value)}

    def bind(self, teacher: keras.Model | None, student: keras.Model) -> None:
        if teacher is not None:
            self.loss.validate_model_compatibility(teacher, student)

    def build(self, teacher_shape=None, student_shape=None) -> None:
        if all(part.built for part in self.parts):
            return
        # Keras layers are built when called; the values do not matter.
        examples = [_zeros(teacher_shape), _zeros(student_shape)]
        self.loss.compute_loss(*examples)

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        return self.loss.compute_loss(teacher_outputs, student_outputs, **kwargs)

    def validate_outputs(self, teacher_outputs, student_outputs) -> None:
        self.loss.validate_outputs(teacher_outputs, student_outputs)

    def call(self, teacher, student):
        self.loss.validate_outputs(teacher, student)
        value = ops.convert_to_tensor(self.loss.compute_loss(teacher, student))
        if len(value.shape) > 0:
            raise ValueError(
                f"{type(self.loss).__name__}.compute_loss must return a scalar. Received: shape "
                f"{tuple(value.shape)}. Take its mean."
            )
        return ops.cast(value, "float32")

    def get_config(self) -> dict:
        return {"name": self.name, "loss": keras.saving.serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        return cls(_restored(config["loss"]), config["name"])


class KerasOutputs(KerasCustom):
    """A built-in Keras loss with one Keras loss per output; subclasses implement `_one`."""

    def bind(self, teacher: keras.Model | None, student: keras.Model) -> None:
        """Does nothing: taps and outputs are checked as for all losses."""

    def call(self, teacher, student, mask=None):
        return _summed(self.loss.loss, self._one, teacher, student, mask)


@keras.saving.register_keras_serializable(package="tfkd")
class KerasLogits(KerasOutputs, distillation.LogitsDistillation):
    """`keras.distillation.LogitsDistillation`: a loss on logits over the temperature, times its square.

    KL divergence and categorical and binary cross-entropy compare softened probabilities, in log space;
    other losses compare the scaled logits.
    """

    @property
    def over_classes(self) -> bool:
        """Whether the Keras loss compares softmaxes."""
        return any(map(_is_over_classes, tree.flatten(self.loss.loss)))

    @property
    def temperature(self) -> float:
        """The temperature that divides both logits."""
        return self.loss.temperature

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        self.loss.temperature = check_temperature(temperature)

    def _one(self, loss, teacher, student):
        if _is_over_classes(loss):
            check_classes(self.title, student)
        teacher, student = as_float32_pair(teacher, student)
        temperature = self.loss.temperature
        if _is(loss, keras.losses.kl_divergence, keras.losses.KLDivergence):
            return _as_reduced(loss, soft_targets(teacher, student, temperature))
        teacher, student = teacher / temperature, student / temperature
        for function, kind, probabilities in _CROSS_ENTROPIES:
            if _is(loss, function, kind):
                smoothing = getattr(loss, "label_smoothing", 0.0)
                options = {"from_logits": True, "label_smoothing": smoothing}
                values = _as_reduced(loss, function(probabilities(teacher), student, **options))
                break
        else:
            values = _values(loss, teacher, student)
        return temperature**2 * values


_CROSS_ENTROPIES = (
    (keras.losses.categorical_crossentropy, keras.losses.CategoricalCrossentropy, ops.softmax),
    (keras.losses.binary_crossentropy, keras.losses.BinaryCrossentropy, ops.sigmoid),
)


def _is_over_classes(loss):
    kinds = (keras.losses.kl_divergence, keras.losses.KLDivergence), _CROSS_ENTROPIES[0][:2]
    return any(_is(loss, *kind) for kind in kinds)


def _is(loss, function, kind):
    return loss is function or isinstance(loss, kind)


@keras.saving.register_keras_serializable(package="tfkd")
class KerasFeatures(KerasOutputs, distillation.FeatureDistillation):
    """`keras.distillation.FeatureDistillation`: a Keras loss of two layers' outputs."""

    def _one(self, loss, teacher, student):
        teacher, student = as_float32_pair(teacher, student, remedy=_FEATURES_REMEDY)
        return _values(loss, teacher, student)


def _is_plain(value):
    """Whether a value is made of numbers and strings, which a step treats as constants."""
    return all(isinstance(leaf, bool | int | float | str) for leaf in tree.flatten(value))


def _zeros(shapes):
    """Zeros of a shape, or of each in a structure of shapes, with small numbers for unknown axes."""
    return tree.map_shape_structure(lambda shape: ops.zeros([2, *(n or 8 for n in shape[1:])]), shapes)


def _restored(config):
    """The Keras loss from a config, including nested losses."""
    restore = keras.saving.deserialize_keras_object
    for kind in (distillation.LogitsDistillation, distillation.FeatureDistillation):
        if config["class_name"] == kind.__name__ and config["module"] == "keras.distillation":
            # Keras's own from_config would read a dictionary of losses as one loss.
            return kind(**{**config["config"], "loss": restore(config["config"]["loss"])})
    return restore(config)


def _summed(losses, one, teacher, student, mask):
    """The sum over the outputs that have a loss."""
    tree.assert_same_structure(losses, teacher)
    tree.assert_same_structure(losses, student)
    losses = tree.flatten(losses)
    masks = mask if isinstance(mask, list | tuple) else [mask] * len(losses)
    each = zip(losses, tree.flatten(teacher), tree.flatten(student), masks, strict=True)
    values = [(one(loss, t, s), m) for loss, t, s, m in each if loss is not None]
    return values[0][0] if len(values) == 1 else sum(_per_example(*pair) for pair in values)


def _values(loss, teacher, student):
    """The values per example of a Keras loss function or of the function in a loss object."""
    if not isinstance(loss, keras.losses.Loss):
        return loss(teacher, student)
    return _as_reduced(loss, loss.call(teacher, student))


def _as_reduced(loss, values):
    """Values whose mean over the batch equals the loss object's own reduction."""
    if getattr(loss, "reduction", None) == "sum":
        return values * ops.cast(ops.size(values), "float32")
    return values


def _per_example(values, mask):
    """`(batch,)`: the mean over the positions that count."""
    return values if len(values.shape) == 1 else per_example_mean(values, mask)
