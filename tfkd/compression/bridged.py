"""A tf_keras model as one of Keras 3: what tfmot wraps is trained, saved and run like any other."""

import json
from typing import Any

import keras

from tfkd.compression.tfmot import scopes


@keras.saving.register_keras_serializable("tfkd")
class Bridge(keras.Layer):
    """One layer that runs a whole tf_keras model and owns its variables.

    Keras 3's variables share the TensorFlow variables of the model, so whoever assigns either has
    assigned both.

    Args:
        inner: a built `tf_keras.Model`.
        **kwargs: passed to `keras.Layer`.
    """

    def __init__(self, inner: Any, **kwargs) -> None:
        # The inner model has precisions of its own.
        super().__init__(autocast=False, **kwargs)
        self.inner = inner
        trained = {id(variable) for variable in inner.trainable_weights}
        for variable in inner.weights:
            self._track_variable(_shared(variable, id(variable) in trained))
        self.built = True

    def call(self, inputs, training=None):
        for layer in self.inner._flatten_layers() if training else ():
            # tfmot's pruning counts the updates of whoever trains, and asks a callback to do so.
            if hasattr(layer, "pruning_step"):
                layer.pruning_step.assign_add(1)
        outputs = self.inner(inputs, training=bool(training))
        for loss in self.inner.losses:
            self.add_loss(loss)
        return outputs

    def inner_layers(self) -> dict[str, Any]:
        """The inner model's layers by the names they had before tfmot wrapped them."""
        return {getattr(layer, "layer", layer).name: layer for layer in self.inner.layers}

    def get_config(self):
        return {**super().get_config(), "inner": json.loads(self.inner.to_json(), object_hook=_unbuilt)}

    @classmethod
    def from_config(cls, config):
        import tf_keras

        with scopes():
            inner = tf_keras.models.model_from_json(json.dumps(config["inner"]))
        return cls(inner, name=config["name"], trainable=config["trainable"])


@keras.saving.register_keras_serializable("tfkd")
class BridgedModel(keras.Model):
    """A functional Keras 3 model around a tf_keras model.

    It trains under Keras 3's `fit`, distillers and optimizers. Taps reach the inner layers by the names
    they had in the Keras 3 model that the inner one was made of.

    Args:
        inner: a built functional `tf_keras.Model`.
        name: of the model; None for the inner one's.

    Example:
        >>> student = BridgedModel(tfkd.compression.to_tf_keras(model))
    """

    def __init__(self, inner: Any, name: str | None = None) -> None:
        inputs = keras.tree.map_structure(_input_like, inner.input)
        super().__init__(inputs, Bridge(inner, name="bridge")(inputs), name=name or inner.name)

    @property
    def inner(self) -> Any:
        """The tf_keras model."""
        return self.get_layer("bridge").inner

    def summary(self, *args, **kwargs):
        """The inner model's layers, as `tf_keras.Model.summary` prints them."""
        self.inner.summary(*args, **kwargs)

    def get_config(self):
        return {"bridge": keras.saving.serialize_keras_object(self.get_layer("bridge")), "name": self.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        bridge = keras.saving.deserialize_keras_object(config["bridge"], custom_objects)
        return cls(bridge.inner, config["name"])


def _unbuilt(entry):
    """A configuration without what has layers built early: those of tfmot would have weights twice."""
    return {key: value for key, value in entry.items() if key != "build_config"}


def _input_like(tensor):
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype.name, name=_name(tensor))


def _name(tensor_or_variable):
    return tensor_or_variable.name.partition(":")[0]


def _shared(variable, trainable):
    """A variable of Keras 3 around one of TensorFlow."""
    ours = keras.Variable(
        "zeros",
        shape=variable.shape,
        dtype=variable.dtype.name,
        trainable=trainable,
        autocast=False,
        name=_name(variable).replace("/", "_"),
    )
    ours._value = variable
    return ours
