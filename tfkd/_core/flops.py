"""Counts the floating-point operations of a model from the shapes in its graph."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import layers

from tfkd._core.graphs import has_graph
from tfkd._core.keras_internals import flatten_layers, numpy_operations, run_through_graph, symbolic_call

Shape = tuple[int, ...]
# Computes operations from a layer and the shapes of its inputs and first output, including the batch.
Cost = Callable[[Any, Sequence[Shape], Shape], int]


def count_flops(
    model: keras.Model,
    input_shape: Sequence | None = None,
    costs: Mapping[type, Cost] | None = None,
) -> int:
    """Counts the floating-point operations (FLOPs) of a forward pass for one example.

    A multiply-add counts as two operations. The count includes

    - convolutions, also transposed, depthwise and separable ones (with their groups, strides, dilation and
      padding; with "same" padding, products with the padding count too);
    - `Dense` and `EinsumDense`, at every position of the input;
    - attention: projections, scores and weighted sums of the values; masks do not reduce the count;
    - recurrent layers: the products with both kernels at every step;
    - `Dot` layers and `keras.ops.matmul`;
    - pooling: one operation for each element of each window; for global and adaptive pooling, one for each
      element of the input.

    As is usual, the rest counts as zero: biases, activations, additions of branches, normalization,
    embeddings, reshaping. A layer that is called several times is counted every time.

    Args:
        model: a functional or built Sequential model; nested models are counted too.
        input_shape: the shape of one example, such as `(224, 224, 3)`, needed if the model's own leaves
            sizes unknown; a list of shapes in the order of `model.inputs` if there are several.
        costs: the costs of your own layers, by class: each a function of the layer, a list of its input
            shapes and its output shape, each with a batch axis of size 1, that returns the number of
            operations. It takes precedence over the built-in cost of the class.

    Returns:
        The number of operations. For a part of a model, such as up to an early exit, count those of
        `keras.Model(model.inputs, output_of_the_part)`.

    Raises:
        ValueError: if the model has no graph, sizes are unknown, or a layer has weights but no known cost.

    Example:
        >>> model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(8, 3)])
        >>> count_flops(model)  # 26 * 26 positions, 3 * 3 * 1 * 8 multiply-adds
        97344
    """
    return sum(flops_of_layers(model, input_shape, costs).values())


def flops_of_layers(
    model: keras.Model,
    input_shape: Sequence | None = None,
    costs: Mapping[type, Cost] | None = None,
) -> dict[str, int]:
    """The operations of each layer, as `count_flops` counts them, by path, such as `"block3/conv"`.

    Args:
        model: as for `count_flops`.
        input_shape: as for `count_flops`.
        costs: as for `count_flops`.

    Returns:
        The operations of all calls of each layer, in the order of the graph; layers that cost nothing are
        listed with 0.
    """
    if not has_graph(model):
        raise ValueError(
            f"Model {model.name!r} has no graph to count operations in: expected a functional or built "
            "Sequential model. Call a subclassed model on a `keras.Input` and make a `keras.Model` of the "
            "result."
        )
    counter = _Counter(costs or {})
    counter.visit_model(model, _example(model, input_shape), "")
    return counter.flops


def _example(model, input_shape):
    """Symbolic inputs of a model for one example."""
    shapes = [tensor.shape[1:] for tensor in model.inputs]
    if input_shape is not None:
        several = len(input_shape) > 0 and isinstance(input_shape[0], Sequence)
        given = [tuple(shape) for shape in (input_shape if several else [input_shape])]
        if len(given) != len(shapes) or not all(map(_fits, given, shapes)):
            raise ValueError(
                f"`input_shape` for model {model.name!r} must match {shapes}, without the batch axis. "
                f"Received: {input_shape}."
            )
        shapes = given
    if any(None in shape for shape in shapes):
        raise ValueError(
            f"The inputs of model {model.name!r} have unknown sizes, {shapes}, on which the number of "
            "operations depends. Pass `input_shape=`, the shape of one example without the batch axis."
        )
    return [
        keras.KerasTensor((1, *shape), tensor.dtype)
        for shape, tensor in zip(shapes, model.inputs, strict=True)
    ]


def _fits(given, shape):
    return len(given) == len(shape) and all(
        size is not None and expected in (None, size) for size, expected in zip(given, shape, strict=True)
    )


class _Counter:
    """Runs a graph on shapes only, and adds up the costs of its operations."""

    def __init__(self, costs: Mapping[type, Cost]) -> None:
        self.costs = costs
        self.flops: dict[str, int] = {}

    def visit_model(self, model, inputs, prefix):
        """Runs symbolic inputs through a model.

        No call is added to the graph, so the layers stay unchanged.
        """

        def replaced(operation):
            return lambda *args, **kwargs: self.visit(operation, args, kwargs, prefix)

        return run_through_graph(model, inputs, replaced)

    def visit(self, operation, args, kwargs, prefix):
        path = prefix + operation.name
        # In the order of the signature, not of the call.
        arguments = list(inspect.signature(operation.call).bind(*args, **kwargs).arguments.values())
        if isinstance(operation, keras.Model) and has_graph(operation):
            return self.visit_model(operation, arguments[0], path + "/")
        outputs = _outputs(operation, args, kwargs)
        inputs = [tensor.shape for tensor in _tensors(arguments)]
        flops = self.cost(operation, inputs, _tensors(outputs)[0].shape, path)
        self.flops[path] = self.flops.get(path, 0) + flops
        return outputs

    def cost(self, operation, inputs, output, path) -> int:
        if isinstance(operation, layers.TimeDistributed):
            each = [(shape[0] * shape[1], *shape[2:]) for shape in (inputs[0], output)]
            return self.inner(operation.layer, each[:1], each[1], path)
        if isinstance(operation, layers.Bidirectional):
            both = (operation.forward_layer, operation.backward_layer)
            return sum(self.inner(layer, inputs, output, path) for layer in both)
        for known in (self.costs, _COSTS):
            for kind in type(operation).__mro__:
                if kind in known:
                    return self.checked(known[kind], operation, inputs, output, path)
        if isinstance(operation, layers.Wrapper):
            return self.inner(operation.layer, inputs, output, path)
        if isinstance(operation, keras.Layer) and operation.weights:
            raise _unknown(operation, path)
        return 0

    def inner(self, layer, inputs, output, path) -> int:
        """The cost of a wrapped layer or model."""
        if not isinstance(layer, keras.Model):
            return self.cost(layer, inputs, output, path)
        counter = _Counter(self.costs)
        tensors = [keras.KerasTensor(shape) for shape in inputs]
        counter.visit_model(layer, tensors, path + "/")
        return sum(counter.flops.values())

    def checked(self, cost, operation, inputs, output, path) -> int:
        if cost is not _nothing and any(None in shape for shape in [*inputs, output]):
            raise ValueError(
                f"Layer {path!r} has unknown sizes, on which its operations depend: inputs {inputs}, "
                f"output {output}. Pass `costs={{{type(operation).__name__}: function}}`."
            )
        return int(cost(operation, inputs, output))


def _unknown(layer, path):
    kind = type(layer).__name__
    return ValueError(
        f"The cost of layer {path!r}, a {kind}, is not known. Pass `costs={{{kind}: function}}`, a "
        "function of the layer, its input shapes and its output shape that returns the number of "
        "operations (0 to leave the layer out)."
    )


def _tensors(structure):
    """The symbolic tensors in a structure; dictionaries keep their own order."""
    return [leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, keras.KerasTensor)]


def _size(*weights) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _positions(layer, shape) -> int:
    """The number of positions of a feature map: the product of all sizes except the channels."""
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return math.prod(shape) // shape[1 if first else -1]


def _convolution(layer, inputs, output):
    return 2 * _positions(layer, output) * _size(layer.kernel)


def _transposed_convolution(layer, inputs, output):
    return 2 * _positions(layer, inputs[0]) * _size(layer.kernel)


def _separable_convolution(layer, inputs, output):
    return 2 * _positions(layer, output) * _size(layer.depthwise_kernel, layer.pointwise_kernel)


def _dense(layer, inputs, output):
    return 2 * math.prod(inputs[0][:-1]) * _size(layer.kernel)


def _outputs(operation, args, kwargs):
    """The symbolic outputs of a call."""
    if isinstance(operation, layers.EinsumDense):
        # Older versions of Keras return the shape that the layer was built with, with any batch size.
        return symbolic_call(operation.call, *args, **kwargs)
    return operation.compute_output_spec(*args, **kwargs)


def _einsum_dense(layer, inputs, output):
    of_input, of_kernel = layer.equation.split("->")[0].replace(" ", "").split(",")
    sizes = zip(of_kernel, layer.kernel.shape, strict=True)
    return 2 * math.prod(inputs[0]) * math.prod(size for axis, size in sizes if axis not in of_input)


def _attention(layer, inputs, output):
    """Projections of every token, then the products of each query with all keys and values."""
    query, value = inputs[0], inputs[1]
    inside = flatten_layers(layer)
    projections = {each.name: each for each in inside if isinstance(each, layers.EinsumDense)}
    flops = 0
    for name, projection in projections.items():
        tokens = math.prod((value if name in ("key", "value") else query)[:-1])
        flops += 2 * tokens * _size(projection.kernel)
    _, heads, key_channels = projections["query"].kernel.shape
    channels = heads * (key_channels + projections["value"].kernel.shape[-1])
    # GroupQueryAttention has no such option and attends over all axes.
    chosen = layer.attention_axes if isinstance(layer, layers.MultiHeadAttention) else None
    axes = chosen or range(1, len(value) - 1)
    return flops + 2 * math.prod(query[:-1]) * math.prod(value[axis] for axis in axes) * channels


def _dot_product_attention(layer, inputs, output):
    query, value, key = (*inputs, inputs[1])[:3]
    return 2 * math.prod(query[:-1]) * value[-2] * (key[-1] + value[-1])


def _recurrent(layer, inputs, output):
    cells = layer.cell.cells if isinstance(layer.cell, layers.StackedRNNCells) else [layer.cell]
    for cell in cells:
        if not isinstance(cell, layers.LSTMCell | layers.GRUCell | layers.SimpleRNNCell):
            raise _unknown(layer, layer.name)
    kernels = [kernel for cell in cells for kernel in (cell.kernel, cell.recurrent_kernel)]
    return 2 * math.prod(inputs[0][:2]) * _size(*kernels)


def _dot(layer, inputs, output):
    axes = layer.axes if isinstance(layer.axes, int) else layer.axes[0]
    return 2 * math.prod(inputs[0]) * math.prod(inputs[1][1:]) // inputs[0][axes]


def _matmul(operation, inputs, output):
    return 2 * math.prod(output) * inputs[0][-1]


def _pooling(layer, inputs, output):
    return math.prod(output) * math.prod(layer.pool_size)


def _whole_pooling(layer, inputs, output):
    return math.prod(inputs[0])


def _nothing(layer, inputs, output):
    return 0


def _of_each_rank(*patterns: str) -> list[type]:
    names = (pattern.format(rank) for pattern in patterns for rank in (1, 2, 3))
    # Older versions of Keras lack adaptive pooling.
    return [getattr(layers, name) for name in names if name in dir(layers)]


_BY_COST: dict[Cost, list[type]] = {
    _convolution: [
        *_of_each_rank("Conv{}D"),
        layers.DepthwiseConv1D,
        layers.DepthwiseConv2D,
    ],
    _transposed_convolution: _of_each_rank("Conv{}DTranspose"),
    _separable_convolution: [layers.SeparableConv1D, layers.SeparableConv2D],
    _dense: [layers.Dense],
    _einsum_dense: [layers.EinsumDense],
    _attention: [layers.MultiHeadAttention, layers.GroupQueryAttention],
    _dot_product_attention: [layers.Attention],
    _recurrent: [layers.RNN],
    _dot: [layers.Dot],
    _matmul: [numpy_operations.Matmul],
    _pooling: _of_each_rank("MaxPooling{}D", "AveragePooling{}D"),
    _whole_pooling: _of_each_rank(
        "GlobalMaxPooling{}D",
        "GlobalAveragePooling{}D",
        "AdaptiveMaxPooling{}D",
        "AdaptiveAveragePooling{}D",
    ),
    # These have weights, but their operations are not counted.
    _nothing: [
        layers.BatchNormalization,
        layers.Embedding,
        layers.GroupNormalization,
        layers.LayerNormalization,
        layers.Normalization,
        layers.PReLU,
        layers.RMSNormalization,
    ],
}
_COSTS = {kind: cost for cost, kinds in _BY_COST.items() for kind in kinds}
