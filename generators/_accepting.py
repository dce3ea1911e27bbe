"""What whoever uses a generator makes sure of before the first step."""

import inspect

import keras
from keras import ops

from generators._base import Generator


def check_generator(
    generator: Generator, input_shape: tuple[int, ...], classes: int | None = None, trained: bool = True
) -> None:
    """Refuses a generator that does not make the inputs of a model, or that cannot be trained.

    The generator is called once, on two latents of zeros, which also creates the weights that it has left
    to its first call. Nothing is drawn.

    Args:
        generator: the generator.
        input_shape: shape of one input of the model, without the batch.
        classes: how many classes the model knows, for a generator that is told some; None for any.
        trained: whether it is to be trained.

    Raises:
        TypeError: if it is not a `Generator`, its `call` takes no labels although it is told classes, or
            returns something that is not a tensor of its dtype.
        ValueError: if it makes or declares another shape or other classes, or has nothing to train.

    Example:
        >>> check_generator(ConvGenerator((28, 28, 1)), (28, 28, 1))
    """
    if not isinstance(generator, Generator):
        raise TypeError(
            f"`generator` must be a tfkd.generators.Generator. Received: generator={generator!r}. Derive "
            "its class from Generator and implement `call(latent, labels=None, training=None)`."
        )
    _check_declared(generator, tuple(input_shape), classes)
    _check_made(generator)
    if trained and not generator.trainable_variables:
        raise ValueError(
            f"`generator`: {generator.name!r} must have trainable variables, since it is to be trained. "
            f"Received: a generator with {len(generator.variables)} variables, none of them trainable. "
            "Create its layers in `__init__` and leave their `trainable` at True, or use it as a prior."
        )


def _check_declared(generator, input_shape, classes):
    if generator.image_shape != input_shape:
        raise ValueError(
            f"`generator`: {generator.name!r} must make inputs of shape {input_shape}, as the model takes "
            f"them. Received: image_shape={generator.image_shape}."
        )
    if generator.classes is None:
        return
    if classes not in (None, generator.classes):
        raise ValueError(
            f"`generator`: {generator.name!r} must be told {classes} classes, as many as the model knows. "
            f"Received: classes={generator.classes}."
        )
    try:
        inspect.signature(generator.call).bind(None, labels=None)
    except TypeError:
        raise TypeError(
            f"`generator`: `call` of {generator.name!r} must take `labels`, since its `classes` is "
            f"{generator.classes}. Received: call{inspect.signature(generator.call)}. Define it as "
            "`call(latent, labels=None, training=None)`."
        ) from None


def _check_made(generator):
    made = generator.build_from_example()
    dtype = keras.backend.standardize_dtype(made.dtype) if ops.is_tensor(made) else type(made).__name__
    floats = keras.backend.is_float_dtype(generator.made_dtype)
    # A network in half precision makes floats, too.
    fits = ops.is_tensor(made) and (
        keras.backend.is_float_dtype(dtype) if floats else dtype == generator.made_dtype
    )
    if not fits:
        kind = "a float" if floats else f"an {generator.made_dtype}"
        raise TypeError(
            f"`generator`: `call` of {generator.name!r} must return {kind} tensor. Received: {dtype}."
        )
    if tuple(made.shape) != (2, *generator.image_shape):
        raise ValueError(
            f"`generator`: {generator.name!r} must make inputs of the shape it declares, `image_shape`, "
            f"{generator.image_shape}. Received: shape {tuple(made.shape)[1:]} of each, from two latents."
        )
