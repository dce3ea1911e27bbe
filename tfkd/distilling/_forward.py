"""One forward pass of a network with its taps, and what a loss makes of two of them."""

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

# Of an axis whose size is open, such as that of tokens, where a network is tried out.
_OPEN_SIZE = 2


def forward_pass(
    model: keras.Model, tapped: list[str], inputs, training: bool, labels=None
) -> ForwardResult:
    """Runs a model once, with its taps.

    Args:
        model: the model.
        tapped: names of taps; `taps.INPUT_GRADIENT` among them for the gradient of the labels'
            cross-entropy by the inputs.
        inputs: of the model; of named inputs it takes those that it knows.
        training: whether to run in training mode.
        labels: of the examples, for that gradient.

    Returns:
        The output and what the taps saw. Values `(batch, tokens, ...)` have a Keras mask of the tokens that
        count, wherever one is known: from the layers that made them, from the last layer that made a mask,
        or from a `padding_mask` that layers or the model are given.

    Raises:
        ValueError: if the gradient is asked for and there are no labels, or several inputs.
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
            "`y` must be the labels of one output, and `x` one tensor, for a loss on the gradient by the "
            "input."
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
    """Images at the size that a model takes; inputs of another kind, or of that size, as they are.

    Args:
        model: a model of one input.
        inputs: `(batch, height, width, channels)`.
    """
    shape = getattr(model, "input_shape", None)
    if tree.is_nested(inputs) or len(inputs.shape) != 4 or not isinstance(shape, tuple) or len(shape) != 4:
        return inputs
    if None in shape[1:3] or tuple(inputs.shape[1:3]) == shape[1:3]:
        return inputs
    return ops.image.resize(ops.cast(inputs, "float32"), shape[1:3], antialias=True)


def assert_finite(teacher: ForwardResult) -> ForwardResult:
    """The same pass; the step fails if the teacher's output is not finite, but for XLA's steps."""

    def check(output):
        if not output.dtype.is_floating:
            return output
        checked = tf.debugging.check_numerics(output, "The teacher's output is NaN or infinite")
        return with_mask(checked, mask_of(output))

    return teacher._replace(output=tree.map_structure(check, teacher.output))


def from_cache(batch: CachedBatch, tapped: list[str], teacher: str | None) -> ForwardResult:
    """The pass that a batch carries from `tfkd.cache_teacher`.

    Args:
        batch: with cached outputs.
        tapped: taps that the losses need.
        teacher: the teacher's fingerprint; None if it is not known.

    Returns:
        The teacher's pass.

    Raises:
        ValueError: if another teacher made the outputs, or a tap is missing.
    """
    if teacher != batch.teacher_fingerprint:
        raise ValueError(
            "The data set carries the outputs of another teacher than the distiller's. Run "
            "tfkd.cache_teacher again with this one."
        )
    if taps.INPUT_GRADIENT in tapped:
        raise ValueError(
            "A loss on the gradient by the input needs the teacher itself, not outputs that the data set "
            "carries. Train on the data set as it was before tfkd.cache_teacher."
        )
    missing = [tap for tap in tapped if tap not in batch.taps]
    if missing:
        raise ValueError(
            f"The data set carries no outputs for {missing} of the teacher. Run tfkd.cache_teacher(..., "
            f"taps={tapped})."
        )
    return ForwardResult(batch.output, batch.taps)


def build(loss: KnowledgeLoss, teacher: keras.Model | None, student: keras.Model) -> None:
    """Makes the trained parts of a loss, if what they depend on is known before the first step."""
    if type(loss).build is KnowledgeLoss.build:
        loss.build()
        return
    sides = (student if loss.within_student else teacher, loss.teacher_layer), (student, loss.student_layer)
    shapes = [None if model is None or not model.built else _shape(model, layer) for model, layer in sides]
    if None not in shapes:
        loss.build(*shapes)


def _shape(model, layer):
    """The shapes a loss will see at `layer`, from the graph or a pass over zeros; None if unknown."""
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
    """What the taps of a model without a graph see; None if the shapes of its inputs are not known."""
    known = list(build_shapes(model).values())
    if len(known) != 1:
        return None
    # Keras keeps shapes by name in a dictionary of its own kind.
    shapes = dict(known[0]) if isinstance(known[0], dict) else known[0]
    tapped = [] if layer is None else [layer] if isinstance(layer, str) else layer
    for dtype in ("float32", "int32"):
        zeros = tree.map_shape_structure(functools.partial(_zeros, dtype=dtype), shapes)
        try:
            passed = forward_pass(model, tapped, zeros, training=False)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError):
            # Shapes alone do not tell of what type the inputs are, nor sizes that are open.
            continue
        return [passed.output] if layer is None else [passed.features[tap] for tap in tapped]
    return None


def _zeros(shape, dtype):
    return ops.zeros((1, *(size or _OPEN_SIZE for size in shape[1:])), dtype)


def compare(loss: KnowledgeLoss, teacher: ForwardResult | None, student: ForwardResult, context: dict):
    """A loss of two passes as a scalar, reduced as Keras reduces losses.

    Args:
        loss: the loss.
        teacher: the teacher's pass; None if the loss does not use it.
        student: the student's pass.
        context: `labels`, `index` and `sample_weight` of the batch, or None for each, and `training`.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: if the loss needs what is None in the context.
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
    """What a loss needs of the context that is None there."""
    return [name for name in loss.missing(Batch(**context)) if name in context]


def reduced_loss(loss: KnowledgeLoss, teacher, student, batch: Batch):
    """A loss of two networks' values as a scalar, for a training step.

    Args:
        loss: the loss.
        teacher: what it looks at in the teacher.
        student: what it looks at in the student.
        batch: what else there is; without a mask, that of the student's values, else of the teacher's.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: if the batch lacks what the loss needs.
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
    """The same of the examples of all replicas."""
    # The student's by itself: only its gradient has to be sent back.
    student, training = gathered(student), batch.training
    teacher, batch = gathered((teacher, batch._replace(training=None)))
    return teacher, student, batch._replace(training=training)


def reduced(values, sample_weight=None, mask=None):
    """The mean of per-example (or per-token) values by weight and mask; scalars by the mean weight."""
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
    """One mask out of several: what all of them count."""
    if not isinstance(mask, list):
        return mask
    return functools.reduce(ops.logical_and, [each for each in mask if each is not None])


def _per_head(value, heads):
    """Labels or weights of each head, or the same for all."""
    return tree.flatten(value) if tree.is_nested(value) else [value] * heads


def _single(sample_weight):
    """One weight for each example where there is one for each head: their mean."""
    if not tree.is_nested(sample_weight):
        return sample_weight
    weights = tree.flatten(sample_weight)
    return sum(ops.cast(weight, "float32") for weight in weights) / len(weights)
