"""Check of a generator before the first step."""

import inspect

import keras
from keras import ops

from generators._base import Generator


def check_generator(
    generator: Generator, input_shape: tuple[int, ...], classes: int | None = None, trained: bool = True
) -> None:
    """Rejects a generator that does not match a model's inputs, or that cannot be trained.

    The generator is called once on two latents of zeros, which also creates any weights that it creates
    on its first call. Nothing is drawn.

    Args:
        generator: the generator.
        input_shape: the shape of one input of the model, without the batch axis.
        classes: the number of classes of the model, for class-conditional generators; None for any.
        trained: whether the generator will be trained.

    Raises:
        TypeError: if it is not a `Generator`, if it is class-conditional but its `call` takes no labels,
            or if `call` does not return a tensor of its dtype.
        ValueError: if it makes or declares another shape or number of classes, or has nothing to train.

    Example:
        >>> check_generator(ConvGenerator((28, 28, 1)), (28, 28, 1))
    """
    if not isinstance(generator, Generator):
        raise TypeError(
            f"`generator` must be a tfkd.generators.Generator. Received: generator={generator!r}. Derive "
            "the class from Generator and implement `call(latent, labels=None, training=None)`."
        )
    _check_declared(generator, tuple(input_shape), classes)
    _check_made(generator)
    if trained and not generator.trainable_variables:
        raise ValueError(
            f"`generator`: {generator.name!r} must have trainable variables, since it will be trained. "
            f"Received: a generator with {len(generator.variables)} variables, none of them trainable. "
            "Create its layers in `__init__` and leave their `trainable` at True, or use it as a prior."
        )


def _check_declared(generator, input_shape, classes):
    if generator.image_shape != input_shape:
        raise ValueError(
            f"`generator`: {generator.name!r} must make inputs of shape {input_shape}, the model's input "
            f"shape. Received: image_shape={generator.image_shape}."
        )
    if generator.classes is None:
        return
    if classes not in (None, generator.classes):
        raise ValueError(
            f"`generator`: {generator.name!r} must have {classes} classes, like the model. Received: "
            f"classes={generator.classes}."
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
    # Half-precision outputs are floats, too.
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
            f"`generator`: {generator.name!r} must make inputs of its declared `image_shape`, "
            f"{generator.image_shape}. Received: inputs of shape {tuple(made.shape)[1:]} from two latents."
        )
