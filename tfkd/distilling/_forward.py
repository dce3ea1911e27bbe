"""Forward passes of networks with their taps, and losses between two passes."""

import functools

import keras
import tensorflow as tf
from keras import ops, tree

from tfkd import taps
from tfkd._core.graphs import has_graph
from tfkd._core.keras_internals import build_shapes, mask_of, with_mask
from tfkd._core.replicas import gathered
from tfkd.distilling._cached_batch import CachedBatch
from tfkd.distilling._pointwise import unit_strides
from tfkd.distilling._recorded_pass import ForwardResult, recorded_pass
from tfkd.distilling._token_masks import check_same_tokens
from tfkd.losses import Batch, KnowledgeLoss
from tfkd.losses._base import check_classes
from tfkd.losses._labels import one_hot_labels
from tfkd.losses._relations import per_row

# The size to try for unknown axes, such as the number of tokens.
_OPEN_SIZE = 2


def forward_pass(
    model: keras.Model, tapped: list[str], inputs, training: bool, labels=None
) -> ForwardResult:
    """Runs a model once, with its taps.

    Args:
        model: the model.
        tapped: names of taps; include `taps.INPUT_GRADIENT` for the gradient of the labels' cross-entropy
            with respect to the inputs.
        inputs: the model's inputs; from named inputs it takes those that it needs.
        training: whether to run in training mode.
        labels: the labels of the examples, for that gradient.

    Returns:
        The output and the tapped features. Values `(batch, tokens, ...)` carry a Keras mask of the valid
        tokens if one is known: from the layers that computed them, from the last layer that made a mask,
        or from a `padding_mask` passed to layers or to the model.

    Raises:
        ValueError: if the gradient is requested, but there are no labels or several inputs.
    """
    if training:
        with unit_strides(model):
            return _passed(model, tapped, inputs, training, labels)
    return _passed(model, tapped, inputs, training, labels)


def _passed(model, tapped, inputs, training, labels):
    layers = [tap for tap in tapped if tap != taps.INPUT_GRADIENT]
    if len(layers) == len(tapped):
        return recorded_pass(model, layers, inputs, training)
    if labels is None or tree.is_nested(inputs) or tree.is_nested(labels):
        raise ValueError(
            "`y` must be the labels of one output, and `x` one tensor, for a loss on the input gradient."
        )
    inputs = ops.cast(inputs, "float32")
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        passed = recorded_pass(model, layers, inputs, training)
        logits = ops.cast(passed.output, "float32")
        entropies = -ops.sum(one_hot_labels(labels, logits) * ops.log_softmax(logits, axis=-1), axis=-1)
        mask = mask_of(passed.output)
        entropy = ops.sum(entropies if mask is None else ops.where(mask, entropies, 0.0))
    gradient = tape.gradient(entropy, inputs)
    return passed._replace(features={**passed.features, taps.INPUT_GRADIENT: gradient})


def resized(model: keras.Model, inputs):
    """Images resized to a model's input size; other inputs are returned unchanged.

    Args:
        model: a model with one input.
        inputs: `(batch, height, width, channels)`.
    """
    shape = getattr(model, "input_shape", None)
    if tree.is_nested(inputs) or len(inputs.shape) != 4 or not isinstance(shape, tuple) or len(shape) != 4:
        return inputs
    if None in shape[1:3] or tuple(inputs.shape[1:3]) == shape[1:3]:
        return inputs
    return ops.image.resize(ops.cast(inputs, "float32"), shape[1:3], antialias=True)


def assert_finite(teacher: ForwardResult) -> ForwardResult:
    """The same pass; the step fails if the teacher's output is not finite, except under XLA."""

    def check(output):
        if not output.dtype.is_floating:
            return output
        checked = tf.debugging.check_numerics(output, "The teacher's output is NaN or infinite")
        return with_mask(checked, mask_of(output))

    return teacher._replace(output=tree.map_structure(check, teacher.output))


def from_cache(batch: CachedBatch, tapped: list[str], teacher: str | None) -> ForwardResult:
    """The pass that a batch carries from `tfkd.cache_teacher`.

    Args:
        batch: a batch with cached outputs.
        tapped: taps that the losses need.
        teacher: the teacher's fingerprint; None if it is not known.

    Returns:
        The teacher's forward pass.

    Raises:
        ValueError: if the outputs are from another teacher, or a tap is missing.
    """
    if teacher != batch.teacher_fingerprint:
        raise ValueError(
            "The data set carries the outputs of another teacher than the distiller's. Run "
            "tfkd.cache_teacher again with this teacher."
        )
    if taps.INPUT_GRADIENT in tapped:
        raise ValueError(
            "A loss on the input gradient needs the teacher itself, not cached outputs. Train on the data "
            "set as it was before tfkd.cache_teacher."
        )
    missing = [tap for tap in tapped if tap not in batch.taps]
    if missing:
        raise ValueError(
            f"The data set carries no outputs for {missing} of the teacher. Run tfkd.cache_teacher(..., "
            f"taps={tapped})."
        )
    return ForwardResult(batch.output, batch.taps)


def build(loss: KnowledgeLoss, teacher: keras.Model | None, student: keras.Model) -> None:
    """Creates the trained parts of a loss, if the shapes that they need are known before the first step."""
    if type(loss).build is KnowledgeLoss.build:
        loss.build()
        return
    sides = (student if loss.within_student else teacher, loss.teacher_layer), (student, loss.student_layer)
    shapes = [None if model is None or not model.built else _shape(model, layer) for model, layer in sides]
    if None not in shapes:
        loss.build(*shapes)


def _shape(model, layer):
    """The shapes that a loss will get at `layer`, from the graph or a trial pass; None if unknown."""
    if has_graph(model):
        if layer is None:
            outputs = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
            return tree.map_structure(lambda output: tuple(output.shape), outputs)
        shapes = [taps.shape(model, tap) for tap in ([layer] if isinstance(layer, str) else layer)]
    else:
        seen = _pass_over_zeros(model, layer)
        if seen is None:
            return None
        shapes = [tree.map_structure(lambda x: (None, *x.shape[1:]), each) for each in seen]
    if None in shapes:
        return None
    return shapes if isinstance(layer, list) else shapes[0]


def _pass_over_zeros(model, layer):
    """The tapped features of a model without a graph, for zeros; None if its input shapes are unknown."""
    known = list(build_shapes(model).values())
    if len(known) != 1:
        return None
    # Keras stores shapes by name in a dictionary class of its own.
    shapes = dict(known[0]) if isinstance(known[0], dict) else known[0]
    tapped = [] if layer is None else [layer] if isinstance(layer, str) else layer
    for dtype in ("float32", "int32"):
        zeros = tree.map_shape_structure(functools.partial(_zeros, dtype=dtype), shapes)
        try:
            passed = forward_pass(model, tapped, zeros, training=False)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError):
            # Shapes do not reveal the dtype of the inputs, nor unknown sizes.
            continue
        return [passed.output] if layer is None else [passed.features[tap] for tap in tapped]
    return None


def _zeros(shape, dtype):
    return ops.zeros((1, *(size or _OPEN_SIZE for size in shape[1:])), dtype)


def compare(loss: KnowledgeLoss, teacher: ForwardResult | None, student: ForwardResult, context: dict):
    """A loss between two passes as a scalar, reduced as Keras reduces losses.

    Args:
        loss: the loss.
        teacher: the teacher's pass; None if the loss does not use it.
        student: the student's pass.
        context: `labels`, `index` and `sample_weight` of the batch, or None for each, and `training`.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: if the loss needs something that is None in the context.
    """
    s = _look(student, loss.student_layer)
    t = s
    if loss.uses_teacher or loss.within_student:
        t = _look(student if loss.within_student else teacher, loss.teacher_layer)
    heads = loss.teacher_layer is None and loss.student_layer is None and tree.is_nested(s)
    if loss.takes_structures or not heads:
        weight = _single(context["sample_weight"])
        return reduced_loss(loss, t, s, Batch(**{**context, "sample_weight": weight}))
    tree.assert_same_structure(t, s)
    pairs = list(zip(tree.flatten(t), tree.flatten(s), strict=True))
    split = {key: _per_head(value, len(pairs)) for key, value in context.items()}
    return sum(
        reduced_loss(loss, *pair, Batch(**{key: values[i] for key, values in split.items()}))
        for i, pair in enumerate(pairs)
    )


def missing(loss: KnowledgeLoss, context: dict) -> list[str]:
    """The names of values that a loss needs from the context but that are None there."""
    return [name for name in loss.missing(Batch(**context)) if name in context]


def reduced_loss(loss: KnowledgeLoss, teacher, student, batch: Batch):
    """A loss between two networks' values as a scalar, for a training step.

    Args:
        loss: the loss.
        teacher: the teacher's values.
        student: the student's values.
        batch: the other inputs of the loss; if it has no mask, the mask of the student's values is used, or
            else the mask of the teacher's.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: if the batch lacks something that the loss needs.
    """
    of_gradient = taps.INPUT_GRADIENT in (loss.teacher_layer, loss.student_layer)
    if loss.over_classes and not loss.takes_structures and not of_gradient:
        check_classes(loss.title, student)
    masks = batch.mask, _mask(student), _mask(teacher)
    for pair in zip(tree.flatten(teacher), tree.flatten(student), strict=False):
        check_same_tokens(*map(mask_of, pair))
    mask = next((mask for mask in masks if mask is not None), None)
    batch = batch._replace(mask=mask)
    if loss.over_batch and loss.across_replicas:
        teacher, student, batch = _whole(teacher, student, batch)
    values = loss(teacher, student, **loss.arguments(batch))
    counted = loss.counted(student, batch._replace(mask=_joined(mask)))
    return reduced(values, batch.sample_weight, counted)


def _whole(teacher, student, batch):
    """The same values for the examples of all replicas."""
    # The student's values separately: only their gradients must be sent back.
    student, training = gathered(student), batch.training
    teacher, batch = gathered((teacher, batch._replace(training=None)))
    return teacher, student, batch._replace(training=training)


def reduced(values, sample_weight=None, mask=None):
    """The weighted, masked mean of per-example (or per-token) values; scalars times the mean weight."""
    rank = len(values.shape)
    if rank == 0:
        return values if sample_weight is None else values * ops.mean(per_row(sample_weight, 1, mask))
    if sample_weight is not None:
        weights = per_row(sample_weight, rank, mask)
        weights = ops.reshape(weights, (*ops.shape(weights), *(1,) * (rank - len(weights.shape))))
        values = values * weights
    if mask is None or len(mask.shape) != rank:
        # A replica's share of a small batch may be empty.
        return ops.divide_no_nan(ops.sum(values), ops.cast(ops.size(values), "float32"))
    mask = ops.cast(mask, "float32")
    return ops.divide_no_nan(ops.sum(values * mask), ops.sum(mask))


def _look(seen, layer):
    if layer is None:
        return seen.output
    return seen.features[layer] if isinstance(layer, str) else [seen.features[tap] for tap in layer]


def _mask(value):
    """The Keras mask of a tensor, a list of masks for several; None if there is none."""
    if not tree.is_nested(value):
        return mask_of(value)
    masks = [mask_of(each) for each in tree.flatten(value)]
    return masks if any(mask is not None for mask in masks) else None


def _joined(mask):
    """The intersection of several masks."""
    if not isinstance(mask, list):
        return mask
    return functools.reduce(ops.logical_and, [each for each in mask if each is not None])


def _per_head(value, heads):
    """Labels or weights for each head, or the same ones for all."""
    return tree.flatten(value) if tree.is_nested(value) else [value] * heads


def _single(sample_weight):
    """One weight per example: the mean of the heads' weights, if these differ."""
    if not tree.is_nested(sample_weight):
        return sample_weight
    weights = tree.flatten(sample_weight)
    return sum(ops.cast(weight, "float32") for weight in weights) / len(weights)
