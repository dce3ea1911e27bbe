"""The contract of generators."""

import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

import generators
from generators import Draw, Generator

_N = 4


def check_generator(generator: Generator) -> None:
    """Checks everything that sources and trainers rely on, with a batch of four.

    The checks cover declared attributes, draws, shape and dtype, seeds, batches of any size, graphs and
    XLA, labels, gradients (or, for a procedural prior, that there are no weights), config and files. The
    moving statistics of batch normalization are updated once.

    Args:
        generator: a generator, built or not.

    Raises:
        AssertionError: at the first failure, with a message that starts with the failed check's name.

    Example:
        >>> check_generator(tfkd.generators.SmoothNoise((28, 28, 1)))
    """
    clauses = _declared, _drawn, _seeds, _any_batch, _compiled, _labels, _trained, _configured, _saved
    for clause in clauses:
        clause(generator)


def _declared(generator):
    if not isinstance(generator, Generator):
        raise AssertionError(f"declared: {generator!r} is not a tfkd.generators.Generator.")
    try:
        generators.check_generator(generator, generator.image_shape, trained=not generator.procedural)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"declared: {error}") from error
    without = not (generator.procedural and generator.variables)
    sentence = f"is `procedural`, but has {len(generator.variables)} variables."
    _require(without, "declared", generator, sentence)


def _drawn(generator):
    latent, labels = generator.draw(_N, seed=0)
    expected = (_N, generator.latent_size)
    fits = tuple(latent.shape) == expected and latent.dtype == "float32"
    sentence = f"draws latents {latent.dtype} {latent.shape}, not float32 {expected}."
    _require(fits, "drawn", generator, sentence)
    if generator.classes is None:
        _require(labels is None, "drawn", generator, "draws labels although its `classes` is None.")
    else:
        drawn = np.asarray(labels)
        fits = drawn.shape == (_N,) and drawn.dtype.kind == "i"
        fits = fits and drawn.min() >= 0 and drawn.max() < generator.classes
        sentence = f"draws labels {drawn}, not {_N} ints below its `classes`, {generator.classes}."
        _require(fits, "drawn", generator, sentence)
    made = generator.make(Draw(latent, labels))
    expected, dtype = (_N, *generator.image_shape), generator.made_dtype
    fits = tuple(made.shape) == expected and made.dtype == dtype
    sentence = f"makes {made.dtype} {made.shape} from {_N} latents, not {dtype} {expected}."
    _require(fits, "drawn", generator, sentence)
    _require(np.isfinite(made).all(), "drawn", generator, "makes values that are not finite.")


def _seeds(generator):
    first, again, other = (np.asarray(generator.sample(_N, seed)) for seed in (5, 5, 6))
    _require(_close(first, again), "seeds", generator, "makes different inputs from the same seed.")
    _require(not _close(first, other), "seeds", generator, "makes the same inputs from another seed.")
    _require(not _close(first[0], first[1]), "seeds", generator, "makes the same input twice in a batch.")
    seeds = keras.random.SeedGenerator(5)
    first, second = generator.sample(_N, seeds), generator.sample(_N, seeds)
    sentence = "makes the same inputs again when a `keras.random.SeedGenerator` advances."
    _require(not _close(first, second), "seeds", generator, sentence)
    draw = generator.draw(_N, seed=7)
    sentence = "makes different inputs from the same draw; all randomness must come from the latents."
    _require(_close(generator.make(draw), generator.make(draw)), "seeds", generator, sentence)


def _any_batch(generator):
    draw = generator.draw(_N, seed=1)
    alone = Draw(*(part if part is None else part[:1] for part in draw))
    sentence = "makes a different input in a batch of one, in inference mode."
    together = generator.make(draw)[:1]
    _require(_close(generator.make(alone), together, 1e-3), "batches of one", generator, sentence)


def _compiled(generator):
    draw = generator.draw(_N, seed=2)
    given = [part for part in draw if part is not None]
    any_size = [tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in given]

    def make(*parts):
        return generator.make(Draw(*parts))

    ways = {"graphs": tf.function(make, any_size), "XLA": tf.function(make, jit_compile=True)}
    for clause, compiled in ways.items():
        try:
            made = compiled(*given)
        except Exception as error:
            raise AssertionError(f"{clause}: {generator.name!r} does not compile. {error}") from error
        sentence = "makes different inputs when compiled."
        _require(_close(made, generator.make(draw), 1e-3), clause, generator, sentence)
    static = ways["graphs"].get_concrete_function().output_shapes[1:]
    sentence = f"makes inputs of shape {static} in a graph with unknown batch size; reshape them."
    _require(static == generator.image_shape, "graphs", generator, sentence)


def _labels(generator):
    if generator.classes is None:
        try:
            generator.draw(_N, seed=3, labels=[0] * _N)
        except ValueError:
            return
        raise AssertionError(f"labels: {generator.name!r} is not conditional, but `draw` takes labels.")
    asked = np.arange(_N) % generator.classes
    draw = generator.draw(_N, seed=3, labels=asked)
    _require(np.array_equal(draw.labels, asked), "labels", generator, "does not draw the given labels.")
    others = Draw(draw.latent, tf.constant((asked + 1) % generator.classes))
    if generator.classes > 1:
        sentence = "makes the same inputs whatever the labels."
        _require(not _close(generator.make(draw), generator.make(others)), "labels", generator, sentence)


def _trained(generator):
    if generator.procedural:
        return
    variables = generator.trainable_variables
    draw = generator.draw(_N, seed=4)
    with tf.GradientTape() as tape:
        # Squares, since the mean after batch normalization is constant.
        value = tf.reduce_mean(generator.make(draw, training=True) ** 2)
    gradients = tape.gradient(value, variables)
    left_out = [v.path for v, gradient in zip(variables, gradients, strict=True) if gradient is None]
    sentence = f"has variables that no gradient reaches: {', '.join(left_out)}."
    _require(not left_out, "gradients", generator, sentence)
    finite = all(np.isfinite(tf.convert_to_tensor(gradient)).all() for gradient in gradients)
    _require(finite, "gradients", generator, "has gradients that are not finite.")


def _configured(generator):
    copy = _copied(generator)
    sentence = f"becomes {copy.get_config()} when rebuilt from its config, {generator.get_config()}."
    _require(copy.get_config() == generator.get_config(), "configuration", generator, sentence)
    draw = generator.draw(_N, seed=8)
    try:
        copy.set_weights(generator.get_weights())
    except ValueError as error:
        raise AssertionError(
            f"configuration: the copy of {generator.name!r} has different weights."
        ) from error
    sentence = "makes different inputs with the same weights when rebuilt from its config."
    _require(_close(copy.make(draw), generator.make(draw)), "configuration", generator, sentence)


def _saved(generator):
    draw = generator.draw(_N, seed=9)
    expected = generator.make(draw)
    custom = {type(generator).__name__: type(generator)}
    with tempfile.TemporaryDirectory() as folder:
        model, weights = pathlib.Path(folder, "model.keras"), pathlib.Path(folder, "model.weights.h5")
        try:
            generator.save(model)
            loaded = keras.models.load_model(model, custom_objects=custom)
            generator.save_weights(weights)
            filled = _copied(generator)
            filled.load_weights(weights)
        except Exception as error:
            raise AssertionError(
                f"files: {generator.name!r} cannot be saved and loaded. {error}"
            ) from error
        sentence = "makes different inputs when loaded from a file."
        _require(_close(loaded.make(draw), expected), "files", generator, sentence)
        sentence = "makes different inputs with weights loaded from a file."
        _require(_close(filled.make(draw), expected), "files", generator, sentence)


def _copied(generator):
    try:
        copy = type(generator).from_config(generator.get_config())
        generators.check_generator(copy, generator.image_shape, trained=False)
    except Exception as error:
        raise AssertionError(
            f"configuration: {generator.name!r} cannot be rebuilt from its config; `get_config` must "
            f"return the arguments of `__init__`. {error}"
        ) from error
    return copy


def _close(values, others, tolerance=1e-5):
    values, others = np.asarray(values), np.asarray(others)
    scale = max(1.0, np.abs(others).max())
    return values.shape == others.shape and np.abs(values - others).max() <= tolerance * scale


def _require(holds, clause, generator, sentence):
    if not holds:
        raise AssertionError(f"{clause}: {generator.name!r} {sentence}")
