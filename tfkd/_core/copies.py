"""Makes copies of Keras objects from their configurations."""

from typing import Any, Protocol, TypeVar

import keras
from typing_extensions import Self

from tfkd._core.keras_internals import flatten_layers


class Configured(Protocol):
    """An object that Keras can recreate from its configuration."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self: ...

    def get_config(self) -> dict[str, Any]: ...


AnyConfigured = TypeVar("AnyConfigured", bound=Configured)


def clone(original: AnyConfigured) -> AnyConfigured:
    """A new object of the same class and configuration, without the original's state."""
    return type(original).from_config(original.get_config())


def cloned_model(model: keras.Model, **options: Any) -> keras.Model:
    """`keras.models.clone_model`, but not compiled.

    Keras compiles a clone like its original. A student would then carry the variables of its teacher's
    optimizer, and its files would be three times as large.

    Args:
        model: the model.
        **options: passed to `keras.models.clone_model`.
    """
    models = [each for each in flatten_layers(model) if isinstance(each, keras.Model) and each.compiled]
    for each in models:
        each.compiled = False
    try:
        return keras.models.clone_model(model, **options)
    finally:
        for each in models:
            each.compiled = True


def fresh_metrics(metrics: Any) -> Any:
    """Copies of metrics without their state, in the same structure; names are kept as they are."""
    return keras.tree.map_structure(
        lambda each: clone(each) if isinstance(each, keras.metrics.Metric) else each, metrics
    )


def remade(layer: keras.Operation, config: dict[str, Any]) -> keras.Operation:
    """A new layer of the same class, made from the layer's configuration or a changed one.

    A `Lambda` is returned as it is: it has only its function, which a configuration may not describe.

    Args:
        layer: a layer of a model in memory, or another operation.
        config: the configuration to use.

    Raises:
        ValueError: naming the layer, if it cannot be made from a configuration.
    """
    if isinstance(layer, keras.layers.Lambda):
        return layer
    try:
        return type(layer).from_config(config)
    except (TypeError, NotImplementedError) as error:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot be recreated from its configuration: "
            f"{str(error)[:200]} Give its class a `get_config` with all arguments of its constructor."
        ) from error
