"""Runs a tf_keras model inside a Keras 3 model, so that models of tfmot train, save and run normally."""

import json
import os
from collections.abc import Callable
from typing import Any

import keras
from typing_extensions import Self

from tfkd._core import files
from tfkd._core.fit_length import with_length
from tfkd._core.keras_internals import flatten_layers, share_value
from tfkd.compression._activations import register_activations
from tfkd.compression._layer_options import CENTROIDS, adapted_options, is_kernel
from tfkd.compression._pruning_schedule import OverFit, end_of_growth
from tfkd.compression._tfmot import scopes, unwrapped


@keras.saving.register_keras_serializable("tfkd")
class Bridge(keras.Layer):
    """A layer that runs a whole tf_keras model and owns its variables.

    The Keras 3 variables share the TensorFlow variables of the model, so assigning one assigns the other.
    Weights that are pruned, or were 0 and must remain so, are 0 after every update.

    Args:
        inner: a built `tf_keras.Model`.
        zeros_stay: whether weights of trained kernels that are 0 now remain 0.
        **kwargs: passed to `keras.Layer`.
    """

    def __init__(self, inner: Any, zeros_stay: bool = False, **kwargs) -> None:
        # The inner model has its own dtype policies.
        super().__init__(autocast=False, **kwargs)
        self.inner, self.zeros_stay = inner, zeros_stay
        self._pruned = [layer for layer in flatten_layers(inner) if hasattr(layer, "pruning_step")]
        masks = {id(weight): mask for layer in self._pruned for weight, mask, _ in layer.pruning_vars}
        # Wrappers list weights of frozen layers as trainable.
        trained = {id(v) for layer in inner.layers if layer.trainable for v in layer.trainable_weights}
        self._of_clusters = {id(kernel) for kernel in _kernels_of_clusters(inner)}
        trained -= self._of_clusters
        for variable in inner.weights:
            self._track_variable(_shared(variable, id(variable) in trained, masks.get(id(variable))))
        if zeros_stay:
            self._keep_zeros(trained)
        if self._pruned:
            # A variable, so that it is saved and pruning continues from there.
            self._updates = self.add_weight((), "zeros", "int64", trainable=False, name="updates")
        schedules = [layer.pruning_schedule for layer in self._pruned]
        self._over_fit = [schedule for schedule in schedules if isinstance(schedule, OverFit)]
        if self._over_fit:
            self._end = self.add_weight((), "zeros", "int64", trainable=False, name="end_of_pruning")
        self.built = True

    def _keep_zeros(self, trained):
        kernels = [w for w in self.weights if id(w.value) in trained and is_kernel(w)]
        for weight in kernels:
            mask = keras.ops.cast(weight.value != 0, weight.dtype)
            kept = self.add_weight(
                weight.shape, "ones", weight.dtype, trainable=False, name=f"{weight.name}_kept"
            )
            kept.assign(mask)
            weight.constraint = Masked(kept, weight.constraint)

    def call(self, inputs, training: bool | None = None):
        # Like a frozen batch normalization, a frozen model keeps its statistics and ranges.
        training = bool(training) and self.trainable
        if training and self._pruned:
            # tfmot's layers increment their step themselves, once for each call.
            for layer in self._pruned:
                layer.pruning_step.assign(self._updates.value)
            for schedule in self._over_fit:
                schedule.end.assign(self._end.value)
            self._updates.assign_add(1)
        outputs = self.inner(inputs, training=training)
        for loss in self.inner.losses:
            self.add_loss(loss)
        return outputs

    def expect_passes(self, passes: int) -> None:
        """Lets sparsity grow over most of the coming passes, unless it is growing already."""
        if self._over_fit and not int(self._end.numpy()):
            self._end.assign(end_of_growth(int(self._updates.numpy()), passes))

    def inner_layers(self) -> dict[str, Any]:
        """The inner model's layers, by their names before tfmot wrapped them."""
        return {unwrapped(layer).name: layer for layer in self.inner.layers}

    def get_config(self) -> dict:
        if self._of_clusters or any(getattr(each, "preserve_sparsity", 0) for each in self.inner.layers):
            raise ValueError(
                "A student that preserves clusters, or zeros during clustering, cannot be saved whole: "
                "tfmot derives variables and masks from the initial weights. Use `save_weights`, and "
                "`load_weights` on a student made from the same model; or save strip(student), or its "
                "TFLite file."
            )
        patterns = {layer.name: layer.sparsity_m_by_n for layer in self._pruned if layer.sparsity_m_by_n}
        return {
            **super().get_config(),
            "inner": json.loads(self.inner.to_json(), object_hook=_unbuilt),
            "zeros_stay": self.zeros_stay,
            # Missing from tfmot's own configuration.
            "m_by_n": patterns,
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        import tf_keras

        register_activations(config["inner"])
        with scopes():
            inner = tf_keras.models.model_from_json(json.dumps(config["inner"]))
        for name, pattern in config["m_by_n"].items():
            layer = inner.get_layer(name)
            layer.sparsity_m_by_n = layer.pruning_obj._sparsity_m_by_n = tuple(pattern)
        return cls(inner, config["zeros_stay"], name=config["name"], trainable=config["trainable"])


@keras.saving.register_keras_serializable("tfkd")
class BridgedModel(keras.Model):
    """A functional Keras 3 model around a tf_keras model.

    It trains with Keras 3's `fit`, distillers and optimizers. Taps find the inner layers by their names in
    the original Keras 3 model.

    Args:
        inner: a built functional `tf_keras.Model`.
        name: the name of the model; None for the name of the inner model.
        plain: the original Keras 3 model, which `strip` returns with new weights; None if there is none.
        zeros_stay: whether weights of trained kernels that are 0 now remain 0.

    Example:
        >>> student = BridgedModel(tfkd.compression.to_tf_keras(model))
    """

    def __init__(
        self,
        inner: Any,
        name: str | None = None,
        plain: keras.Model | None = None,
        zeros_stay: bool = False,
    ) -> None:
        self._connect(Bridge(inner, zeros_stay, name="bridge"), name, plain and _architecture(plain))

    def _connect(self, bridge, name, architecture):
        inputs = keras.tree.map_structure(_input_like, bridge.inner.input)
        super().__init__(inputs, bridge(inputs), name=name or bridge.inner.name)
        self._architecture = architecture

    @property
    def inner(self) -> Any:
        """The tf_keras model."""
        return self.get_layer("bridge").inner

    def plain(self) -> keras.Model | None:
        """The original Keras 3 model with newly initialized weights; None if it is unknown."""
        if self._architecture is None:
            return None
        return keras.saving.deserialize_keras_object(json.loads(self._architecture))

    def expect_passes(self, passes: int) -> None:
        """Lets a pruned student reach its sparsity within this number of passes in training mode."""
        self.get_layer("bridge").expect_passes(passes)

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **kwargs):
        callbacks = with_length(callbacks, [self])
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def make_train_function(self, force: bool = False):
        # A step that creates variables would be traced twice.
        if not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def summary(self, *args, **kwargs) -> None:
        """The inner model's layers, as `tf_keras.Model.summary` prints them."""
        self.inner.summary(*args, **kwargs)

    def save(self, filepath: str | os.PathLike, *args, **kwargs) -> None:
        remedy = "the plain model: tfkd.compression.strip(student).save(...)"
        files.check_not_hdf5(filepath, "a student of tfkd.compression", remedy)
        super().save(filepath, *args, **kwargs)

    def get_config(self) -> dict:
        return {
            "bridge": keras.saving.serialize_keras_object(self.get_layer("bridge")),
            "name": self.name,
            "architecture": self._architecture,
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Self:
        bridge = keras.saving.deserialize_keras_object(config["bridge"], custom_objects)
        model = cls.__new__(cls)
        model._connect(bridge, config["name"], config["architecture"])
        return model


def _kernels_of_clusters(inner):
    """Kernels that tfmot computes from centroids in every pass."""
    return [
        kernel
        for layer in inner.layers
        for kernel, _, variables in getattr(layer, "_weight_vars", ())
        if CENTROIDS in "".join(variables)
    ]


class Masked(keras.constraints.Constraint):
    """A constraint that keeps weights at 0 where a mask is 0.

    Args:
        mask: an array or variable of zeros and ones.
        then: another constraint, which is applied first, or None.
    """

    def __init__(self, mask: Any, then: Callable | None) -> None:
        self.mask, self.then = mask, then

    def __call__(self, weight):
        weight = weight if self.then is None else self.then(weight)
        return weight * keras.ops.convert_to_tensor(self.mask)


def _architecture(model):
    """A model's configuration as text, including the statistics of adapted `Normalization` layers."""

    def fixed(layer):
        config = {**layer.get_config(), **adapted_options(layer)}
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=fixed, recursive=True)
    return json.dumps(keras.saving.serialize_keras_object(copy))


def _unbuilt(entry):
    """A configuration without build entries: layers of tfmot that are built early get weights twice."""
    return {key: value for key, value in entry.items() if key != "build_config"}


def _input_like(tensor):
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype.name, name=_name(tensor))


def _name(tensor_or_variable):
    return tensor_or_variable.name.partition(":")[0]


def _shared(variable, trainable, mask):
    """A Keras 3 variable that wraps a TensorFlow variable."""
    ours = keras.Variable(
        "zeros",
        shape=variable.shape,
        dtype=variable.dtype.name,
        trainable=trainable,
        autocast=False,
        name=_name(variable).replace("/", "_"),
    )
    share_value(ours, variable)
    ours.constraint = variable.constraint if mask is None else Masked(mask, variable.constraint)
    return ours
