"""Exits: classifiers at inner layers of a network, and how to attach and drop them."""

from collections.abc import Sequence

import keras
from keras import layers

from tfkd import taps
from tfkd._core.graphs import has_graph, nodes, operation_of
from tfkd.compression import BridgedModel
from tfkd.tasks import mark, marked_task
from tfkd.tasks._endings import activation_of, last_operation

# Limit on a head's features relative to its channels: flattened maps may have thousands.
_WIDENING = 4


@keras.saving.register_keras_serializable(package="tfkd")
class ExitHead(keras.Model):
    """A classifier of whole examples: the mask of a sequence is used inside; the output has none."""

    def compute_mask(self, inputs, previous_mask):
        return None


def attach_exits(
    model: keras.Model, exits: Sequence[str], heads: Sequence[keras.Layer] | None = None
) -> keras.Model:
    """Adds exits, that is, classifiers at inner layers, to a network.

    Default heads are models `exit_1`, `exit_2` and so on, from shallow to deep, with the taps `"exit_1"`
    for logits and `"exit_1/features"` for the input of the head's last layer. It has as many features as
    enter the network's own last layer, or four times the channels at the exit if that is less. On maps, a
    head is a bottleneck: a depthwise separable convolution of stride 2 with batch normalization and ReLU,
    and global average pooling. On sequences `(batch, time, channels)` it takes the mean over time without
    padding, on vectors the vector itself, followed by a `Dense` layer with ReLU.

    Args:
        model: a functional or built Sequential classifier that returns logits `(batch, classes)`.
        exits: paths of layers of the model, in any order.
        heads: for each path, a uniquely named layer or model from the layer's output to logits `(batch,
            classes)`; None for the heads above.

    Returns:
        A functional model with the same input. Its outputs are the logits of the exits, from shallow to
        deep, followed by the network's own. It shares the network's layers.

    Raises:
        TypeError: if `exits` is a single path, or a head is not a layer.
        ValueError: if the model has no graph, several outputs, or returns probabilities; if a path is
            unknown (with close matches), given twice, inside a nested model, has several tensors, or is the
            output itself; if the number of heads differs, or one does not return the classes.

    Example:
        >>> network = tfkd.students.resnet(20)
        >>> with_exits = attach_exits(network, ["stage1_block3_relu2", "stage2_block3_relu2"])
        >>> exit_1, exit_2, logits = with_exits(images)

    Reference:
        Teerapittayanon et al., "BranchyNet", 2016; bottlenecks are from Zhang et al., "Be Your Own
        Teacher", 2019, but with a single separable convolution instead of one for each skipped stage.
    """
    _check_classifier(model)
    if isinstance(exits, str) or not exits:
        raise TypeError(f"`exits` must be paths of layers, such as ['block1']. Received: {exits!r}.")
    if len(set(exits)) < len(exits):
        raise ValueError(f"`exits` must be different layers. Received: {list(exits)!r}.")
    heads = [None] * len(exits) if heads is None else list(heads)
    if len(heads) != len(exits):
        raise ValueError(
            f"`heads` must be one layer for each of the {len(exits)} exits. Received: {len(heads)}. With "
            "None they are created."
        )
    found = [(*_at(model, path), path, head) for path, head in zip(exits, heads, strict=True)]
    outputs = []
    for i, (_, tensor, path, head) in enumerate(sorted(found, key=lambda each: each[0]), start=1):
        outputs.append(_checked(head or _head(model, tensor, f"exit_{i}"), tensor, path, model))
    # A Sequential model that has not been called has no `input`.
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return _like(model, keras.Model(inputs, [*outputs, _own_output(model)], name=model.name))


def drop_exits(model: keras.Model) -> keras.Model:
    """The network without its exits, for export: only its last output.

    Args:
        model: a model from `attach_exits`, or another functional model whose last output is the one to
            keep.

    Returns:
        A functional model that shares the weights.

    Raises:
        ValueError: if there are no exits to drop.

    Example:
        >>> drop_exits(with_exits).save("student.keras")
    """
    if not has_graph(model) or len(model.outputs) < 2:
        raise ValueError(f"`model` must have several outputs, its exits. Received: {model.name!r}.")
    return _like(model, keras.Model(model.input, model.outputs[-1], name=model.name))


def _like(model, made):
    """The new model, with the same task."""
    task = marked_task(model)
    return made if task is None else mark(made, task)


def check_not_bridged(model: keras.Model) -> None:
    """Raises ValueError for a quantize-aware or pruned network, whose layers are tfmot's."""
    if isinstance(model, BridgedModel):
        raise ValueError(
            f"`model` {model.name!r} is quantize-aware or pruned, so exits cannot be trained in it by "
            "self-distillation. Do that first: tfkd.compression accepts distiller.network, including its "
            "exits."
        )


def _check_classifier(model):
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: {model!r} of type {type(model)}.")
    check_not_bridged(model)
    if not has_graph(model):
        raise ValueError(
            "`model` must be a functional or built Sequential model, with known layers. Received: "
            f"{model.name!r} of type {type(model).__name__}. Build it from keras.Input, or build a "
            "Sequential one by calling it on an example."
        )
    shapes = [tuple(output.shape) for output in model.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2:
        raise ValueError(
            f"`model` must be a classifier with one output (batch, classes). Received: {model.name!r} with "
            f"{shapes}. If it already has exits, tfkd.schemes.drop_exits(model) removes them."
        )
    if (ending := activation_of(last_operation(model))) in ("softmax", "sigmoid"):
        raise ValueError(
            f"`model` must return logits, as exits do. Received: {model.name!r}, which ends in a {ending}. "
            "tfkd.load_teacher(model) makes a copy that returns logits."
        )


def _at(model, path):
    """The index of a layer in the order of the graph, and its output."""
    layer = taps.resolve(model, path)
    calls = [(i, node) for i, node in enumerate(nodes(model)) if node.operation is layer]
    if not calls:
        outer = path.split("/")[0]
        raise ValueError(
            f"`exits`: {path!r} is inside a nested model, {outer!r}, so its output is not part of the "
            f"graph of {model.name!r}. Exit at {outer!r} as a whole, or build the network flat: instead of "
            "calling the inner model, continue from its output, and build keras.Model(inner.input, "
            "last_layer(inner.output))."
        )
    place, node = calls[-1]
    if len(node.output_tensors) != 1 or len(node.output_tensors[0].shape) not in (2, 3, 4):
        shapes = [tuple(tensor.shape) for tensor in node.output_tensors]
        raise ValueError(
            f"`exits` must be at maps (batch, height, width, channels), sequences (batch, time, channels) "
            f"or vectors. Received: {path!r}, which returns {shapes}."
        )
    if node.output_tensors[0] is model.outputs[0]:
        raise ValueError(
            f"`exits`: {path!r} is the output layer of {model.name!r}, which is the last exit anyway. "
            "Leave it out."
        )
    return place, node.output_tensors[0]


def _head(model, tensor, name):
    """A classifier on features of any kind."""
    classes, rank = model.outputs[0].shape[-1], len(tensor.shape)
    width = min(operation_of(model.outputs[0])[1][0].shape[-1], _WIDENING * tensor.shape[-1])
    options = {"dtype": getattr(operation_of(tensor)[0], "dtype_policy", None)}
    x = inputs = keras.Input(tensor.shape[1:], name="input")
    if rank == 4:
        x = layers.DepthwiseConv2D(3, 2, padding="same", use_bias=False, name="depthwise", **options)(x)
        x = layers.Conv2D(width, 1, use_bias=False, name="pointwise", **options)(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="norm", **options)(x)
        x = layers.ReLU(name="relu", **options)(x)
        x = layers.GlobalAveragePooling2D(name="features", **options)(x)
    else:
        x = layers.GlobalAveragePooling1D(name="pooled", **options)(x) if rank == 3 else x
        x = layers.Dense(width, activation="relu", name="features", **options)(x)
    return ExitHead(inputs, layers.Dense(classes, name="logits", **options)(x), name=name)


def _checked(head, tensor, path, model):
    """The logits of a head."""
    if not isinstance(head, keras.Layer):
        raise TypeError(
            f"`heads` must be Keras layers or models. Received: {head!r} of type {type(head)} for {path!r}."
        )
    logits, shape = head(tensor), tuple(model.outputs[0].shape)
    if keras.tree.is_nested(logits) or tuple(logits.shape) != shape:
        shapes = keras.tree.map_structure(lambda each: tuple(each.shape), logits)
        raise ValueError(
            f"`heads` must return logits {shape}, as {model.name!r} does. Received: {shapes} from "
            f"{head.name!r} at {path!r}. End it in a Dense layer of {shape[-1]} units."
        )
    return logits


def _own_output(model):
    """The network's logits, as the output of a layer so that they can be tapped."""
    logits = model.outputs[0]
    operation = operation_of(logits)[0]
    tapped = isinstance(operation, keras.Layer) and sum(n.operation is operation for n in nodes(model)) == 1
    return logits if tapped else layers.Identity(name="exit_last")(logits)
