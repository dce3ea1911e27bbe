"""The weights that a narrower network inherits from the original."""

import keras
import numpy as np
from keras import layers

from tfkd._core.graphs import has_graph, nodes
from tfkd._core.keras_internals import flatten_layers
from tfkd._core.keras_versions import check_keras_3
from tfkd.taps import named_layers

# The importance of a channel, by name of the criterion.
CRITERIA = ("worth", "norm", "scale")
# Layers that produce channels, and the name of their width in the config.
WIDTHS = {
    layers.Conv1D: "filters",
    layers.Conv2D: "filters",
    layers.Conv3D: "filters",
    layers.Conv1DTranspose: "filters",
    layers.Conv2DTranspose: "filters",
    layers.SeparableConv1D: "filters",
    layers.SeparableConv2D: "filters",
    layers.Dense: "units",
}
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)


class Channels:
    """The channels of a model: which layer produces them, which are tied, and how important they are.

    Every channel that a layer produces has a number. Channels joined by an Add or similar are tied: they
    are kept or removed together. Their worth is their size times the norms of the kernels that read them,
    each relative to its layer's mean and summed, so a scaling that a later layer undoes does not change it.
    Their size is that after batch normalization, close to 0 for channels that were dead in training, or
    without one the norm of the kernel that produces them.

    Args:
        model: a functional or built Sequential model.

    Raises:
        ValueError: if channels cannot be followed through a layer; the message names it.
    """

    def __init__(self, model: keras.Model) -> None:
        self._joined: list[int] = []
        self.made: dict[int, np.ndarray] = {}
        self.taken: dict[int, np.ndarray] = {}
        self.passed_on: dict[int, np.ndarray] = {}
        self._layers: dict[int, keras.Layer] = {}
        images = [self._new(tensor.shape[-1]) for tensor in model.inputs]
        # Input channels, which every student keeps.
        self._images = [number for numbers in images for number in numbers]
        self._trace(model, images)

    def _new(self, count):
        first = len(self._joined)
        self._joined.extend(range(first, first + count))
        return np.arange(first, first + count)

    def _trace(self, model, incoming):
        known = dict(zip(map(id, model.inputs), incoming, strict=True))
        for node in nodes(model):
            operation = node.operation
            if isinstance(operation, layers.InputLayer):
                continue
            passed = [known[id(tensor)] for tensor in node.input_tensors]
            if isinstance(operation, keras.Model) and has_graph(operation):
                results = self._trace(operation, passed)
            else:
                results = [self._through(operation, passed, node)] * len(node.outputs)
            self.passed_on[id(operation)] = results[0]
            known.update(zip(map(id, node.outputs), results, strict=True))
        return [known[id(tensor)] for tensor in model.outputs]

    def _through(self, operation, passed, node):
        """The channels of an operation's output, given the channels of its inputs."""
        if getattr(operation, "data_format", None) == "channels_first":
            self._refuse(operation, "has its channels first")
        if getattr(operation, "groups", 1) > 1:
            self._refuse(operation, "is a grouped convolution")
        if getattr(operation, "weights", ()):
            self._check_follows(operation, len(node.outputs[0].shape), len(passed[0]))
            self._take(operation, passed[0])
        if type(operation) in WIDTHS:
            return self._make(operation)
        if isinstance(operation, _DEPTHWISE):
            return np.repeat(passed[0], operation.depth_multiplier)
        shape = node.outputs[0].shape
        if isinstance(operation, layers.Flatten):
            return np.tile(passed[0], shape[-1] // len(passed[0]))
        if isinstance(operation, layers.Reshape) and np.isin(passed[0], self._images).all():
            # Reshaped inputs: everything is kept.
            numbers = self._new(shape[-1])
            self._images += numbers.tolist()
            return numbers
        if isinstance(operation, layers.Concatenate) and operation.axis in (-1, len(shape) - 1):
            return np.concatenate(passed)
        whole = [numbers for numbers in passed if len(numbers) == shape[-1]]
        if not whole:
            self._refuse(operation, "changes the number of channels")
        for other in whole[1:]:
            self._join(whole[0], other)
        return whole[0]

    def _check_follows(self, layer, rank, channels):
        """Rejects a layer without its own width whose weights are not one per channel, or one in all."""
        if type(layer) in WIDTHS or isinstance(layer, _DEPTHWISE):
            return
        axes = getattr(layer, "axis", -1)
        on_others = any(axis not in (-1, rank - 1) for axis in keras.tree.flatten(axes))
        if on_others or any(weight.shape[-1:] not in ((channels,), (1,)) for weight in layer.weights):
            self._refuse(layer, "has weights that are not one for each channel of the last axis")

    @staticmethod
    def _refuse(operation, reason):
        raise ValueError(
            f"Channels cannot be followed through layer {operation.name!r} ({type(operation).__name__}), "
            f"which {reason}. A student of this model can only be newly initialized (inherit=False, and "
            "features=0 in the recipe)."
        )

    def _make(self, layer):
        if id(layer) not in self.made:
            self.made[id(layer)] = self._new(_width(layer))
        return self.made[id(layer)]

    def _take(self, layer, numbers):
        """Records the input channels of a layer with weights; a layer used twice ties its inputs."""
        if id(layer) in self.taken:
            self._join(self.taken[id(layer)], numbers)
        else:
            self._layers[id(layer)] = layer
            self.taken[id(layer)] = numbers

    def _join(self, some, others):
        for one, other in zip(some, others, strict=True):
            self._joined[self._root(one)] = self._root(other)

    def _root(self, number):
        while self._joined[number] != number:
            number = self._joined[number]
        return number

    def groups(self, numbers: np.ndarray) -> np.ndarray:
        """The group number of each channel; channels of a group are kept or removed together."""
        return np.array([self._root(number) for number in numbers])

    def most_valuable(self, widths: dict[int, int], criterion: str = "worth") -> np.ndarray:
        """Chooses the channels to keep.

        Args:
            widths: number of channels to keep in a layer, by the layer's identity.
            criterion: one of `CRITERIA`.

        Returns:
            bool for each channel number.

        Raises:
            ValueError: if tied channels would have to be both kept and removed.
        """
        roots = self.groups(np.arange(len(self._joined)))
        worth = self._worth(roots, criterion)
        stays = {root: True for root in roots[self._images]}
        for key in sorted(self.made, key=lambda key: len(self.made[key])):
            own = roots[self.made[key]]
            undecided = {root for root in own if root not in stays}
            best_first = sorted(undecided, key=lambda root: (-worth[root], root))
            missing = widths[key] - sum(stays.get(root, False) for root in own)
            if not 0 <= missing <= len(best_first):
                self._refuse(self._layers[key], "shares channels with layers of another width")
            stays.update((root, i < missing) for i, root in enumerate(best_first))
        return np.array([stays[root] for root in roots])

    def _worth(self, roots, criterion):
        made, normalized, scales, is_normalized, taken = np.zeros((5, len(roots)))
        for key, numbers in self.made.items():
            made[numbers] = _relative(_norms_made(self._layers[key]))
        for key, numbers in self.taken.items():
            layer = self._layers[key]
            if isinstance(layer, layers.BatchNormalization):
                np.add.at(normalized, numbers, _relative(_normalized_sizes(layer)))
                np.add.at(scales, numbers, _relative(_scales(layer)))
                is_normalized[numbers] = True
            elif type(layer) in WIDTHS:
                np.add.at(taken, numbers, _relative(_norms_taken(layer)))
        chosen = {"worth": normalized, "norm": made, "scale": scales}[criterion]
        sizes, taken = (
            np.bincount(roots, values, len(roots))
            for values in (np.where(is_normalized, chosen, made), taken)
        )
        return sizes * np.where(taken > 0, taken, 1.0) if criterion == "worth" else sizes


def inherit_channels(model: keras.Model, narrow: keras.Model, criterion: str = "worth") -> None:
    """Copies the most important channels of `model` into a narrower network of the same layers.

    Args:
        model: the model it was derived from.
        narrow: the same architecture, some layers narrower.
        criterion: the measure of importance, one of `CRITERIA`.

    Raises:
        ValueError: if channels cannot be followed through the model.
    """
    channels, stays = _chosen(model, narrow, criterion)
    for old, new in zip(flatten_layers(model), flatten_layers(narrow), strict=True):
        if id(old) in channels.taken and not isinstance(old, layers.Normalization):
            taken = np.flatnonzero(stays[channels.taken[id(old)]])
            made = np.flatnonzero(stays[channels.made[id(old)]]) if id(old) in channels.made else None
            new.set_weights(_share(old, taken, made))


def kept_channels(
    model: keras.Model, narrow: keras.Model, criterion: str = "worth"
) -> dict[str, list[int]]:
    """The channels of each layer's output that a narrower network has kept, or would keep.

    Args:
        model: the model it was derived from.
        narrow: the same architecture, some layers narrower; its weights do not matter.
        criterion: the criterion they were chosen by, see `scale_width`.

    Returns:
        Channel indices in ascending order, by the layer's tap.

    Raises:
        ValueError: if the layers differ or are wider, or channels cannot be followed.
    """
    channels, stays = _chosen(model, narrow, criterion)
    return {
        tap: np.flatnonzero(stays[channels.passed_on[id(layer)]]).tolist()
        for tap, layer in named_layers(model).items()
        if id(layer) in channels.passed_on
    }


def _chosen(model, narrow, criterion):
    """The channels of a model, and whether each stays."""
    for name, network in (("model", model), ("narrow", narrow)):
        check_keras_3(name, network)
        if not has_graph(network):
            raise ValueError(
                f"`{name}` must be functional or a built Sequential model. Received: {network}."
            )
    old, new = list(flatten_layers(model)), list(flatten_layers(narrow))
    if [type(layer) for layer in old] != [type(layer) for layer in new]:
        raise ValueError(
            f"`narrow` must have the layers of {model.name!r} at other widths, as from scale_width. "
            f"Received: {narrow.name!r}, with {len(new)} layers against {len(old)}."
        )
    channels = Channels(model)
    widths = {
        id(layer): _width(other) for layer, other in zip(old, new, strict=True) if type(layer) in WIDTHS
    }
    if wider := [layer.name for layer in old if id(layer) in widths and widths[id(layer)] > _width(layer)]:
        raise ValueError(f"`narrow` must not be wider than {model.name!r}. Received: wider in {wider}.")
    stays = channels.most_valuable(widths, criterion)
    _check_sizes(channels, stays, model, narrow)
    return channels, stays


def _check_sizes(channels, stays, model, narrow):
    """Rejects operations, such as Permute, that move something else to the channel axis."""
    for ours, theirs in zip(nodes(model), nodes(narrow), strict=True):
        if isinstance(ours.operation, keras.Model) and has_graph(ours.operation):
            _check_sizes(channels, stays, ours.operation, theirs.operation)
        numbers = channels.passed_on.get(id(ours.operation))
        if numbers is not None and np.sum(stays[numbers]) != theirs.outputs[0].shape[-1]:
            Channels._refuse(ours.operation, "moves channels to another axis")


def _width(layer):
    return getattr(layer, WIDTHS[type(layer)])


def _output_axis(layer):
    return -2 if isinstance(layer, _TRANSPOSED) else -1


def _norms_made(layer):
    """The kernel norm of each channel that a layer produces."""
    return _norms(kernel_that_makes(layer), _output_axis(layer))


def kernel_that_makes(layer: keras.Layer) -> keras.Variable:
    """The kernel that produces the channels of a layer with a width."""
    return layer.pointwise_kernel if isinstance(layer, _SEPARABLE) else layer.kernel


def _norms_taken(layer):
    """The kernel norm of each channel that a layer reads."""
    kernel = layer.depthwise_kernel if isinstance(layer, _SEPARABLE) else layer.kernel
    return _norms(kernel, -3 - _output_axis(layer))


def _norms(kernel, axis):
    kernel = np.moveaxis(np.asarray(kernel), axis, -1)
    return np.sqrt(np.sum(kernel**2, axis=tuple(range(kernel.ndim - 1))))


def _normalized_sizes(layer):
    """The standard deviation of each channel after batch normalization in training."""
    variance = layer.moving_variance.numpy()
    return _scales(layer) * np.sqrt(variance / (variance + layer.epsilon))


def _scales(layer):
    return np.abs(layer.gamma.numpy()) if layer.scale else np.ones(layer.moving_variance.shape)


def _relative(sizes):
    return sizes / max(sizes.mean(), 1e-12)


def _share(layer, taken, made):
    """The weights of a layer restricted to some input and output channels."""
    weights = layer.get_weights()
    if isinstance(layer, _DEPTHWISE):
        kernel, *bias = weights
        made = _multiplied(taken, kernel.shape[-1])
        return [np.take(kernel, taken, axis=-2), *(values[made] for values in bias)]
    if made is None:
        return [values if values.shape[-1] == 1 else np.take(values, taken, axis=-1) for values in weights]
    if isinstance(layer, _SEPARABLE):
        depthwise, pointwise, *bias = weights
        between = _multiplied(taken, depthwise.shape[-1])
        pointwise = np.take(np.take(pointwise, between, axis=-2), made, axis=-1)
        return [np.take(depthwise, taken, axis=-2), pointwise, *(values[made] for values in bias)]
    kernel, *bias = weights
    axis = _output_axis(layer)
    kernel = np.take(np.take(kernel, taken, axis=-3 - axis), made, axis=axis)
    return [kernel, *(values[made] for values in bias)]


def _multiplied(channels, multiplier):
    """The output channels of a depthwise convolution."""
    return (channels[:, None] * multiplier + np.arange(multiplier)).ravel()
