"""New objects like given ones."""

from typing import Any, Protocol, TypeVar

import keras
from typing_extensions import Self

from tfkd._core.keras_internals import flatten_layers


class Configured(Protocol):
    """Whatever Keras can make again from a configuration."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self: ...

    def get_config(self) -> dict[str, Any]: ...


AnyConfigured = TypeVar("AnyConfigured", bound=Configured)


def clone(original: AnyConfigured) -> AnyConfigured:
    """A new object of the same class and configuration, without the original's state."""
    return type(original).from_config(original.get_config())


def cloned_model(model: keras.Model, **options: Any) -> keras.Model:
    """`keras.models.clone_model`, but not compiled.

    Keras compiles a clone as its original is, so that a student would have the variables of its teacher's
    optimizer, and its files would be three times as large.

    Args:
        model: the model.
        **options: of `keras.models.clone_model`.
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
    """Metrics of the same kind without state, in the same structure; names as they are."""
    return keras.tree.map_structure(
        lambda each: clone(each) if isinstance(each, keras.metrics.Metric) else each, metrics
    )


def remade(layer: keras.Operation, config: dict[str, Any]) -> keras.Operation:
    """A new layer like a given one, by its configuration, changed or not.

    A `Lambda` has nothing but its function, which need not be what a configuration says of it, so that it
    is used as it is.

    Args:
        layer: of a model in memory, or another operation.
        config: its configuration.

    Raises:
        ValueError: naming the layer, if it cannot be made from a configuration.
    """
    if isinstance(layer, keras.layers.Lambda):
        return layer
    try:
        return type(layer).from_config(config)
    except (TypeError, NotImplementedError) as error:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot be made again from its configuration: "
            f"{str(error)[:200]} Give its class a `get_config` with all arguments of its constructor."
        ) from error
